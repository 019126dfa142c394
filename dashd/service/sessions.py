"""`session.*`: conversations as trees. Copies come first, and what goes on with one is an ordinary task."""

from typing import Final

import msgspec

from dashd import threads
from dashd.domain.session_tree import SPOKEN, Node, Transcript
from dashd.store import agents, attempts, inputs, lifecycle, session_room, sessions, stops, swarms
from dashd.store import made_sessions as made_rows
from dashd.store.rows import Snapshot
from dashd.store.sessions import CheckpointRow, SessionRow
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.events import iso
from dashd.wire.methods import session as wire
from dashd.wire.methods.agent import PauseAgent

from . import agents as agent_service
from . import made_sessions, pages, primes, reach, session_forks
from . import session_copies as copies
from .core import Caller, Core
from .idempotency import once, replay
from .views import iso_or_none

TEXT_CHARACTERS_MAX: Final = 8_000
"""Of one step in `session.show`."""
PIECE_BYTES_MAX: Final = 1_000_000
SUM_UP: Final = "Sum up what was said."


async def list_(core: Core, caller: Caller, params: wire.ListSessions) -> wire.SessionList:
    """One page, in order of creation."""
    if params.new:
        return await made_sessions.page(core, caller, params)
    after = pages.number(params.cursor)

    def query(db: Snapshot) -> wire.SessionList:
        swarm_id = swarms.get(db, params.swarm).id if params.swarm else ""
        agent_id = agents.get(db, params.agent).id if params.agent else ""
        among = reach.among(db, caller)
        found, last, total = sessions.page(db, swarm_id, agent_id, after, params.limit, among)
        next_cursor = str(last) if len(found) == params.limit else ""
        shown = [_shown(db, row) for row in found]
        return wire.SessionList(items=shown, next_cursor=next_cursor, total=total)

    return await core.store.reader.read(query)


async def get(core: Core, caller: Caller, params: wire.NameSession) -> wire.Session:
    """With its checkpoints."""
    if (new := await made_sessions.get(core, caller, params.session)) is not None:
        return new

    def query(db: Snapshot) -> wire.Session:
        row = sessions.get(db, params.session)
        kept = [_checkpoint(each) for each in sessions.checkpoints(db, row.id)]
        return msgspec.structs.replace(_shown(db, row), checkpoints=kept)

    return await core.store.reader.read(query)


async def tree(core: Core, _caller: Caller, params: wire.TreeOfSession) -> wire.SessionTree:
    """The latest steps; where several branches are long, the earliest steps are left out first."""
    row, found = await copies.read(core, params.session, params.checkpoint or None)
    said = list(found.tree.spoken())

    def query(db: Snapshot) -> tuple[list[CheckpointRow], str | None]:
        leaf = copies.goes_on(db, row, found, params.checkpoint or None)
        return sessions.checkpoints(db, row.id), leaf

    kept, leaf = await core.store.reader.read(query)
    marks: dict[str, list[str]] = {}
    for each in kept:
        marks.setdefault(each.step, []).append(each.name or each.id)
    return wire.SessionTree(
        session=row.id,
        steps=[
            wire.StepSeen(
                id=node.id,
                depth=depth,
                role=node.role,
                text=node.text,
                at=iso_or_none(node.at_ms or None),
                parent=node.parent,
            )
            for depth, node in said[-params.limit :]
        ],
        more=max(0, len(said) - params.limit),
        leaf=leaf,
        checkpoints=marks,
    )


async def show(core: Core, _caller: Caller, params: wire.ShowSession) -> wire.SessionShown:
    """What the model had before it at that step, as far as it was said."""
    row, found = await copies.read(core, params.session)
    leaf = await core.store.reader.read(lambda db: copies.goes_on(db, row, found))
    step = copies.step(found.tree, params.step or leaf, "step")
    said = [node for node in found.tree.path(step.id) if node.role in SPOKEN]
    shown = said[-params.limit :]
    return wire.SessionShown(
        session=row.id, steps=[_said(found, node) for node in shown], more=len(said) - len(shown)
    )


