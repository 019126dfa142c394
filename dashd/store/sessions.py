"""Tables `session`, `checkpoint` and `session_seed`: conversations, and the copies that are kept of them."""

import msgspec

from dashd.domain import repository
from dashd.wire import errors

from . import agents, attempts, gateways, made_sessions, rows, session_room, swarms, tasks
from .rows import AttemptRow, LaunchRow, Snapshot, columns, placeholders
from .transaction import Tx

AUTOMATIC = "automatic"
OF_SESSION_MAX = 1_000
"""Copies of one session that somebody asked for, so that one answer holds them all."""


class SessionRow(msgspec.Struct, frozen=True):
    """Table `session`."""

    id: str
    swarm_id: str
    agent_id: str
    task_id: str
    attempt_id: str
    driver: str
    begun_from: str | None
    head: str | None
    opened_at_ms: int


class CheckpointRow(msgspec.Struct, frozen=True):
    """Table `checkpoint`."""

    id: str
    session_id: str
    kind: str
    name: str
    step: str
    steps: int
    bytes: int
    at_ms: int


_SESSION = columns(SessionRow)
_CHECKPOINT = columns(CheckpointRow)
_q_get = f"SELECT {_SESSION} FROM session WHERE id = ?"
_q_insert = f"INSERT INTO session ({_SESSION}) VALUES ({placeholders(SessionRow)})"
_q_taken = "UPDATE session SET agent_id = ?2, attempt_id = ?3 WHERE id = ?1"
_q_head = "UPDATE session SET head = ?2 WHERE id = ?1"
_of = "(?1 = '' OR swarm_id = ?1) AND (?2 = '' OR agent_id = ?2)"
_q_page = (
    f"SELECT {_SESSION}, rowid FROM session WHERE {_of} AND rowid > ?3 AND {rows.among('swarm_id', 5)}"
    " ORDER BY rowid LIMIT ?4"
)
_q_total = f"SELECT count(*) FROM session WHERE {_of} AND {rows.among('swarm_id', 3)}"
_q_latest_of_agent = f"SELECT {_SESSION} FROM session WHERE agent_id = ? ORDER BY rowid DESC LIMIT 1"
_q_of_task = (  # by the agents that were at it, since those have an index
    f"SELECT {_SESSION} FROM session WHERE agent_id IN (SELECT agent_id FROM attempt WHERE task_id = ?1)"
    " AND task_id = ?1 ORDER BY rowid DESC LIMIT 1"
)
_q_begun_with = f"SELECT {_CHECKPOINT} FROM checkpoint WHERE id = ?"
_q_checkpoint = f"{_q_begun_with} AND removed_at_ms IS NULL"
_q_named = f"SELECT {_CHECKPOINT} FROM checkpoint WHERE session_id = ?1 AND name = ?2 AND name <> ''"
_q_checkpoints = (
    f"SELECT {_CHECKPOINT} FROM checkpoint WHERE session_id = ? AND removed_at_ms IS NULL ORDER BY rowid"
)
_q_keep = f"INSERT INTO checkpoint ({_CHECKPOINT}) VALUES ({placeholders(CheckpointRow)})"
_q_ids = "SELECT id FROM checkpoint WHERE removed_at_ms IS NULL"
_q_count = "SELECT count(*) FROM checkpoint WHERE session_id = ? AND removed_at_ms IS NULL"
_q_only_compact = "UPDATE session_seed SET compacts = 1, keep = ?2 WHERE task_id = ?1"
_q_compacts = "SELECT compacts FROM session_seed WHERE task_id = ?"
_q_keep_said = "SELECT keep FROM session_seed WHERE task_id = ?"
_q_fullest = (
    f"SELECT {_CHECKPOINT} FROM checkpoint WHERE session_id = ? AND removed_at_ms IS NULL"
    " ORDER BY steps DESC, rowid DESC LIMIT 1"
)
_q_seed = "INSERT INTO session_seed (task_id, checkpoint_id, broken_off) VALUES (?, ?, ?)"
_q_broken_off = "SELECT 1 FROM session_seed WHERE task_id = ? AND broken_off = 1"
_q_moved = (
    "SELECT 1 FROM session_move m JOIN session s ON s.id = m.session_id"
    " WHERE s.task_id = ? AND m.at_ms >= ? AND m.at_ms < ?"
)
_q_seeded = "SELECT checkpoint_id FROM session_seed WHERE task_id = ?"


