"""`session.fork` and `resume`: a new agent goes on with a copy of what another one knew.

The copy is durable before the new agent is; its files are looked after by `session_files`, and the terms of a
new swarm of one by `session_terms`.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from dashd.domain import ids
from dashd.store import gateways, session_moves, sessions, swarms
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
Begin = Callable[[Tx, str], wire.SessionForked]
"""Makes the new agent in this transaction, told this task; what it goes on from is not in the answer yet."""
Going = tuple[CheckpointRow, Callable[[Tx], wire.SessionForked]]
"""The copy, whose file is there, and what writes it down with who goes on from it."""


async def fork(core: Core, caller: Caller, params: wire.ForkSession) -> wire.SessionForked:
    """It goes on in a folder and a session of its own; where its swarm has ended, in a new swarm of one."""
    key = params.idempotency_key
    if (known := await replay(core, caller, "session.fork", params, key, wire.SessionForked)) is not None:
        return known
    copy, begin = await going_on(core, caller, params)
    work = once(caller, "session.fork", params, key, begin, wire.SessionForked)
    return await copies.written(core, copy, work)


async def resume(core: Core, caller: Caller, params: wire.ResumeSession) -> wire.SessionChanged:
    """One that is paused runs on. A closed one is gone on with by a new agent, unless it was migrated: then
    somebody goes on with it already, or that was called off there.
    """
    key = params.idempotency_key
    if (known := await replay(core, caller, "session.resume", params, key, wire.SessionChanged)) is not None:
        return known
    row, state = await copies.standing(core, params.session)
    await core.store.reader.read(lambda db: session_moves.refuse_moved(db, row.id))
    if state in ("open", "paused", "waiting"):
        if params.task:
            raise errors.Conflict(
                f"session {row.id} is {state}: it takes no new task",
                hint=f"agent.message {row.agent_id} says something to it; session.fork begins another",
                path="task",
            )
        done = await agent_service.resume(core, caller, ResumeAgent(agent=row.agent_id))
        _, now = await copies.standing(core, row.id)
        return wire.SessionChanged(
            session=row.id, state=now, changed=done.changed, agent=row.agent_id, cursor=done.cursor
        )
    wanted = wire.ForkSession(session=row.id, task=params.task or GO_ON)
    copy, begin = await going_on(core, caller, wanted)

    def operation(tx: Tx) -> wire.SessionChanged:
        copies.resting(tx.db, row.id)  # still
        session_moves.refuse_moved(tx.db, row.id)
        return went_on(row, state, begin(tx))

    work = once(caller, "session.resume", params, key, operation, wire.SessionChanged)
    return await copies.written(core, copy, work)


def went_on(row: SessionRow, state: wire.SessionState, forked: wire.SessionForked) -> wire.SessionChanged:
    """Who goes on with a copy of it, told of the session itself."""
    return wire.SessionChanged(
        session=row.id,
        state=state,
        changed=True,
        agent=forked.agent,
        task=forked.task,
        swarm=forked.swarm,
        approval=forked.approval,
        notes=forked.notes,
        cursor=forked.cursor,
    )


async def going_on(core: Core, caller: Caller, params: wire.ForkSession) -> Going:
    """What makes the new agent; the copy is there when this returns."""
    row = await core.store.reader.read(lambda db: sessions.get(db, params.session))
    swarm = await core.store.reader.read(lambda db: swarm_for(db, row, params.swarm or ""))
    begin = await beginning(core, caller, row, swarm, params.name or "")
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


async def beginning(core: Core, caller: Caller, row: SessionRow, swarm: SwarmRow | None, name: str) -> Begin:
    """Makes the agent in that swarm, below the parent of the session's; None: in a new one, on its terms."""
    if swarm is None:
        return await _alone(core, caller, row, name)
    await reach.check_swarm(core, caller, swarm)
    await core.store.reader.read(lambda db: session_seats.check(db, caller, row, swarm.id))

    def begin(tx: Tx, task: str) -> wire.SessionForked:
        wanted = SpawnAgent(task=task, swarm=swarm.id, name=name or msgspec.UNSET)
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


def swarm_for(db: Snapshot, row: SessionRow, named: str) -> SwarmRow | None:
    """The swarm to go on in: the one that is named, or the session's own where one can; None: a new one.

    Raises Unsupported, Conflict.
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
