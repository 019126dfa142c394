"""`session.migrate`: a new agent goes on with what another one knew, which goes on with it no more.

A session that is migrated while it runs is stopped first and copied then, as `store.session_moves` draws it;
one in which nothing runs goes on as one that is forked does (`session_forks`).
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec
import trio

from dashd.domain.task import ENDED
from dashd.store import agents, attempts, lifecycle, session_moves, session_room, sessions, stops, tasks
from dashd.store.rows import Snapshot
from dashd.store.sessions import CheckpointRow, SessionRow
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.methods import session as wire

from . import session_copies as copies
from . import session_files, session_forks, session_seats
from .core import Caller, Core
from .idempotency import once, replay

MOVE_S_MAX: Final = 120.0
"""For the end of what runs in a session that is migrated; the answer waits no longer, the move does."""
NAMED_MAX: Final = 5
"""Children that a message names."""
Apply = Callable[[Callable[[Tx], wire.SessionForked]], Awaitable[wire.SessionForked]]


async def migrate(core: Core, caller: Caller, params: wire.MigrateSession) -> wire.SessionForked:
    """Once: what runs in it is told to stop in the transaction that makes its new agent, which waits."""
    key = params.idempotency_key
    if (known := await replay(core, caller, "session.migrate", params, key, wire.SessionForked)) is not None:
        return await _moved(core, params.session, known)
    made: wire.SessionForked | None = None
    while made is None:  # again, where it came to rest, or ran on, between a look and the transaction
        row, state, held = await _unmoved(core, params)
        apply: Apply = core.store.writer.apply
        if held:
            moving = await _stopping(core, caller, row, state, params)
        else:
            copy, moving = await _resting(core, caller, row, state, params)
            apply = partial(copies.written, core, copy)
        work = once(caller, "session.migrate", params, key, moving, wire.SessionForked)
        try:
            made = await apply(work)
        except _Changed:
            continue
    return await _moved(core, params.session, made)


async def _unmoved(core: Core, params: wire.MigrateSession) -> tuple[SessionRow, wire.SessionState, bool]:
    """(the session, its state, whether it is to be stopped first)."""

    def query(db: Snapshot) -> tuple[SessionRow, wire.SessionState, bool]:
        row = sessions.get(db, params.session)
        session_moves.refuse_moved(db, row.id)
        _refuse_own(db, row, params.swarm)
        _refuse_elsewhere(db, row)
        _refuse_parent(db, row)
        return row, copies.state(db, row), _is_held(db, row)

    return await core.store.reader.read(query)


def _refuse_own(db: Snapshot, row: SessionRow, swarm_id: str) -> None:
    """Raises Conflict where it is there already, and its task would be cancelled for another one. A child's
    session has nowhere else to go.
    """
    if swarm_id == row.swarm_id and agents.get(db, row.agent_id).parent_id is None:
        raise errors.Conflict(
            f"session {row.id} is of swarm {swarm_id} already: its task would be cancelled there",
            hint=f"name another swarm; session.fork {row.id} begins one more agent in this one",
            path="swarm",
        )


def _is_held(db: Snapshot, row: SessionRow) -> bool:
    """Whether an attempt runs in it, or was claimed to, and may be starting at this moment."""
    state = copies.state(db, row)
    return state in ("open", "paused") or (state == "waiting" and copies.is_claimed(db, row))


def _refuse_elsewhere(db: Snapshot, row: SessionRow) -> None:
    """Raises Conflict where another session is that of its task's attempt now: both would do the same."""
    run = attempts.open_of_task(db, row.task_id)
    other = sessions.begun_by(db, run).id if run is not None else row.id
    if run is not None and other != row.id:
        raise errors.Conflict(
            f"agent {run.agent_id} is at task {row.task_id} again, in another session than {row.id}: {other}",
            hint=f"session.migrate {other} moves that one, once it has begun; or task.cancel {row.task_id},"
            f" and then this again; session.fork {row.id} begins one more agent",
        )


def _refuse_parent(db: Snapshot, row: SessionRow) -> None:
    """Raises Conflict where its agent would be ended with it, and others that work for that one."""
    seat = agents.get(db, row.agent_id)
    ends = copies.state(db, row) in ("open", "paused", "waiting") and seat.task_id == row.task_id
    at_work = session_seats.children_at_work(db, seat.id) if ends else []
    if at_work:
        more = f" and {len(at_work) - NAMED_MAX} more" if len(at_work) > NAMED_MAX else ""
        raise errors.Conflict(
            f"agent {seat.id} is ended where its session goes on elsewhere, and its children would be with"
            f" it: {', '.join(at_work[:NAMED_MAX])}{more}",
            hint=f"wait until they have ended, or agent.kill {at_work[0]} gives its work up; session.fork"
            f" {row.id} copies it and ends nobody",
        )


