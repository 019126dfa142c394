"""`session.*`: conversations as trees. Copies come first, and what goes on with one is an ordinary task."""

from typing import Final

import msgspec

from dashd.domain import attempt as attempt_rules
from dashd.domain import ids
from dashd.domain.session_tree import SPOKEN, Node, NotASession, SessionTree, Transcript, UnknownStep
from dashd.store import agents, attempts, inputs, sessions, swarms, tasks
from dashd.store import made_sessions as made_rows
from dashd.store.rows import Snapshot, SwarmRow
from dashd.store.sessions import CheckpointRow, SessionRow
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.events import iso
from dashd.wire.methods import session as wire
from dashd.wire.methods.agent import KillAgent, PauseAgent, ResumeAgent, SpawnAgent

from . import agents as agent_service
from . import made_sessions, pages, primes, reach
from .core import Caller, Core
from .idempotency import once, replay
from .views import iso_or_none

TEXT_CHARACTERS_MAX: Final = 8_000
"""Of one step in `session.show`."""
PIECE_BYTES_MAX: Final = 1_000_000
GO_ON: Final = "Go on from where you were."
SUM_UP: Final = "Sum up what was said."


async def list_(core: Core, caller: Caller, params: wire.ListSessions) -> wire.SessionList:
    """One page, in order of creation."""
    if params.new:
        return await made_sessions.page(core, caller, params)
    after = pages.number(params.cursor)

    def query(db: Snapshot) -> wire.SessionList:
        swarm_id, agent_id = params.swarm or "", params.agent or ""
        found, last = sessions.page(db, swarm_id, agent_id, after, params.limit, reach.among(db, caller))
        next_cursor = str(last) if len(found) == params.limit else ""
        return wire.SessionList(items=[_shown(db, row) for row in found], next_cursor=next_cursor)

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
    row, found = await _read(core, params.session, params.checkpoint or None)
    said = list(found.tree.spoken())
    marks: dict[str, list[str]] = {}
    for each in await core.store.reader.read(lambda db: sessions.checkpoints(db, row.id)):
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
        leaf=found.tree.leaf,
        checkpoints=marks,
    )


async def show(core: Core, _caller: Caller, params: wire.ShowSession) -> wire.SessionShown:
    """What the model had before it at that step, as far as it was said."""
    row, found = await _read(core, params.session)
    step = _step(found.tree, params.step or None)
    said = [node for node in found.tree.path(step.id) if node.role in SPOKEN]
    shown = said[-params.limit :]
    return wire.SessionShown(
        session=row.id, steps=[_said(found, node) for node in shown], more=len(said) - len(shown)
    )


async def export(core: Core, _caller: Caller, params: wire.ExportSession) -> wire.SessionExported:
    """In pieces; of a session that goes on, what was there when each was asked for."""
    row, found = await _read(core, params.session)
    as_lines = params.format == "jsonl"
    whole = found.whole.decode("utf-8", "replace") if as_lines else primes.markdown(row.id, found)
    piece = whole[params.offset : params.offset + PIECE_BYTES_MAX]
    end = params.offset + len(piece)
    return wire.SessionExported(session=row.id, text=piece, next_offset=end if end < len(whole) else None)


async def prime(core: Core, _caller: Caller, params: wire.NameSession) -> wire.SessionPrimed:
    """From what the rows and the conversation say; the diff is named by its files."""
    row, found = await _read(core, params.session)
    facts = await core.store.reader.read(lambda db: primes.facts(db, row))
    return wire.SessionPrimed(session=row.id, text=primes.text(facts, found))


async def checkpoint(core: Core, _caller: Caller, params: wire.CheckpointSession) -> wire.CheckpointMade:
    """Of all branches; where a step is named, of the way there alone."""
    name = params.name or ""
    return _made(await _copied(core, params.session, at=params.at or None, kind="named", name=name))


async def branch(core: Core, _caller: Caller, params: wire.BranchSession) -> wire.CheckpointMade:
    """A named copy up to a step."""
    return _made(await _copied(core, params.session, at=params.at, kind="named", name=params.name))


async def archive(core: Core, _caller: Caller, params: wire.NameSession) -> wire.CheckpointMade:
    """A copy of all of it that stays when its agent's output goes; of one that runs, refused."""
    row = await core.store.reader.read(lambda db: _resting(db, params.session))
    return _made(await _copied(core, row.id, kind="archive"))


