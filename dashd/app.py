"""Composition: opens every ring in order and leaves them in reverse; the only file that knows all parts.

    signals ▸ locks and socket ▸ store ▸ fork server, recovery ▸ runtime ▸ connections ▸ accept

Start-up is entering, shutdown is leaving (design: rings). Nothing is registered for shutdown.
"""

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import trio

import dashd
from dashd import program_ports, threads
from dashd.agent_ports import DriverPort, SpoolPort, WallsPort
from dashd.clock import Clock
from dashd.config import Config, show
from dashd.crash_points import CrashPoints
from dashd.drivers import openclaw, pi
from dashd.gateway_ports import GatewayPort
from dashd.instance_ports import InstancePort
from dashd.jail import cgroup_tree, launcher, tool
from dashd.jail.holder_link import EpochRefused
from dashd.jail.launch import Outside
from dashd.jail.watchdog import Watchdog
from dashd.model_side import ModelSide
from dashd.program_ports import ProgramPort
from dashd.proxy.stage import Stage
from dashd.rpc import dispatch as rpc_dispatch
from dashd.rpc import listener as rpc_listener
from dashd.runtime import approvals, lander, merger, recovery, scheduler, sweeper, tidier
from dashd.runtime.asks import Asks
from dashd.runtime.gateway_starts import GatewayStarts
from dashd.runtime.instance_seats import Division, division
from dashd.runtime.jails import Jails
from dashd.runtime.placing import Placing
from dashd.runtime.supervisor import Supervisor
from dashd.runtime.transcripts import Transcripts
from dashd.runtime.workspaces import Workspaces
from dashd.runtime.world import World, cores
from dashd.service import HANDLERS, feed
from dashd.service.core import Core, Daemon
from dashd.service.speakers import Speakers
from dashd.session_ports import SessionPort
from dashd.store import attempts, audit, database, insist, proxy_keys, sessions, stops
from dashd.store.opening import Store, open_store
from dashd.store.transaction import Tx
from dashd.wire import errors, tenant
from dashd.workspace_ports import RepositoryPort

log = logging.getLogger(__name__)

AGENTS_STOP_S_MAX = 90.0
"""For `daemon.stop {agents: stop}`: more than a swarm's longest grace; what lives on then keeps its lease."""


@dataclass
class StopRequest:
    """Somebody wants the daemon to end."""

    event: trio.Event = field(default_factory=trio.Event)
    agents: Literal["detach", "stop"] = "detach"

    def __call__(self, agents: Literal["detach", "stop"]) -> None:
        """The first request decides; returns at once."""
        if not self.event.is_set():
            self.agents = agents
            self.event.set()


async def run(
    config: Config,
    *,
    ready: Callable[[str], None],
    points: CrashPoints | None = None,
    stage: Path | None = None,
) -> None:
    """Serves until asked to stop. `ready` is called with the socket's path once calls are answered; `stage`
    is the folder of a demonstration.

    Raises DashError where it cannot start (the message says what to do), StoreBroken where it must not go on.
    """
    points = points or CrashPoints()
    stop = StopRequest()
    set_up = contextlib.nullcontext() if stage is None else contextlib.closing(Stage(stage))
    try:
        async with trio.open_nursery() as signals:
            await signals.start(_obey_signals, stop, signals.cancel_scope)
            state_dir = config.daemon.state_dir
            socket_path = config.daemon.socket
            with _only_one(state_dir, socket_path), rpc_listener.open_listener(socket_path) as sock:
                clock = Clock()
                async with open_store(config.daemon.database, clock, at_point=points.at) as store:
                    with set_up as on_stage:
                        await _serve(config, store, clock, sock, stop, ready, points, on_stage)
            signals.cancel_scope.cancel(reason="dashd has stopped")
    except* EpochRefused as refused:
        raise _displaced(refused) from None


def _displaced(refused: BaseException) -> errors.Conflict:
    """The error for a daemon whose agents belong to another one."""
    while isinstance(refused, BaseExceptionGroup):
        refused = refused.exceptions[0]
    return errors.Conflict(
        f"{refused}: a dashd that started later than this one, or from a newer copy of the database, has it",
        hint="end that dashd; where there is none, start again: each start comes one epoch nearer",
    )


