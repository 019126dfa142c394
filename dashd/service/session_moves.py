"""`session.fork`, `resume` and `migrate`: a new agent goes on with what another one knew.

The copy is durable before the new agent is; its files are looked after by `session_files`. A session that is
migrated while it runs is stopped first and copied then, as `store.session_moves` draws it.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec
import trio

from dashd.domain import ids
from dashd.domain.task import ENDED
from dashd.store import (
    agents,
    attempts,
    gateways,
    lifecycle,
    session_moves,
    session_room,
    sessions,
    stops,
    swarms,
    tasks,
)
from dashd.store.rows import Snapshot, SwarmRow
from dashd.store.sessions import CheckpointRow, SessionRow
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.methods import session as wire
from dashd.wire.methods.agent import ResumeAgent, SpawnAgent

from . import agents as agent_service
from . import reach, session_files, session_seats, session_terms
from . import session_copies as copies
from . import swarms as swarm_service
from .core import Caller, Core
from .idempotency import once, replay

GO_ON: Final = "Go on from where you were."
MOVE_S_MAX: Final = 120.0
"""For the end of what runs in a session that is migrated; the answer waits no longer, the move does."""
NAMED_MAX: Final = 5
"""Children that a message names."""
Begin = Callable[[Tx, str], wire.SessionForked]
"""Makes the new agent in this transaction, told this task; what it goes on from is not in the answer yet."""
Going = tuple[CheckpointRow, Callable[[Tx], wire.SessionForked]]
"""The copy, whose file is there, and what writes it down with who goes on from it."""
Apply = Callable[[Callable[[Tx], wire.SessionForked]], Awaitable[wire.SessionForked]]


async def fork(
    core: Core, caller: Caller, params: wire.ForkSession, *, compacts: bool = False
) -> wire.SessionForked:
    """It goes on in a folder and a session of its own; where its swarm has ended, in a new swarm of one.

    `compacts`: all that the agent is to do is to sum it up.
    """
    key = params.idempotency_key
    if (known := await replay(core, caller, "session.fork", params, key, wire.SessionForked)) is not None:
        return known
    copy, begin = await _going_on(core, caller, params)

    def operation(tx: Tx) -> wire.SessionForked:
        forked = begin(tx)
        if compacts:
            sessions.only_compact(tx, forked.task)
        return forked

    work = once(caller, "session.fork", params, key, operation, wire.SessionForked)
    return await copies.written(core, copy, work)


async def resume(core: Core, caller: Caller, params: wire.ResumeSession) -> wire.SessionChanged:
    """One that is paused runs on. A closed one is gone on with by a new agent."""
    key = params.idempotency_key
    if (known := await replay(core, caller, "session.resume", params, key, wire.SessionChanged)) is not None:
        return known
    row, state = await copies.standing(core, params.session)
    if state in ("open", "paused", "waiting"):
        if params.task:
            raise errors.Conflict(
                f"session {row.id} is {state}: it takes no new task",
                hint=f"agent.message {row.agent_id} says something to it; session.fork begins another",
                path="task",
            )
        done = await agent_service.resume(core, caller, ResumeAgent(agent=row.agent_id))
        _, now = await copies.standing(core, row.id)
        return wire.SessionChanged(session=row.id, state=now, changed=done.changed, agent=row.agent_id)
    wanted = wire.ForkSession(session=row.id, task=params.task or GO_ON)
    copy, begin = await _going_on(core, caller, wanted)

    def operation(tx: Tx) -> wire.SessionChanged:
        copies.resting(tx.db, row.id)  # still
        forked = begin(tx)
        return wire.SessionChanged(
            session=row.id,
            state=state,
            changed=True,
            agent=forked.agent,
            task=forked.task,
            swarm=forked.swarm,
            approval=forked.approval,
            notes=forked.notes,
        )

    work = once(caller, "session.resume", params, key, operation, wire.SessionChanged)
    return await copies.written(core, copy, work)


async def migrate(core: Core, caller: Caller, params: wire.MigrateSession) -> wire.SessionForked:
    """Once: what runs in it is told to stop in the transaction that makes its new agent, which waits."""
    key = params.idempotency_key
    if (known := await replay(core, caller, "session.migrate", params, key, wire.SessionForked)) is not None:
        return await _moved(core, params.session, known)
    made: wire.SessionForked | None = None
    while made is None:  # again, where it came to rest, or ran on, between a look and the transaction
        row, state, held = await _unmoved(core, params.session)
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


async def _unmoved(core: Core, session: str) -> tuple[SessionRow, wire.SessionState, bool]:
    """(the session, its state, whether it is to be stopped first)."""

    def query(db: Snapshot) -> tuple[SessionRow, wire.SessionState, bool]:
        row = sessions.get(db, session)
        session_moves.refuse_moved(db, row.id)
        _refuse_elsewhere(db, row)
        _refuse_parent(db, row)
        return row, copies.state(db, row), _is_held(db, row)

    return await core.store.reader.read(query)


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
    begin = await _beginning(core, caller, row, params.swarm, "")
    files = await core.store.reader.read(lambda db: session_files.files(db, row, params.swarm, stops=runs))
    so_far, room = len(found.whole), core.checkpoints_bytes_max

    def operation(tx: Tx) -> wire.SessionForked:
        now = copies.state(tx.db, row)
        if not _is_held(tx.db, row) or (now != "waiting") != runs or sessions.get(tx.db, row.id) != row:
            raise _Changed
        _refuse_parent(tx.db, row)
        session_room.refuse_full(tx.db, so_far, room)  # the copy that is made at its end is kept in any case
        forked = begin(tx, files.told(params.task or GO_ON))
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
) -> Going:
    """Of one in which nothing runs, though its task may be due to."""
    wanted = wire.ForkSession(session=row.id, task=params.task or GO_ON, swarm=params.swarm)
    copy, begin = await _going_on(core, caller, wanted)

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


async def _going_on(core: Core, caller: Caller, params: wire.ForkSession) -> Going:
    """What makes the new agent; the copy is there when this returns."""
    row = await core.store.reader.read(lambda db: sessions.get(db, params.session))
    swarm = await core.store.reader.read(lambda db: _swarm(db, row, params.swarm or ""))
    begin = await _beginning(core, caller, row, swarm.id if swarm else "", params.name or "")
    files = await core.store.reader.read(
        lambda db: session_files.files(db, row, swarm.id if swarm else "", stops=False)
    )
    copy, broken_off = await copies.copy_to_go_on(core, row.id, at=params.at or None)

    def operation(tx: Tx) -> wire.SessionForked:
        copies.write_down(core, tx, copy)
        forked = begin(tx, files.told(params.task))
        files.begin(tx, forked.agent)
        sessions.sow(tx, forked.task, copy.id, broken_off=broken_off)
        notes = [*forked.notes, *files.notes]
        return msgspec.structs.replace(forked, checkpoint=copy.id, step=copy.step, notes=notes)

    return copy, operation


async def _beginning(core: Core, caller: Caller, row: SessionRow, swarm_id: str, name: str) -> Begin:
    """Makes the agent in that swarm, below the parent of the session's; "": in a new one, on its terms."""
    if not swarm_id:
        return await _alone(core, caller, row, name)
    swarm = await core.store.reader.read(lambda db: _swarm(db, row, swarm_id))
    assert swarm is not None, "a swarm that is named is there"
    await reach.check_swarm(core, caller, swarm)
    await core.store.reader.read(lambda db: session_seats.check(db, caller, row, swarm_id))

    def begin(tx: Tx, task: str) -> wire.SessionForked:
        wanted = SpawnAgent(task=task, swarm=swarm_id, name=name or msgspec.UNSET)
        spawned = session_seats.spawn(tx, caller, row, wanted)
        return wire.SessionForked(
            agent=spawned.id,
            swarm=spawned.swarm,
            task=spawned.task,
            checkpoint="",
            step="",
            cursor=spawned.cursor,
        )

    return begin