async def rewind(core: Core, _caller: Caller, params: wire.MoveSession) -> wire.SessionMoved:
    """To a step, to a checkpoint, or to the end of another branch: nothing that was said is lost."""
    row = await core.store.reader.read(lambda db: _resting(db, params.session))
    there = await core.store.reader.read(lambda db: sessions.checkpoint(db, row.id, params.to))
    if there is None:
        there = await _copied(core, row.id, at=params.to, kind="named")

    def operation(tx: Tx) -> wire.SessionMoved:
        _resting(tx.db, row.id)
        sessions.set_head(tx, row.id, there.id)
        where = {"swarm": row.swarm_id, "agent": row.agent_id, "task": row.task_id}
        tx.emit("session.state", **where, data={"session": row.id, "head": there.id, "step": there.step})
        return wire.SessionMoved(session=row.id, head=there.id, step=there.step)

    return await core.store.writer.apply(operation)


async def fork(
    core: Core, caller: Caller, params: wire.ForkSession, *, compacts: bool = False
) -> wire.SessionForked:
    """The copy is durable before the new agent is; it goes on in a folder and a session of its own.

    `compacts`: all that the agent is to do is to sum it up.
    """
    key = params.idempotency_key
    if (known := await replay(core, caller, "session.fork", params, key, wire.SessionForked)) is not None:
        return known
    row = await core.store.reader.read(lambda db: sessions.get(db, params.session))
    swarm = await core.store.reader.read(lambda db: _open_swarm(db, row, params.swarm or row.swarm_id))
    await reach.check_swarm(core, caller, swarm)
    copy = await _copy(core, row.id, at=params.at or None, kind="fork", resumable=True)
    wanted = SpawnAgent(task=params.task, swarm=swarm.id, name=params.name, begin_from=copy.id)

    def operation(tx: Tx) -> wire.SessionForked:
        sessions.keep(tx, copy)
        spawned = agent_service.spawn_in(tx, wanted)
        if compacts:
            sessions.only_compact(tx, spawned.task)
        return wire.SessionForked(
            agent=spawned.id,
            swarm=spawned.swarm,
            task=spawned.task,
            checkpoint=copy.id,
            step=copy.step,
            cursor=spawned.cursor,
        )

    work = once(caller, "session.fork", params, key, operation, wire.SessionForked)
    return await core.store.writer.apply(work)


async def migrate(core: Core, caller: Caller, params: wire.MigrateSession) -> wire.SessionForked:
    """First the copy and its new agent, then the end of the old one: nothing is lost in between."""
    forked = await fork(
        core, caller, wire.ForkSession(session=params.session, task=params.task or GO_ON, swarm=params.swarm)
    )
    await terminate(core, caller, wire.NameSession(session=params.session))
    return forked


async def pause(core: Core, caller: Caller, params: wire.NameSession) -> wire.SessionChanged:
    """Pauses its agent, as its driver pauses."""
    row = await core.store.reader.read(lambda db: _running(db, params.session))
    done = await agent_service.pause(core, caller, PauseAgent(agent=row.agent_id))
    return await _changed(core, row, changed=done.changed)


async def resume(core: Core, caller: Caller, params: wire.ResumeSession) -> wire.SessionChanged:
    """One that is paused runs on. A closed one is gone on with by a new agent in its swarm."""
    row, state = await _standing(core, params.session)
    if state in ("open", "paused", "waiting"):
        if params.task:
            raise errors.Conflict(
                f"session {row.id} is {state}: it takes no new task",
                hint=f"agent.message {row.agent_id} says something to it; session.fork begins another",
                path="task",
            )
        done = await agent_service.resume(core, caller, ResumeAgent(agent=row.agent_id))
        return await _changed(core, row, changed=done.changed)
    at = row.head if row.head is not None else msgspec.UNSET
    forked = await fork(core, caller, wire.ForkSession(session=row.id, task=params.task or GO_ON, at=at))
    return wire.SessionChanged(
        session=row.id, state=state, changed=True, agent=forked.agent, task=forked.task
    )