class _Changed(Exception):
    """The session is not what it was when it was looked at."""


async def _stopping(
    core: Core, caller: Caller, row: SessionRow, state: wire.SessionState, params: wire.MigrateSession
) -> Callable[[Tx], wire.SessionForked]:
    """Of one that runs, or is about to. Raises Conflict where nothing was said in it yet."""
    runs = state != "waiting"
    _, found = await copies.read(core, row.id)
    copies.step(found.tree, None)
    swarm = await core.store.reader.read(lambda db: session_forks.swarm_for(db, row, params.swarm))
    begin = await session_forks.beginning(core, caller, row, swarm, "")
    files = await core.store.reader.read(lambda db: session_files.files(db, row, params.swarm, stops=runs))
    so_far, room = len(found.whole), core.checkpoints_bytes_max

    def operation(tx: Tx) -> wire.SessionForked:
        now = copies.state(tx.db, row)
        if not _is_held(tx.db, row) or (now != "waiting") != runs or sessions.get(tx.db, row.id) != row:
            raise _Changed
        _refuse_parent(tx.db, row)
        session_room.refuse_full(tx.db, so_far, room)  # the copy that is made at its end is kept in any case
        forked = begin(tx, files.told(params.task or session_forks.GO_ON))
        files.begin(tx, forked.agent)
        session_moves.begin(tx, row.id, forked.task, copied=False)
        if runs:
            stops.kill(tx, agents.get(tx.db, row.agent_id), requeue=False, cause=_elsewhere(forked.swarm))
            agents.set_cause(tx, row.agent_id, None)  # to its swarm one means: nobody does what else is left
        else:
            stops.leave(tx, row.task_id, row.agent_id, _elsewhere(forked.swarm))
        return msgspec.structs.replace(forked, notes=[*forked.notes, *files.notes])

    return operation


async def _resting(
    core: Core, caller: Caller, row: SessionRow, state: wire.SessionState, params: wire.MigrateSession
) -> session_forks.Going:
    """Of one in which nothing runs, though its task may be due to."""
    wanted = wire.ForkSession(session=row.id, task=params.task or session_forks.GO_ON, swarm=params.swarm)
    copy, begin = await session_forks.going_on(core, caller, wanted)

    def operation(tx: Tx) -> wire.SessionForked:
        is_as_it_was = copies.state(tx.db, row) == state and not _is_held(tx.db, row)
        if not is_as_it_was or sessions.get(tx.db, row.id) != row:
            raise _Changed
        _refuse_elsewhere(tx.db, row)
        _refuse_parent(tx.db, row)
        forked = begin(tx)
        session_moves.begin(tx, row.id, forked.task, copied=True)
        if state == "waiting":  # its agent may be at another task, or have ended
            stops.leave(tx, row.task_id, row.agent_id, _elsewhere(forked.swarm))
        else:  # it may be about to be tried again from its beginning
            stops.cancel(tx, tasks.get(tx.db, row.task_id), _elsewhere(forked.swarm))
        lifecycle.settle_swarm(tx, row.swarm_id)
        return forked

    return copy, operation


def _elsewhere(swarm_id: str) -> str:
    return f"its session goes on in swarm {swarm_id}"


async def _moved(core: Core, session: str, made: wire.SessionForked) -> wire.SessionForked:
    """The answer with what it goes on from, once that is there. Raises Unavailable where it will never be."""

    def query(db: Snapshot) -> tuple[CheckpointRow | None, str, str]:
        row, task = sessions.begun_with(db, made.task), tasks.get(db, made.task)
        move = session_moves.find(db, row.session_id) if row else None
        problem = (task.cause or task.state) if row is None and task.state in ENDED else ""
        return row, move.note if move else "", problem

    if made.checkpoint:
        return made
    with trio.move_on_after(MOVE_S_MAX):
        while core.daemon.state != "stopping":
            ticket = core.store.bells.events.ticket()
            row, note, problem = await core.store.reader.read(query)
            if row is not None:
                notes = [*made.notes, note] if note else made.notes
                return msgspec.structs.replace(made, checkpoint=row.id, step=row.step, notes=notes)
            if problem:
                raise errors.Unavailable(
                    f"session {session} was stopped, and task {made.task} does not go on with it: {problem}",
                    hint=f"session.get {session} lists its checkpoints",
                )
            await ticket.wait()
    return made
