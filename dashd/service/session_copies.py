"""Conversations as they are read, and the copies of them: a file first, and then its row.

What is there is read whole, every branch: where a session is to go on (`goes_on`) hides nothing of it. Of one
whose folder is gone the fullest copy is left.
"""

from typing import NamedTuple, TypeVar

from dashd.domain import attempt as attempt_rules
from dashd.domain import ids
from dashd.domain.session_tree import SPOKEN, Node, NotASession, SessionTree, Transcript, UnknownStep
from dashd.store import agents, attempts, session_moves, session_room, sessions, swarms, tasks
from dashd.store.rows import Snapshot
from dashd.store.sessions import CheckpointRow, SessionRow
from dashd.store.transaction import Operation, Tx
from dashd.wire import errors
from dashd.wire.methods import session as wire

from .core import Core

T = TypeVar("T")


class Now(NamedTuple):
    """A session as whoever goes on with it finds it."""

    row: SessionRow
    found: Transcript
    leaf: str | None
    """After which step; None where nothing was said yet."""
    went_back: bool
    """Whether something was said that is not on the way there."""


async def read(core: Core, session: str, checkpoint_id: str | None = None) -> tuple[SessionRow, Transcript]:
    """The session as it is now; where it is gone, or a checkpoint is named, as that has it."""

    def query(db: Snapshot) -> tuple[SessionRow, CheckpointRow | None]:
        row = sessions.get(db, session)
        if checkpoint_id is not None:
            return row, _kept(db, row, checkpoint_id)
        return row, (_kept(db, row, None) if state(db, row) == "gone" else None)

    row, kept = await core.store.reader.read(query)
    try:
        if kept is not None:
            return row, await core.sessions.kept(row.driver, kept.id)
        return row, await core.sessions.live(row.driver, row.id)
    except NotASession as error:
        raise errors.Unavailable(
            f"session {row.id} cannot be read: {error}", hint=f"session.get {row.id} lists its checkpoints"
        ) from None


def goes_on(db: Snapshot, row: SessionRow, found: Transcript, checkpoint_id: str | None = None) -> str | None:
    """The step after which it goes on, or what goes on from that checkpoint does: that of its head, or the
    one that it has come to.
    """
    named = checkpoint_id or row.head
    kept = sessions.checkpoint(db, row.id, named) if named else None
    return found.tree.leaf if kept is None else kept.step


async def now(core: Core, session: str) -> Now:
    """As `read` has it; where that has lost the step after which it goes on, as the copy of that has it."""
    row, found = await read(core, session)
    leaf = await core.store.reader.read(lambda db: goes_on(db, row, found))
    if leaf is None or leaf in found.tree.nodes:
        return Now(row, found, leaf, _last_said(found.tree, leaf) != _last_said(found.tree, found.tree.leaf))
    row, found = await read(core, session, row.head)
    return Now(row, found, step(found.tree, leaf).id, went_back=True)


def _last_said(tree: SessionTree, node_id: str | None) -> str | None:
    return next((node.id for node in reversed(tree.path(node_id)) if node.role in SPOKEN), None)


def _kept(db: Snapshot, row: SessionRow, wanted: str | None) -> CheckpointRow:
    found = sessions.checkpoint(db, row.id, wanted) if wanted else sessions.fullest(db, row.id)
    if found is None:
        known = ", ".join(each.name or each.id for each in sessions.checkpoints(db, row.id)[-5:])
        raise errors.NotFound(
            f"session {row.id} has no checkpoint {wanted!r}" if wanted else f"nothing of {row.id} is left",
            hint=f"its latest are {known}" if known else "it has none",
            path="checkpoint",
        )
    return found


def step(found: SessionTree, wanted: str | None, path: str = "at") -> Node:
    """The step that is meant by a parameter, or the latest. Raises NotFound, Conflict."""
    try:
        if wanted is not None:
            return found.find(wanted)
    except UnknownStep as error:
        raise errors.NotFound(str(error), hint=f"{error.hint}; session.tree shows all", path=path) from None
    if found.leaf is None:
        raise errors.Conflict("nothing was said in this session yet", hint="wait until its agent has begun")
    return found.nodes[found.leaf]


async def copy(
    core: Core, session: str, *, kind: str, at: str | None = None, name: str = ""
) -> CheckpointRow:
    """The row of a copy whose file is there when this returns: of all branches, and of where it goes on; or
    of the way to a step, for which a checkpoint that is named is read.

    Its row is to be written by `written`, with nothing to wait for in between. Raises Conflict without room.
    """
    row, found, node = await up_to(core, session, at)
    return await _keep(core, row, found, node, kind=kind, name=name, whole=at is None)


async def copy_to_go_on(core: Core, session: str, *, at: str | None) -> tuple[CheckpointRow, bool]:
    """The same for somebody to go on with: up to a step, or from where it goes on.

    Where a tool call is open it is copied up to before that, unless its program was killed in it: then it is
    copied as it is, and who goes on must be told (the second value).
    """
    row, is_ = await standing(core, session)
    killed = at is None and row.head is None and is_ in ("waiting", "closed", "gone")
    row, found, node = await up_to(core, session, at or row.head)
    broken_off = killed and (is_ == "waiting" or found.tree.is_broken_off(node.id))
    if not broken_off:
        node = found.tree.resumable(node.id)
    return await _keep(core, row, found, node, kind="fork"), broken_off


