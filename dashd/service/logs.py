"""`agent.logs`: what an agent printed, as text. It is the agent's word, never ours."""

import trio

from dashd.domain import attempt as rules
from dashd.store import agents, attempts
from dashd.store.rows import AttemptRow, Snapshot
from dashd.wire import errors
from dashd.wire.methods import agent as wire

from .core import Caller, Core

_STREAMS = {"both": None, "stdout": 1, "stderr": 2}


async def logs(core: Core, _caller: Caller, params: wire.ReadLogs) -> wire.Logs:
    """A piece of the output; with `wait_s` it waits for more where there is none yet."""
    row, number = await _find(core, params)
    if row is None:
        return wire.Logs(agent=params.agent, attempt=None, text="", next_offset=0, ended=False)
    offset = params.offset if isinstance(params.offset, int) else None
    stream = _STREAMS[params.stream]
    chunk = await core.spools.read(row.launch_id, offset, params.bytes_max, stream)
    ended = row.state not in rules.OPEN
    if not chunk.output and not ended and params.wait_s:
        with trio.move_on_after(params.wait_s):
            await core.spools.wait_beyond(row.launch_id, chunk.next_offset)
        chunk = await core.spools.read(row.launch_id, chunk.next_offset, params.bytes_max, stream)
        row, number = await _find(core, params)
        ended = row is None or row.state not in rules.OPEN
    return wire.Logs(
        agent=params.agent,
        attempt=number,
        text=chunk.output.decode("utf-8", "replace"),
        next_offset=chunk.next_offset,
        ended=ended and not chunk.output,
    )


async def _find(core: Core, params: wire.ReadLogs) -> tuple[AttemptRow | None, int]:
    """The attempt asked for, and its number among its seat's."""

    def query(db: Snapshot) -> tuple[AttemptRow | None, int]:
        seat = agents.get(db, params.agent)
        if not isinstance(params.attempt, int):
            last = attempts.of_agent(db, seat.id, 1)
            return (last[0], attempts.number_in_seat(db, last[0])) if last else (None, 0)
        row = attempts.nth_of_agent(db, seat.id, params.attempt)
        if row is None:
            raise errors.NotFound(
                f"agent {seat.id} has no attempt {params.attempt}",
                hint=f"agent.get {seat.id} lists them",
                path="attempt",
            )
        return row, params.attempt

    return await core.store.reader.read(query)