def find(db: Snapshot, session_id: str) -> SessionRow | None:
    """None where there is none."""
    return rows.first(SessionRow, db, _q_get, (session_id,))


def get(db: Snapshot, session_id: str) -> SessionRow:
    """By its own id, by that of an agent (its latest), or as it was called when it was made.

    Raises NotFound, or Conflict where one was made and has not begun.
    """
    row = find(db, session_id) or rows.first(SessionRow, db, _q_latest_of_agent, (session_id,))
    if row is None and (made := made_sessions.find(db, session_id)) is not None:
        if made.session_id is not None:
            return get(db, made.session_id)
        begin = f"agent.spawn or swarm.create {{begin_from: {made.name!r}, cwd: {made.cwd!r}}}"
        raise errors.Conflict(
            f"session {made.name!r} has not begun",
            hint=f"task {made.task_id} is to begin it: wait" if made.task_id else begin,
            path="session",
        )
    if row is None:
        agent = agents.find(db, session_id)
        why = (
            "has no session: it has not begun, or its program keeps none"
            if agent
            else "is no session, no agent"
        )
        raise errors.NotFound(f"{session_id!r} {why}", hint="session.list lists them", path="session")
    return row


def of_task(db: Snapshot, task_id: str) -> SessionRow | None:
    """The task's latest; None before it has begun one."""
    return rows.first(SessionRow, db, _q_of_task, (task_id,))


def begun_by(db: Snapshot, attempt: AttemptRow) -> LaunchRow:
    """The launch that began the session which the attempt works in."""
    swarm = swarms.get(db, tasks.get(db, attempt.task_id).swarm_id)
    if swarm.mode == gateways.MODE:
        return gateways.session_of(db, attempt)
    repo = repository.from_json(swarm.repo) if swarm.repo else None

    def place(row: AttemptRow) -> str:
        """Whose the folder is that its agent works in: without a repository, everybody's."""
        return repo.owner(swarm.id, row.agent_id) if repo else ""

    def goes_on(before: AttemptRow) -> bool:
        return place(before) == place(attempt) and not _moved_between(db, before, attempt)

    return attempts.launch(db, attempts.session_launch(db, attempt, goes_on))


def _moved_between(db: Snapshot, before: AttemptRow, after: AttemptRow) -> bool:
    """Whether a session of their task went on elsewhere for good when the later one was not there yet: what
    was said before that is no longer the task's.
    """
    return bool(rows.table(db, _q_moved, (after.task_id, before.created_at_ms, after.created_at_ms)))


def is_name_of_another(db: Snapshot, name: str) -> bool:
    """Whether an agent, a session or a checkpoint is called so, which a name must not hide."""
    checkpoint_ = rows.first(CheckpointRow, db, _q_checkpoint, (name,))
    return bool(find(db, name) or agents.find(db, name) or checkpoint_)


def swarm_of(db: Snapshot, session_id: str) -> str | None:
    """The swarm of what `get` finds, or of the task that is to begin it; None of one that nobody has begun.

    Raises NotFound.
    """
    made = made_sessions.find(db, session_id)
    if made is not None and made.session_id is None and find(db, session_id) is None:
        return tasks.get(db, made.task_id).swarm_id if made.task_id else None
    return get(db, session_id).swarm_id


def opened(tx: Tx, session_id: str, attempt: AttemptRow, swarm_id: str, driver: str) -> bool:
    """The attempt has this conversation from now on; whether it is a new one."""
    found = find(tx.db, session_id)
    if found is not None:
        tx.execute(_q_taken, (session_id, attempt.agent_id, attempt.id))
        return False
    row = SessionRow(
        id=session_id,
        swarm_id=swarm_id,
        agent_id=attempt.agent_id,
        task_id=attempt.task_id,
        attempt_id=attempt.id,
        driver=driver,
        begun_from=seed(tx.db, attempt.task_id),
        head=None,
        opened_at_ms=tx.now_ms,
    )
    tx.execute(_q_insert, msgspec.structs.astuple(row))
    made_sessions.begun(tx, attempt.task_id, session_id)
    return True


