"""`agent.logs`: what an agent printed, as text. It is the agent's word, never ours."""

import trio

from dashd.domain import attempt as rules
from dashd.store import agents, attempts, swarms
from dashd.store.rows import AttemptRow, Snapshot
from dashd.wire import errors
from dashd.wire.methods import agent as wire

from . import pages
from .core import Caller, Core

_STREAMS = {"both": None, "stdout": 1, "stderr": 2}


async def logs(core: Core, _caller: Caller, params: wire.ReadLogs) -> wire.Logs:
    """A piece of the output; with `wait_s` it waits for more where there is none yet."""
    row, number, swept = await _find(core, params)
    if row is None:
        return wire.Logs(agent=params.agent, attempt=None, text="", next_offset=0, ended=False)
    offset = params.offset if isinstance(params.offset, int) else None
    if swept and offset:  # whoever read on from there has read what there was
        return wire.Logs(agent=params.agent, attempt=number, text="", next_offset=offset, ended=True)
    if swept:
        raise errors.NotFound(
            f"what agent {params.agent} printed has been removed with its swarm's output",
            hint=f"agent.result {params.agent} still has its result",
        )
    deadline = trio.current_time() + params.wait_s
    found = await _look(core, params, row.id, number, offset)
    while params.wait_s and not found.text and not found.ended:
        # The ticket comes before the look, so that nothing falls between the look and the wait.
        ticket = core.spools.ticket(row.launch_id)
        found = await _look(core, params, row.id, number, found.next_offset)
        if found.text or found.ended or core.daemon.state == "stopping" or trio.current_time() >= deadline:
            break
        with trio.move_on_at(deadline):
            await ticket.wait()
    return found


async def _look(
    core: Core, params: wire.ReadLogs, attempt_id: str, number: int, offset: int | None
) -> wire.Logs:
    """One look at one attempt. Its row is read first: what has ended by then has printed everything."""
    row = await core.store.reader.read(lambda db: attempts.get(db, attempt_id))
    chunk = await core.spools.read(row.launch_id, offset, params.bytes_max, _STREAMS[params.stream])
    return wire.Logs(
        agent=params.agent,
        attempt=number,
        text=chunk.output.decode("utf-8", "replace"),
        next_offset=chunk.next_offset,
        ended=row.state not in rules.OPEN and not chunk.output,
    )


async def _find(core: Core, params: wire.ReadLogs) -> tuple[AttemptRow | None, int, bool]:
    """The attempt asked for, its number among its seat's, and whether its output is not kept any longer."""

    def query(db: Snapshot) -> tuple[AttemptRow | None, int, bool]:
        seat = agents.get(db, params.agent)
        swept = swarms.get(db, seat.swarm_id).output != "kept"
        if not isinstance(params.attempt, int):
            last = attempts.of_agent(db, seat.id, 1)
            return (last[0], attempts.number_in_seat(db, last[0]), swept) if last else (None, 0, swept)
        known = params.attempt <= pages.INTEGER_MAX
        row = attempts.nth_of_agent(db, seat.id, params.attempt) if known else None
        if row is None:
            raise errors.NotFound(
                f"agent {seat.id} has no attempt {params.attempt}",
                hint=f"agent.get {seat.id} lists them",
                path="attempt",
            )
        return row, params.attempt, swept

    return await core.store.reader.read(query)
