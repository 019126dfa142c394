"""Table `session_move`: sessions that go on elsewhere for good.

    asked for ──a──▶ copied         a  what ran in it has ended, and its copy is there

In the transaction that asks for it the old agent is told to stop and the task is there that goes on; nobody
takes that task before (a), which comes with the row of the old attempt's end. So the two never work at once,
and a death of dashd between any two steps leaves nothing to do but what the next one does anyway.
"""

import msgspec

from dashd.domain import brief, repository
from dashd.domain.task import ENDED
from dashd.wire import errors

from . import lifecycle, rows, sessions, swarms, tasks, workspaces
from .rows import Snapshot, columns, placeholders
from .transaction import Tx


class MoveRow(msgspec.Struct, frozen=True):
    """Table `session_move`."""

    session_id: str
    task_id: str
    copied: int
    at_ms: int
    note: str = ""
    """What was told to the new agent only when the old one had ended."""


_MOVE = columns(MoveRow)
_q_find = f"SELECT {_MOVE} FROM session_move WHERE session_id = ?"
_q_insert = f"INSERT INTO session_move ({_MOVE}) VALUES ({placeholders(MoveRow)})"
_q_awaited = (
    f"SELECT {columns(MoveRow, 'm.')} FROM session_move m JOIN task t ON t.id = m.task_id"
    " WHERE m.copied = 0 AND t.pinned_to = ? AND t.state IN ('waiting', 'ready', 'retrying')"
)
_q_of_attempt = (
    f"SELECT {columns(MoveRow, 'm.')} FROM session_move m JOIN session s ON s.id = m.session_id"
    " WHERE s.attempt_id = ? AND m.copied = 0"
)
_q_note = "UPDATE session_move SET note = ?2 WHERE session_id = ?1"
_q_copied = "UPDATE session_move SET copied = 1 WHERE session_id = ?"


def find(db: Snapshot, session_id: str) -> MoveRow | None:
    """None for one that was not migrated."""
    return rows.first(MoveRow, db, _q_find, (session_id,))


def is_open(db: Snapshot, session_id: str) -> bool:
    """Whether a task waits for the copy of a session."""
    found = find(db, session_id)
    return found is not None and not found.copied


def is_stopping(db: Snapshot, attempt_id: str) -> bool:
    """Whether the session of an attempt that has not ended goes on elsewhere."""
    return rows.first(MoveRow, db, _q_of_attempt, (attempt_id,)) is not None


def awaited(db: Snapshot, agent_id: str) -> MoveRow | None:
    """The move whose end an agent waits for, to go on with its session."""
    return rows.first(MoveRow, db, _q_awaited, (agent_id,))


def refuse_moved(db: Snapshot, session_id: str) -> None:
    """Raises Conflict for one that was migrated before, naming who goes on with it, or was to."""
    if (found := find(db, session_id)) is None:
        return
    task, next_ = tasks.get(db, found.task_id), sessions.of_task(db, found.task_id)
    agent = next_.agent_id if next_ else task.pinned_to
    who = f"agent {agent} of swarm {task.swarm_id}" if agent else f"swarm {task.swarm_id}"
    does, is_ = "goes on", ""
    if task.state in ENDED:
        does, is_ = "went on" if next_ else "was to go on", f", which is {task.state}"
    shows = f"session.get {next_.id}" if next_ else f"task.get {task.id}"
    raise errors.Conflict(
        f"session {session_id} was migrated: {who} {does} with it in task {task.id}{is_}",
        hint=f"{shows} shows it; session.fork {session_id} begins another agent",
    )


def begin(tx: Tx, session_id: str, task_id: str, *, copied: bool) -> None:
    """The task goes on with the session: at once, or when what runs in it has ended."""
    refuse_moved(tx.db, session_id)
    row = MoveRow(session_id, task_id, int(copied), tx.now_ms)
    tx.execute(_q_insert, msgspec.structs.astuple(row))


def files_left(tx: Tx, attempt_id: str, owner: str, why: str) -> None:
    """What was done in a workspace could not be brought back. Where an agent was to begin with it, that agent
    is told, and who asked for the move: it begins elsewhere.
    """
    found = rows.first(MoveRow, tx.db, _q_of_attempt, (attempt_id,))
    task = tasks.get(tx.db, found.task_id) if found else None
    if found is None or task is None or workspaces.start_of(tx.db, task.pinned_to or "") != owner:
        return
    swarm, tree = swarms.get(tx.db, task.swarm_id), workspaces.get(tx.db, owner)
    base = tree.imported or repository.from_json(swarm.repo or "").base
    left = f"{workspaces.whereabouts(tree)}, and could not be brought back ({why})"
    note = f"its clone begins at {base[:12]}; {left}"
    goal = swarm.goal if task.text is None else task.text
    tasks.set_text(tx, task.id, brief.on_other_files(goal, note))
    tx.execute(_q_note, (found.session_id, note))
    where = {"swarm": task.swarm_id, "agent": task.pinned_to, "task": task.id}
    tx.emit("session.error", **where, data={"session": found.session_id, "reason": note})


def ended(tx: Tx, session_id: str, checkpoint_id: str | None, problem: str) -> None:
    """What ran in the session is over, and this is its copy (a); without one, its task is told why not."""
    found = find(tx.db, session_id)
    if found is None or found.copied:
        return
    tx.execute(_q_copied, (session_id,))
    task = tasks.get(tx.db, found.task_id)
    if checkpoint_id is not None:
        sessions.sow(tx, task.id, checkpoint_id, broken_off=True)
        tx.ring("queue")
    elif task.state in ("waiting", "ready", "retrying"):
        cause = f"session {session_id} could not be copied: {problem or 'nothing is left of it'}"
        lifecycle.cancel_task(tx, task, cause)