async def compact(core: Core, caller: Caller, params: wire.CompactSession) -> wire.SessionChanged:
    """One that runs is summed up at the end of a turn; of one that rests a new agent sums up a copy."""
    row, state = await _standing(core, params.session)
    if not core.drivers.abilities(row.driver).compacts:
        raise errors.Unsupported(
            f"driver {row.driver} cannot be told to sum up what was said",
            hint=f"session.prime {row.id} sums it up for a fresh one, where the session can be read",
        )
    if state in ("closed", "gone"):
        at = row.head if row.head is not None else msgspec.UNSET
        wanted = wire.ForkSession(session=row.id, task=SUM_UP, at=at)
        forked = await fork(core, caller, wanted, compacts=True)
        return wire.SessionChanged(
            session=row.id, state=state, changed=True, agent=forked.agent, task=forked.task
        )

    def operation(tx: Tx) -> None:
        run = attempts.get(tx.db, _running(tx.db, row.id).attempt_id)
        if run.stop is not None:
            raise errors.IllegalTransition(f"session {row.id} is ending", hint="wait for its end")
        inputs.add_message(tx, run.id, params.keep or "", compacts=True)

    await core.store.writer.apply(operation)
    return await _changed(core, row, changed=True)


async def terminate(core: Core, caller: Caller, params: wire.NameSession) -> wire.SessionChanged:
    """Kills its agent; where nothing runs in it, its agent may have more to do, and is let be.

    One that nobody has begun is taken back.
    """
    if (taken_back := await made_sessions.remove(core, caller, params.session)) is not None:
        return taken_back
    row, state = await _standing(core, params.session)
    if state in ("closed", "gone"):
        return await _changed(core, row, changed=False)
    done = await agent_service.kill(core, caller, KillAgent(agent=row.agent_id))
    return await _changed(core, row, changed=done.changed)


# --- reading ----------------------------------------------------------------------------------------------


async def _read(core: Core, session: str, checkpoint_id: str | None = None) -> tuple[SessionRow, Transcript]:
    """The session as it is now; where it is gone, or a checkpoint is named, as that has it."""

    def query(db: Snapshot) -> tuple[SessionRow, CheckpointRow | None]:
        row = sessions.get(db, session)
        if checkpoint_id is None:
            gone = _state(db, row) == "gone"
            return row, (_kept(db, row, row.head) if row.head or gone else None)
        return row, _kept(db, row, checkpoint_id)

    row, kept = await core.store.reader.read(query)
    try:
        if kept is not None:
            return row, await core.sessions.kept(row.driver, kept.id)
        return row, await core.sessions.live(row.driver, row.id)
    except NotASession as error:
        raise errors.Unavailable(
            f"session {row.id} cannot be read: {error}", hint=f"session.get {row.id} lists its checkpoints"
        ) from None


def _kept(db: Snapshot, row: SessionRow, wanted: str | None) -> CheckpointRow:
    found = sessions.checkpoint(db, row.id, wanted) if wanted else sessions.newest(db, row.id)
    if found is None:
        known = ", ".join(each.name or each.id for each in sessions.checkpoints(db, row.id)[-5:])
        raise errors.NotFound(
            f"session {row.id} has no checkpoint {wanted!r}" if wanted else f"nothing of {row.id} is left",
            hint=f"its latest are {known}" if known else "it has none",
            path="checkpoint",
        )
    return found


def _step(found: SessionTree, wanted: str | None) -> Node:
    """The step that is meant, or the one where it goes on. Raises NotFound."""
    try:
        if wanted is not None:
            return found.find(wanted)
    except UnknownStep as error:
        raise errors.NotFound(str(error), hint=f"{error.hint}; session.tree shows all", path="at") from None
    if found.leaf is None:
        raise errors.Conflict("nothing was said in this session yet", hint="wait until its agent has begun")
    return found.nodes[found.leaf]


async def _copied(
    core: Core, session: str, *, kind: str, at: str | None = None, name: str = ""
) -> CheckpointRow:
    """A copy whose file and row are both there when this returns."""
    copy = await _copy(core, session, kind=kind, at=at, name=name)
    await core.store.writer.apply(lambda tx: sessions.keep(tx, copy))
    return copy