async def _serve(
    config: Config,
    store: Store,
    clock: Clock,
    sock: socket.socket,
    stop: StopRequest,
    ready: Callable[[str], None],
    points: CrashPoints,
    stage: Stage | None,
) -> None:
    """The rings inside the store."""
    launches = config.daemon.state_dir / "launches"
    await threads.run(cgroup_tree.settle)  # before anything is forked that would stay behind
    epoch = await recovery.begin_epoch(store, launches, points.at)
    side = ModelSide(config, store, clock, points, stage)
    await side.recover()
    await store.writer.apply(partial(_begin, config, epoch))
    agents = DriverPort(program_ports.here(config, os.environ.get("PATH", "")), _at_once(config))
    async with (
        launcher.open_launcher(launches, crash_at=points.of_boot()) as started,
        trio.open_nursery() as proxy,
    ):
        await side.open(proxy, agents.drivers)
        world = World(
            store=store,
            clock=clock,
            launcher=started,
            launches=launches,
            drivers=agents.drivers,
            epoch=epoch,
            environ=dict(os.environ),
            agents_max=config.daemon.agents_max,
            points=points,
            doors=side.doors,
            gateway_doors=side.gateways,
            jails=_jails(config),
            watchdog=Watchdog(lambda: clock.now_ms() / 1_000),
            workspaces=Workspaces(config.daemon.state_dir / "workspaces"),
            transcripts=Transcripts(config.daemon.state_dir / "sessions", launches),
            checkpoints_bytes_max=config.daemon.checkpoints_total_mib << 20,
        )
        side.doors.judge = Asks(world).answer
        gateway_starts = GatewayStarts(world, auto=config.programs.openclaw_autostart)
        ports = GatewayPort(world, config.daemon.state_dir / "gateway-tokens", gateway_starts.why)
        agents.gateways = ports.added
        walls = WallsPort(world.jails, required=config.jail.required, own=_own(config))
        pis = _instances(config, world, agents, walls)
        core = _core(config, world, side, stop, agents, ports, pis, walls)
        await core.keys.follow()
        async with trio.open_nursery() as runtime:
            core.daemon.warnings += [*await pis.settle(), *await world.workspaces.recover()]
            await world.transcripts.recover(await store.own.read(sessions.kept))
            recovered = await recovery.recover(world)
            await ports.open(runtime, agents.programs)
            core.daemon.adopted = sum(each.live for each in recovered)
            supervisor = Supervisor(world, runtime)
            for each in recovered:
                supervisor.resume(each.run, each.attached)
            runtime.start_soon(agents.programs.compiled.run, agents.drivers)
            _start_watches(runtime, config, world, core.daemon, supervisor.watch_wishes, ports.run, pis.run)
            with feed.open_feed(store.tail, store.reader) as events:
                dispatch = rpc_dispatch.Dispatch(HANDLERS, core, feed=events, version=dashd.__version__)
                async with trio.open_nursery() as connections:
                    placing = Placing(agents.at_once, core.looks, world.gateways.up)
                    starts = partial(_start_all, world, supervisor, placing, gateway_starts)
                    await _accept(world, core, starts, dispatch, sock, connections, stop, ready)
                    connections.cancel_scope.deadline = trio.current_time() + config.daemon.shutdown_grace_s
            runtime.cancel_scope.cancel(reason="dashd is stopping; agents keep their leases")
        proxy.cancel_scope.cancel(reason="dashd is stopping; calls under way are settled")
    await side.close()


def _core(
    config: Config,
    world: World,
    side: ModelSide,
    stop: StopRequest,
    agents: DriverPort,
    gateways_: GatewayPort,
    instances: InstancePort,
    walls: WallsPort,
) -> Core:
    """What the service is given."""
    return Core(
        store=world.store,
        clock=world.clock,
        daemon=_about(config, world, side),
        drivers=agents,
        spools=SpoolPort(world),
        agents_max=config.daemon.agents_max,
        stop=stop,
        models=side.models,
        providers=side.providers,
        outside=side.outside,
        gateways=gateways_,
        instances=instances,
        programs=ProgramPort(agents.programs, world.environ, world.store.bells.gateways.ring),
        walls=walls,
        bodies=config.proxy.bodies,
        useful_tokens=config.proxy.useful_output_tokens,
        repositories=RepositoryPort(world.workspaces, _own(config)),
        sessions=SessionPort(world),
        checkpoints_bytes_max=world.checkpoints_bytes_max,
        cleanup_after_s=config.workspace.cleanup_after_h * 3_600,
        keys=Speakers(world.store, world.clock),
    )