async def export(core: Core, _caller: Caller, params: wire.ExportSession) -> wire.SessionExported:
    """In pieces; of a session that goes on, what was there when each was asked for."""
    if params.format == "jsonl":
        row, found = await copies.read(core, params.session)
        whole = found.whole.decode("utf-8", "replace")
    else:
        row, found, leaf, _ = await copies.now(core, params.session)
        whole = primes.markdown(row.id, found, leaf)
    piece = whole[params.offset : params.offset + PIECE_BYTES_MAX]
    end = params.offset + len(piece)
    return wire.SessionExported(session=row.id, text=piece, next_offset=end if end < len(whole) else None)


async def prime(core: Core, _caller: Caller, params: wire.NameSession) -> wire.SessionPrimed:
    """From what the rows, the conversation and the files say."""
    row, found, leaf, went_back = await copies.now(core, params.session)
    facts = await core.store.reader.read(lambda db: primes.facts(db, row))
    if went_back:
        facts = primes.before_that(facts, leaf)
    work = await primes.work(core, row, facts)
    text = await threads.run(primes.text, facts, found, work, leaf)  # a conversation may be long
    return wire.SessionPrimed(session=row.id, text=text)


async def checkpoint(core: Core, caller: Caller, params: wire.CheckpointSession) -> wire.CheckpointMade:
    """Of all branches and of where it goes on; where a step is named, of the way there alone."""
    return await _keep(core, caller, "session.checkpoint", params)


async def branch(core: Core, caller: Caller, params: wire.BranchSession) -> wire.CheckpointMade:
    """A named copy up to a step."""
    return await _keep(core, caller, "session.branch", params)


async def _keep(
    core: Core, caller: Caller, method: str, params: wire.CheckpointSession | wire.BranchSession
) -> wire.CheckpointMade:
    key = params.idempotency_key
    if (known := await replay(core, caller, method, params, key, wire.CheckpointMade)) is not None:
        return known
    made = await copies.copy(core, params.session, at=params.at or None, kind="named", name=params.name or "")

    def operation(tx: Tx) -> wire.CheckpointMade:
        copies.write_down(core, tx, made)
        return _made(made)

    work = once(caller, method, params, key, operation, wire.CheckpointMade)
    return await copies.written(core, made, work)


async def archive(core: Core, _caller: Caller, params: wire.NameSession) -> wire.CheckpointMade:
    """A copy of all of it that stays when its agent's output goes; of one that runs, refused.

    Where nothing was said since it was archived, that archive is it.
    """
    row = await core.store.reader.read(lambda db: copies.resting(db, params.session))
    made, known = await _copied(core, row, kind="archive")
    return msgspec.structs.replace(_made(made), deduplicated=known)


async def forget(core: Core, caller: Caller, params: wire.ForgetCheckpoint) -> wire.CheckpointForgotten:
    """Its file goes once that is durable. The operator alone forgets an archive, or decides that something is
    lost: the last that is left of what was said.
    """

    def operation(tx: Tx) -> wire.CheckpointForgotten:
        row = sessions.find_checkpoint(tx.db, params.checkpoint, "checkpoint")
        what = copies.irreplaceable(tx.db, row)
        if what and caller.actor != "operator":
            raise errors.Forbidden(
                f"{row.id} is {what}, and {caller.who} may not remove it",
                hint=f"ask the operator: dashctl session forget {row.id}",
            )
        session_room.forget(tx, row.id)
        tx.after_commit(lambda: core.sessions.forget([row.id]))
        return wire.CheckpointForgotten(
            id=row.id,
            session=row.session_id,
            name=row.name,
            bytes=row.bytes,
            kept_bytes=session_room.total(tx.db),
            bytes_max=core.checkpoints_bytes_max,
        )

    return await core.store.writer.apply(operation)