async def _copy(
    core: Core, session: str, *, kind: str, at: str | None = None, name: str = "", resumable: bool = False
) -> CheckpointRow:
    """The row of a copy whose file is there when this returns; a checkpoint that is named is read from."""
    from_ = await core.store.reader.read(
        lambda db: sessions.checkpoint(db, sessions.get(db, session).id, at) if at else None
    )
    row, found = await _read(core, session, from_.id if from_ else None)
    step = _step(found.tree, None if from_ else at)
    if resumable:
        step = found.tree.resumable(step.id)
    data = found.whole
    if step.id != found.tree.leaf:
        cwd = (await core.store.reader.read(lambda db: swarms.get(db, row.swarm_id))).cwd
        data = found.cut(step.id, session_id=row.id, cwd=cwd, at_ms=core.clock.now_ms())
    copy = CheckpointRow(
        id=f"c-{ids.swarm_id(core.clock.token(ids.SWARM_ID_BITS))}",
        session_id=row.id,
        kind=kind,
        name=name,
        step=step.id,
        steps=len(found.tree.nodes if data is found.whole else found.tree.path(step.id)),
        bytes=len(data),
        at_ms=core.clock.now_ms(),
    )
    await core.sessions.keep(copy.id, data)
    return copy


# --- states -----------------------------------------------------------------------------------------------


async def _standing(core: Core, session: str) -> tuple[SessionRow, wire.SessionState]:
    return await core.store.reader.read(lambda db: (row := sessions.get(db, session), _state(db, row)))


def _state(db: Snapshot, row: SessionRow) -> wire.SessionState:
    """What its latest attempt, its task and its folder say."""
    attempt = attempts.get(db, row.attempt_id)
    if attempt.state in attempt_rules.OPEN:
        return "paused" if agents.get(db, row.agent_id).state == "paused" else "open"
    if attempts.launch(db, row.id).removed:
        return "gone"
    leaves = attempt_rules.leaves_session(attempt.state, attempt.stop, attempt.exit_signal)
    return "waiting" if leaves and tasks.get(db, row.task_id).state in ("ready", "retrying") else "closed"


def _resting(db: Snapshot, session: str) -> SessionRow:
    """The session, in which nothing runs. Raises Conflict."""
    row = sessions.get(db, session)
    if (state := _state(db, row)) in ("open", "paused", "waiting"):
        raise errors.Conflict(
            f"session {row.id} is {state}: its agent writes in it",
            hint=f"wait for its end, or session.terminate {row.id}; session.fork copies it as it runs",
        )
    return row


def _running(db: Snapshot, session: str) -> SessionRow:
    row = sessions.get(db, session)
    if (state := _state(db, row)) not in ("open", "paused"):
        raise errors.IllegalTransition(
            f"session {row.id} is {state}: nothing runs in it",
            hint=f"session.resume {row.id} goes on with it",
        )
    return row


def _open_swarm(db: Snapshot, row: SessionRow, swarm_id: str) -> SwarmRow:
    """The swarm, where a copy of the session can be gone on with. Raises Unsupported, Conflict."""
    swarm = swarms.get(db, swarm_id)
    if swarm.driver != row.driver:
        raise errors.Unsupported(
            f"swarm {swarm.id} runs {swarm.driver}, and a session of {row.driver} cannot go on there",
            hint=f"name a swarm of driver {row.driver}",
            path="swarm",
        )
    if swarm.ended_at_ms is not None:
        raise errors.Conflict(
            f"swarm {swarm.id} has ended: {swarm.state}",
            hint=f"name an open swarm of driver {row.driver}; or session.checkpoint {row.id}, then"
            " swarm.create {begin_from: the checkpoint's id}",
            path="swarm",
        )
    return swarm


async def _changed(core: Core, row: SessionRow, *, changed: bool) -> wire.SessionChanged:
    _, state = await _standing(core, row.id)
    return wire.SessionChanged(session=row.id, state=state, changed=changed, agent=row.agent_id)


# --- what the wire shows ----------------------------------------------------------------------------------


def _shown(db: Snapshot, row: SessionRow) -> wire.Session:
    made = made_rows.of_session(db, row.id)
    return wire.Session(
        id=row.id,
        swarm=row.swarm_id,
        agent=row.agent_id,
        task=row.task_id,
        driver=row.driver,
        state=_state(db, row),
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