def _at_once(config: Config) -> dict[str, int]:
    """How many agents of a program this machine can run at once, where each of them is heavy."""
    told = config.programs.openclaw_sessions_max
    return {"openclaw": told or openclaw.FOOTPRINT.at_once(cores(), _memory_bytes())}


def _instances(config: Config, world: World, agents: DriverPort, walls: WallsPort) -> InstancePort:
    """The places where Pis run; those that are added count where one looks for programs."""
    made = InstancePort(world, agents.programs, walls, _division(config))
    agents.programs.added = made.added
    return made


def _division(config: Config) -> Division:
    """How this machine's seats for Pis are divided into places."""
    told = config.programs
    return division(
        told.pi_instances_min,
        told.pi_instances_max,
        told.pi_instance_seats,
        told.pi_idle_s,
        machine=pi.FOOTPRINT.at_once(cores(), _memory_bytes()),
        agents_max=config.daemon.agents_max,
    )


def _memory_bytes() -> int:
    """Of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _about(config: Config, world: World, side: ModelSide) -> Daemon:
    """What the daemon says of itself."""
    started_at_ms, path = world.clock.now_ms(), str(config.daemon.socket)
    daemon = Daemon(dashd.__version__, os.getpid(), world.epoch, started_at_ms, path)
    daemon.warnings += [*config.warnings, *side.warnings]
    if not config.jail.required:
        daemon.warnings.append("agents run without walls: jail.required is off")
    return daemon


async def _accept(
    world: World,
    core: Core,
    start: Callable[[], Awaitable[None]],
    dispatch: rpc_dispatch.Dispatch,
    sock: socket.socket,
    connections: trio.Nursery,
    stop: StopRequest,
    ready: Callable[[str], None],
) -> None:
    """The innermost ring: new peers and new starts, until somebody asks for the end."""
    async with trio.open_nursery() as accept:
        starts = trio.CancelScope()
        accept.start_soon(_schedule, start, starts)
        await accept.start(partial(rpc_listener.serve, sock, dispatch, connections=connections))
        world.points.at("app.before_ready")
        core.daemon.state = "ready"
        ready(core.daemon.socket)
        world.points.at("app.after_ready")
        accept.start_soon(_check_database, world.store, core.daemon, starts)
        accept.start_soon(_die_with_the_store, world.store)
        await stop.event.wait()
        core.daemon.state = "stopping"
        core.store.bells.events.ring()  # so that nobody waits for events, or for output, into the grace
        world.growth.ring_all()
        accept.cancel_scope.cancel(reason="dashd is stopping")
    if stop.agents == "stop":
        await _end_agents(world)


async def _start_all(
    world: World, supervisor: Supervisor, placing: Placing, gateway_starts: GatewayStarts
) -> None:
    """Attempts, and ahead of them the gateways that they run in, until cancelled."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gateway_starts.run)
        await scheduler.run(world, supervisor.start, placing)


async def _schedule(start: Callable[[], Awaitable[None]], starts: trio.CancelScope) -> None:
    """New starts, until `starts` is cancelled; what runs then runs on."""
    with starts:
        await start()


async def _end_agents(world: World) -> None:
    """Gives every running task back and waits until no process is left; new starts have ceased already."""
    with trio.move_on_after(AGENTS_STOP_S_MAX):
        await world.commit(stops.requeue_all)
        while True:
            ticket = world.store.bells.events.ticket()
            if not await world.store.own.read(attempts.open_count):
                break
            await ticket.wait()
        await world.gateways.end_all()
        return
    log.error("some agents did not end in time; their leases run out", extra={"after_s": AGENTS_STOP_S_MAX})