def page(
    db: Snapshot, swarm_id: str, agent_id: str, after: int, limit: int, among: rows.Among = None
) -> tuple[list[SessionRow], int, int]:
    """(sessions, cursor of the last, total) in order of creation; "" for any swarm or agent."""
    found = rows.table(db, _q_page, (swarm_id, agent_id, after, limit, among))
    total = rows.value(db, _q_total, (swarm_id, agent_id, among))
    return [SessionRow(*row[:-1]) for row in found], found[-1][-1] if found else after, total


def set_head(tx: Tx, session_id: str, checkpoint_id: str | None) -> None:
    """Where it goes on from, when it does."""
    tx.execute(_q_head, (session_id, checkpoint_id))


def keep(tx: Tx, row: CheckpointRow, bytes_max: int) -> list[str]:
    """A copy that somebody asked for, whose file is there already; gives the ids of those that went for it.

    Raises Conflict for a name that is taken, and where there is no room for it.
    """
    if row.name and rows.first(CheckpointRow, tx.db, _q_named, (row.session_id, row.name)):
        raise errors.Conflict(
            f"session {row.session_id} has a checkpoint {row.name!r}",
            hint="give it another name",
            path="name",
        )
    if rows.value(tx.db, _q_count, (row.session_id,)) >= OF_SESSION_MAX:
        raise errors.Conflict(
            f"session {row.session_id} has {OF_SESSION_MAX:,} checkpoints, the most that one may have",
            hint="session.forget removes one; agent.spawn begins from one of them without a further copy:"
            " begin_from is its id",
        )
    gone = session_room.make(tx, row.bytes, bytes_max)
    tx.execute(_q_keep, msgspec.structs.astuple(row))
    return gone


def keep_newest(tx: Tx, row: CheckpointRow, bytes_max: int, *, needed: bool) -> tuple[list[str], str]:
    """An automatic copy, whose file is there already, in place of those before it.

    Gives the ids of those that are no more, and why it was not kept, where there was no room for it; for one
    that is `needed` there always is.
    """
    before = session_room.superseded(tx.db, row.session_id)
    ids, more = [each.id for each in before], row.bytes - sum(each.bytes for each in before)
    try:
        gone = session_room.make(tx, more, bytes_max, ids)
    except errors.Conflict as refusal:
        if not needed:
            return [], f"{refusal.message} ({refusal.hint})"
        gone = session_room.trim(tx, bytes_max - more, session_room.ALL, ids)
    tx.execute(_q_keep, msgspec.structs.astuple(row))
    session_room.drop(tx, ids)
    return [*ids, *gone], ""


def checkpoint(db: Snapshot, session_id: str, wanted: str) -> CheckpointRow | None:
    """One of the session's, by its id or its name."""
    found = rows.first(CheckpointRow, db, _q_checkpoint, (wanted,))
    if found is not None and found.session_id == session_id:
        return found
    return rows.first(CheckpointRow, db, _q_named, (session_id, wanted))


def checkpoints(db: Snapshot, session_id: str) -> list[CheckpointRow]:
    """All of a session's, oldest first."""
    return rows.every(CheckpointRow, db, _q_checkpoints, (session_id,))


def find_checkpoint(db: Snapshot, checkpoint_id: str, path: str = "begin_from") -> CheckpointRow:
    """Raises NotFound."""
    found = rows.first(CheckpointRow, db, _q_checkpoint, (checkpoint_id,))
    if found is None:
        gone = session_room.removed_at(db, checkpoint_id)
        raise errors.NotFound(
            f"checkpoint {checkpoint_id} is no more: it was removed at {gone}"
            if gone
            else f"there is no checkpoint {checkpoint_id!r}",
            hint="session.get lists those of a session, with their ids",
            path=path,
        )
    return found