async def rewind(core: Core, _caller: Caller, params: wire.MoveSession) -> wire.SessionMoved:
    """To a step, to a checkpoint, or to the end of another branch: nothing that was said is lost.

    Again to where it goes on already changes nothing.
    """
    row = await core.store.reader.read(lambda db: copies.resting(db, params.session))
    there = await core.store.reader.read(lambda db: sessions.checkpoint(db, row.id, params.to))
    if there is None:
        there, _ = await _copied(core, row, at=params.to, kind="named")

    def operation(tx: Tx) -> wire.SessionMoved:
        before = copies.resting(tx.db, row.id).head
        sessions.find_checkpoint(tx.db, there.id, "to")  # it may have gone meanwhile
        if before == there.id:
            return wire.SessionMoved(session=row.id, head=there.id, step=there.step)
        sessions.set_head(tx, row.id, there.id)
        where = {"swarm": row.swarm_id, "agent": row.agent_id, "task": row.task_id}
        tx.emit("session.state", **where, data={"session": row.id, "head": there.id, "step": there.step})
        return wire.SessionMoved(session=row.id, head=there.id, step=there.step)

    return await core.store.writer.apply(operation)


async def pause(core: Core, caller: Caller, params: wire.NameSession) -> wire.SessionChanged:
    """Pauses its agent, as its driver pauses."""
    row = await core.store.reader.read(lambda db: copies.running(db, params.session))
    done = await agent_service.pause(core, caller, PauseAgent(agent=row.agent_id))
    return await _changed(core, row, changed=done.changed, cursor=done.cursor)


async def compact(core: Core, caller: Caller, params: wire.CompactSession) -> wire.SessionChanged:
    """One that runs is summed up at the end of a turn; of one that rests a new agent sums up a copy."""
    key = params.idempotency_key
    if (known := await replay(core, caller, "session.compact", params, key, wire.SessionChanged)) is not None:
        return known
    row, state = await copies.standing(core, params.session)
    if not core.drivers.abilities(row.driver).compacts:
        raise errors.Unsupported(
            f"driver {row.driver} cannot be told to sum up what was said",
            hint=f"session.prime {row.id} sums it up for a fresh one, where the session can be read",
        )
    if state in ("closed", "gone"):
        return await _compact_copy(core, caller, row, state, params)

    def operation(tx: Tx) -> wire.SessionChanged:
        run = attempts.get(tx.db, copies.running(tx.db, row.id).attempt_id)
        if run.stop is not None:
            raise errors.IllegalTransition(f"session {row.id} is ending", hint="wait for its end")
        inputs.add_message(tx, run.id, params.keep or "", compacts=True)
        now = copies.state(tx.db, row)
        return wire.SessionChanged(session=row.id, state=now, changed=True, agent=row.agent_id, cursor=tx.seq)

    work = once(caller, "session.compact", params, key, operation, wire.SessionChanged)
    return await core.store.writer.apply(work)


async def _compact_copy(
    core: Core, caller: Caller, row: SessionRow, state: wire.SessionState, params: wire.CompactSession
) -> wire.SessionChanged:
    at = row.head if row.head is not None else msgspec.UNSET
    wanted = wire.ForkSession(session=row.id, task=SUM_UP, at=at)
    copy, begin = await session_forks.going_on(core, caller, wanted)

    def operation(tx: Tx) -> wire.SessionChanged:
        forked = begin(tx)
        sessions.only_compact(tx, forked.task, params.keep or "")
        return session_forks.went_on(row, state, forked)

    work = once(caller, "session.compact", params, params.idempotency_key, operation, wire.SessionChanged)
    return await copies.written(core, copy, work)


async def terminate(core: Core, caller: Caller, params: wire.NameSession) -> wire.SessionChanged:
    """Kills its agent. Where nothing runs in it, its agent may have more to do, and is let be; a task
    that was to go on in it is cancelled.

    One that nobody has begun is taken back.
    """
    if (taken_back := await made_sessions.remove(core, caller, params.session)) is not None:
        return taken_back

    def operation(tx: Tx) -> tuple[SessionRow, bool, int]:
        row = sessions.get(tx.db, params.session)
        return row, _terminate(tx, row), tx.seq

    row, changed, cursor = await core.store.writer.apply(operation)
    return await _changed(core, row, changed=changed, cursor=cursor)