async def up_to(
    core: Core, session: str, at: str | None, path: str = "at"
) -> tuple[SessionRow, Transcript, Node]:
    """The session up to a step or a checkpoint that a parameter names; up to where it goes on, if none is."""
    from_ = await core.store.reader.read(
        lambda db: sessions.checkpoint(db, sessions.get(db, session).id, at) if at else None
    )
    row, found = await read(core, session, from_.id if from_ else None)
    if at and not from_:
        return row, found, step(found.tree, at, path)
    leaf = await core.store.reader.read(lambda db: goes_on(db, row, found, from_.id if from_ else None))
    return row, found, step(found.tree, leaf if leaf in found.tree.nodes else None)


async def _keep(
    core: Core,
    row: SessionRow,
    found: Transcript,
    node: Node,
    *,
    kind: str,
    name: str = "",
    whole: bool = False,
) -> CheckpointRow:
    data = found.whole
    if node.id != found.tree.leaf and not whole:
        cwd = (await core.store.reader.read(lambda db: swarms.get(db, row.swarm_id))).cwd
        data = found.cut(node.id, session_id=row.id, cwd=cwd, at_ms=core.clock.now_ms())
    room = core.checkpoints_bytes_max
    await core.store.reader.read(lambda db: session_room.refuse_full(db, len(data), room))
    made = CheckpointRow(
        id=ids.checkpoint_id(core.clock.token(ids.SWARM_ID_BITS)),
        session_id=row.id,
        kind=kind,
        name=name,
        step=node.id,
        steps=len(found.tree.nodes if data is found.whole else found.tree.path(node.id)),
        bytes=len(data),
        at_ms=core.clock.now_ms(),
    )
    await core.sessions.keep(made.id, data)
    return made


async def written(core: Core, made: CheckpointRow, work: Operation[T]) -> T:
    """Applies what writes the row of a copy; where no row comes of it, its file goes again."""
    there: list[str] = []

    def operation(tx: Tx) -> T:
        result = work(tx)
        if sessions.checkpoint(tx.db, made.session_id, made.id) is not None:
            tx.after_commit(lambda: there.append(made.id))
        return result

    try:
        return await core.store.writer.apply(operation)
    except errors.StoreBroken:
        there.append(made.id)  # nobody knows: the next start does, and removes what has no row
        raise
    finally:
        if not there:
            core.sessions.forget([made.id])


def write_down(core: Core, tx: Tx, made: CheckpointRow) -> None:
    """Writes the row of a copy; what goes for it is no more. Raises Conflict."""
    if gone := sessions.keep(tx, made, core.checkpoints_bytes_max):
        tx.after_commit(lambda: core.sessions.forget(gone))


async def standing(core: Core, session: str) -> tuple[SessionRow, wire.SessionState]:
    """The session and its state."""
    return await core.store.reader.read(lambda db: (row := sessions.get(db, session), state(db, row)))


def state(db: Snapshot, row: SessionRow) -> wire.SessionState:
    """What its latest attempt, its task and its folder say."""
    attempt = attempts.get(db, row.attempt_id)
    if attempt.state in attempt_rules.OPEN:
        return "paused" if agents.get(db, row.agent_id).state == "paused" else "open"
    if attempts.launch(db, row.id).removed:
        return "gone"
    leaves = attempts.leaves_session(attempt)
    return "waiting" if leaves and (_is_due(db, row) or is_claimed(db, row)) else "closed"


def _is_due(db: Snapshot, row: SessionRow) -> bool:
    """Whether its task is, which goes on in no session that does so elsewhere."""
    return tasks.get(db, row.task_id).state in ("ready", "retrying") and not session_moves.find(db, row.id)


def is_claimed(db: Snapshot, row: SessionRow) -> bool:
    """Whether the task's next attempt was given to a seat that goes on in this session, and nobody has seen
    its program run yet. Once that runs the session is its own, unless it began another one.
    """
    run = attempts.open_of_task(db, row.task_id)
    return run is not None and run.state != "running" and sessions.begun_by(db, run).id == row.id


def irreplaceable(db: Snapshot, row: CheckpointRow) -> str:
    """What a copy is that cannot be made again; "" for one whose session, or a fuller copy, is there."""
    if row.kind == "archive":
        return "an archive"
    others = [each for each in sessions.checkpoints(db, row.session_id) if each.id != row.id]
    if state(db, sessions.get(db, row.session_id)) == "gone" and row.steps > max(
        (each.steps for each in others), default=0
    ):
        return f"the fullest that is left of session {row.session_id}"
    return ""


def resting(db: Snapshot, session: str) -> SessionRow:
    """The session, in which nothing runs. Raises Conflict."""
    row = sessions.get(db, session)
    if (is_ := state(db, row)) in ("open", "paused", "waiting"):
        raise errors.Conflict(
            f"session {row.id} is {is_}: its agent writes in it",
            hint=f"wait for its end, or session.terminate {row.id}; session.fork copies it as it runs",
        )
    return row


def running(db: Snapshot, session: str) -> SessionRow:
    """The session, in which something runs. Raises IllegalTransition."""
    row = sessions.get(db, session)
    if (is_ := state(db, row)) not in ("open", "paused"):
        raise errors.IllegalTransition(
            f"session {row.id} is {is_}: nothing runs in it",
            hint=f"session.resume {row.id} goes on with it",
        )
    return row