async def _alone(core: Core, caller: Caller, row: SessionRow, name: str) -> Begin:
    terms = await core.store.reader.read(lambda db: session_terms.terms(db, row, name))
    why = await core.store.reader.read(lambda db: session_seats.closed(db, row))
    if not (await core.walls.state()).required:
        terms = session_terms.without_walls(terms)
    make = await swarm_service.prepare(core, caller, terms)

    def begin(tx: Tx, task: str) -> wire.SessionForked:
        made = make(tx, task)
        session_terms.narrow(tx, row, made.id)
        note = f"{why}: it goes on in a new swarm of one, {made.id}, on the same terms"
        return wire.SessionForked(
            agent=ids.agent_id(made.id, 1),
            swarm=made.id,
            task=ids.task_id(made.id, 1),
            checkpoint="",
            step="",
            cursor=made.cursor,
            approval=made.approval,
            notes=[note],
        )

    return begin


def _swarm(db: Snapshot, row: SessionRow, named: str) -> SwarmRow | None:
    """The swarm to go on in: the one that is named, or the session's own where one can; None: a new one.

    Raises Unsupported, SwarmEnded.
    """
    swarm = swarms.get(db, named or row.swarm_id)
    if swarm.driver != row.driver:
        raise errors.Unsupported(
            f"swarm {swarm.id} runs {swarm.driver}, and a session of {row.driver} cannot go on there",
            hint=f"name a swarm of driver {row.driver}",
            path="swarm",
        )
    gateways.refuse_begun(swarm, "swarm")
    if not named:
        return None if session_seats.closed(db, row) else swarm
    if swarm.ended_at_ms is None and swarm.wanted != "destroy":
        return swarm
    raise errors.Conflict(
        f"swarm {swarm.id} has ended: {swarm.state}",
        hint=f"name an open swarm of driver {row.driver}; or session.fork {row.id} without one, which makes"
        " a new swarm of one",
        path="swarm",
    )