async def _obey_signals(
    stop: StopRequest, everything: trio.CancelScope, *, task_status: trio.TaskStatus[None]
) -> None:
    """The first TERM or INT asks for the end and leaves agents to their leases; the second does not wait."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        task_status.started()
        async for number in received:
            if stop.event.is_set():
                everything.cancel(reason=f"second {signal.Signals(number).name}")
            log.info("stopping", extra={"signal": signal.Signals(number).name})
            stop("detach")


async def _check_database(store: Store, daemon: Daemon, starts: trio.CancelScope) -> None:
    """After READY, on a reader: a damaged database stops new work, and says so."""
    found = await store.own.read(database.quick_check)
    if found:
        daemon.troubles.append(f"the database is damaged: {found[0]}; stop dashd and restore a backup")
        log.critical("quick_check failed", extra={"found": found[:10]})
        starts.cancel(reason="the database is damaged: nothing new is started")
        await insist.apply(
            store.writer, lambda tx: tx.emit("system.alert", data={"check": found[:10]}), log.warning
        )


async def _die_with_the_store(store: Store) -> None:
    """After a failed fsync nobody knows what is on disk: end, and let the next start read what is."""
    await store.writer.broken.wait()
    raise errors.StoreBroken()


async def _show_trouble(world: World, daemon: Daemon) -> None:
    """Shows in `daemon.status` what the runtime cannot get done, for as long as it cannot."""
    shown = ""
    while True:
        ticket = world.trouble.ticket()
        if shown:
            daemon.troubles.remove(shown)
        shown = world.trouble.text
        daemon.troubles += [shown] if shown else []
        await ticket.wait()


def _start_watches(
    runtime: trio.Nursery,
    config: Config,
    world: World,
    daemon: Daemon,
    *others: Callable[[], Awaitable[None]],
) -> None:
    """What looks after the rows, beside the agents: each sleeps until a bell or a deadline."""
    runtime.start_soon(world.watchdog.run)
    runtime.start_soon(sweeper.run, world, config.daemon.output_kept_days)
    runtime.start_soon(sweeper.forget, world, config.daemon.checkpoints_kept_days)
    runtime.start_soon(approvals.run, world)
    runtime.start_soon(tidier.run, world)
    runtime.start_soon(merger.run, world)
    runtime.start_soon(lander.run, world)
    runtime.start_soon(_show_trouble, world, daemon)
    for each in others:
        runtime.start_soon(each)


def _begin(config: Config, epoch: int, tx: Tx) -> None:
    """What a start owes the rows: keys of ended attempts, and which settings are in force from now on."""
    proxy_keys.revoke_ended(tx)
    settings = {key: f"{value} ({origin})" for key, value, origin in show(config) if origin != "default"}
    found = {
        "version": dashd.__version__,
        "epoch": epoch,
        "settings": settings,
        "at_head": str(audit.head(tx.db)),
    }
    head = audit.append(tx, tx.actor, "daemon.started", "", found)
    log.debug("the audit goes on", extra={"head": str(head)})


@contextlib.contextmanager
def _only_one(state_dir: Path, socket_path: Path) -> Iterator[None]:
    """Two daemons on one state folder would both believe in its rows; this one leaves a note for clients."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state_dir / tenant.LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise errors.Unavailable(
            f"opening {state_dir}/{tenant.LOCK_NAME}: {error.strerror}",
            hint="name another folder with DASH_STATE_DIR",
        ) from None
    try:
        if fault := tenant.unsafe(str(state_dir)):
            raise errors.Forbidden(fault[0], hint=fault[1])
        if not tenant.take(lock):
            raise _occupied(state_dir)
        with contextlib.suppress(OSError):  # a full disk: clients then find dashd by its usual socket alone
            tenant.note(lock, os.getpid(), str(socket_path))
        yield
        os.ftruncate(lock, 0)
    finally:
        os.close(lock)


def _occupied(state_dir: Path) -> errors.Conflict:
    found = tenant.find(str(state_dir)) or tenant.Tenant(None, "")
    who = f" (pid {found.pid}, socket {found.socket})" if found.socket else ""
    return errors.Conflict(
        f"another dashd{who} works in {state_dir}",
        hint="dashctl status shows it; dashctl restart replaces it; DASH_STATE_DIR names another folder",
    )


def _jails(config: Config) -> Jails:
    """The walls of this machine; each jail must find dashd's database and socket out of reach."""
    outside = Outside((str(config.daemon.database),), (str(config.daemon.socket),))
    tool.keep_out(outside)
    return Jails(config.jail.grade_min, outside, dict(os.environ))


def _own(config: Config) -> list[Path]:
    """What is dashd's and no agent's. Workspaces lie in it, and only the runtime gives an agent its own."""
    return [config.daemon.state_dir, config.daemon.socket.parent, config.daemon.database]
