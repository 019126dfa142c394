"""`daemon.*`: the daemon about itself."""

from dashd.store import agents, audit, swarms, tasks
from dashd.store.rows import Snapshot
from dashd.wire.events import iso
from dashd.wire.methods import daemon as wire

from .core import Caller, Core


def ping(core: Core, _caller: Caller, _params: wire.Ping) -> wire.Pong:
    """Answers in the read loop itself, so it also says that the loop turns."""
    return wire.Pong(version=core.daemon.version, pid=core.daemon.pid)


async def status(core: Core, _caller: Caller, _params: wire.GetStatus) -> wire.Status:
    """Counts from the database, the rest from the daemon's own account."""
    now_ms = core.clock.now_ms()

    def query(db: Snapshot) -> tuple[dict[str, int], dict[str, int], dict[str, int], str]:
        return swarms.counts(db), agents.counts(db), tasks.counts(db), str(audit.head(db))

    by_swarm, by_agent, by_task, head = await core.store.reader.read(query)
    daemon = core.daemon
    return wire.Status(
        version=daemon.version,
        pid=daemon.pid,
        epoch=daemon.epoch,
        started_at=iso(daemon.started_at_ms),
        uptime_s=(now_ms - daemon.started_at_ms) / 1_000,
        state=daemon.shown_state,
        warnings=[*daemon.troubles, *daemon.warnings],
        socket=daemon.socket,
        database=str(core.store.path),
        agents_max=core.agents_max,
        swarms=by_swarm,
        agents=by_agent,
        tasks=by_task,
        last_seq=core.store.tail.last_seq,
        adopted=daemon.adopted,
        audit=head,
    )


async def stop(core: Core, _caller: Caller, params: wire.Stop) -> wire.Stopping:
    """Answers, then the daemon ends; in-flight calls still get their replies."""

    def query(db: Snapshot) -> int:
        by_state = agents.counts(db)
        return sum(by_state.get(state, 0) for state in ("spawning", "running", "paused"))

    live = await core.store.reader.read(query)
    core.stop(params.agents)
    return wire.Stopping(agents=params.agents, live=live)