def _terminate(tx: Tx, row: SessionRow) -> bool:
    """Whether there was something to end."""
    state = copies.state(tx.db, row)
    seat = agents.get(tx.db, row.agent_id)
    run = attempts.open_of_task(tx.db, row.task_id)
    if state == "waiting" and (run is None or run.stop not in ("cancel", "kill")):
        stops.leave(tx, row.task_id, seat.id, "its session was terminated")
    elif state in ("open", "paused") and seat.wanted != "kill":
        stops.kill(tx, seat, requeue=False)
    else:
        return False
    lifecycle.settle_swarm(tx, row.swarm_id)
    return True


async def _copied(
    core: Core, row: SessionRow, *, kind: str, at: str | None = None
) -> tuple[CheckpointRow, bool]:
    """A copy whose file and row are both there when this returns, and whether that was so before: a
    repetition keeps no further one.
    """
    _, found, node = await copies.up_to(core, row.id, at, "to")
    whole = at is None or node.id == found.tree.leaf
    steps = len(found.tree.nodes if whole else found.tree.path(node.id))
    alike = (kind, "", node.id, steps, len(found.whole) if whole else None)
    known = await core.store.reader.read(lambda db: _alike(db, row, alike))
    if known is not None:
        return known, True
    made = await copies.copy(core, row.id, kind=kind, at=at)

    def operation(tx: Tx) -> CheckpointRow:
        if (other := _alike(tx.db, row, alike)) is not None:
            return other
        copies.write_down(core, tx, made)
        return made

    kept = await copies.written(core, made, operation)
    return kept, kept is not made


def _alike(
    db: Snapshot, row: SessionRow, wanted: tuple[str, str, str, int, int | None]
) -> CheckpointRow | None:
    """One of that kind, name, step, steps and bytes (None: any) holds the same: a session only ever grows."""
    for each in sessions.checkpoints(db, row.id):
        if (each.kind, each.name, each.step, each.steps, wanted[4] and each.bytes) == wanted:
            return each
    return None


async def _changed(core: Core, row: SessionRow, *, changed: bool, cursor: int) -> wire.SessionChanged:
    _, state = await copies.standing(core, row.id)
    return wire.SessionChanged(
        session=row.id, state=state, changed=changed, agent=row.agent_id, cursor=cursor
    )


# --- what the wire shows ----------------------------------------------------------------------------------


def _shown(db: Snapshot, row: SessionRow) -> wire.Session:
    made = made_rows.of_session(db, row.id)
    return wire.Session(
        id=row.id,
        swarm=row.swarm_id,
        agent=row.agent_id,
        task=row.task_id,
        driver=row.driver,
        state=copies.state(db, row),
        begun_from=row.begun_from,
        head=row.head,
        opened_at=iso(row.opened_at_ms),
        name=made.name if made else "",
        cwd=made.cwd if made else "",
    )


def _checkpoint(row: CheckpointRow) -> wire.Checkpoint:
    return wire.Checkpoint(
        id=row.id,
        kind=row.kind,  # type: ignore[arg-type]  # the table's CHECK is the wire's Literal
        name=row.name,
        step=row.step,
        steps=row.steps,
        bytes=row.bytes,
        at=iso(row.at_ms),
    )


def _said(found: Transcript, node: Node) -> wire.Said:
    text = found.text(node.id)
    return wire.Said(
        id=node.id, role=node.role, text=text[:TEXT_CHARACTERS_MAX], cut=len(text) > TEXT_CHARACTERS_MAX
    )


def _made(row: CheckpointRow) -> wire.CheckpointMade:
    return wire.CheckpointMade(
        id=row.id, session=row.session_id, name=row.name, step=row.step, steps=row.steps
    )