def of_checkpoint(db: Snapshot, checkpoint_id: str, path: str = "begin_from") -> SessionRow:
    """Whose it is. Raises NotFound."""
    return get(db, find_checkpoint(db, checkpoint_id, path).session_id)


def begun_with(db: Snapshot, task_id: str) -> CheckpointRow | None:
    """What a task's conversation began with, even if that is no more."""
    found = seed(db, task_id)
    return rows.first(CheckpointRow, db, _q_begun_with, (found,)) if found else None


def fullest(db: Snapshot, session_id: str) -> CheckpointRow | None:
    """The one that has most of it."""
    return rows.first(CheckpointRow, db, _q_fullest, (session_id,))


def kept(db: Snapshot) -> frozenset[str]:
    """The ids of all checkpoints that there are."""
    return frozenset(found for (found,) in rows.table(db, _q_ids))


def refuse_unfit(db: Snapshot, checkpoint_id: str, swarm: rows.SwarmRow) -> None:
    """Raises NotFound, Unsupported or Conflict where a task of this swarm cannot go on from a checkpoint, or
    cannot begin in a session that was made.
    """
    gateways.refuse_begun(swarm, "begin_from")
    if (made := made_sessions.find(db, checkpoint_id)) is not None:
        made_sessions.refuse_unfit(made, driver=swarm.driver, cwd=swarm.cwd)
    else:
        refuse_foreign(db, checkpoint_id, swarm.driver)


def refuse_foreign(db: Snapshot, checkpoint_id: str, driver: str) -> None:
    """Raises NotFound, or Unsupported where an agent of this driver cannot go on from a checkpoint."""
    found = of_checkpoint(db, checkpoint_id)
    if found.driver != driver:
        raise errors.Unsupported(
            f"checkpoint {checkpoint_id} is of {found.driver}, and {driver} cannot go on from it",
            hint=f"driver: {found.driver}",
            path="begin_from",
        )


def begin_from(tx: Tx, task_id: str, checkpoint_id: str | None, driver: str) -> None:
    """The task's conversation goes on from a copy of another one, or is one that was made for it.

    Raises as `refuse_unfit` does, and Conflict where another task has that or works in another folder.
    """
    if checkpoint_id is None:
        return
    swarm = swarms.get(tx.db, tasks.get(tx.db, task_id).swarm_id)
    gateways.refuse_begun(swarm, "begin_from")
    if (made := made_sessions.find(tx.db, checkpoint_id)) is not None:
        made_sessions.take(tx, made, task_id, driver=driver, cwd=swarm.cwd)
    else:
        refuse_foreign(tx.db, checkpoint_id, driver)
        sow(tx, task_id, checkpoint_id)


def sow(tx: Tx, task_id: str, checkpoint_id: str, *, broken_off: bool = False) -> None:
    """The task's conversation begins with this copy; `broken_off`: of one that was stopped at its work."""
    tx.execute(_q_seed, (task_id, checkpoint_id, int(broken_off)))


def is_broken_off(db: Snapshot, task_id: str) -> bool:
    """Whether a task begins with what was stopped at its work."""
    return bool(rows.table(db, _q_broken_off, (task_id,)))


def seed(db: Snapshot, task_id: str) -> str | None:
    """The checkpoint that a task's conversation begins from; None where it begins with its task alone."""
    found = rows.table(db, _q_seeded, (task_id,))
    return found[0][0] if found else None


def only_compact(tx: Tx, task_id: str, keep: str) -> None:
    """The task, that begins from a copy, is to sum that up and nothing else, and not to leave `keep` out."""
    tx.execute(_q_only_compact, (task_id, keep))


def compacts(db: Snapshot, task_id: str) -> bool:
    """Whether that is the task."""
    return rows.table(db, _q_compacts, (task_id,)) == [(1,)]


def summary_keeps(db: Snapshot, task_id: str) -> str:
    """What that summary is not to leave out."""
    found = rows.table(db, _q_keep_said, (task_id,))
    return found[0][0] if found else ""
