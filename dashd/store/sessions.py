"""Tables `session`, `checkpoint` and `session_seed`: conversations, and the copies that are kept of them."""

import msgspec

from dashd.wire import errors

from . import agents, made_sessions, rows, swarms, tasks
from .rows import AttemptRow, Snapshot, columns, placeholders
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
_q_page = (
    f"SELECT {_SESSION}, rowid FROM session WHERE (?1 = '' OR swarm_id = ?1) AND (?2 = '' OR agent_id = ?2)"
    ""
    f" AND rowid > ?3 AND {rows.among('swarm_id', 5)} ORDER BY rowid LIMIT ?4"
)
_q_latest_of_agent = f"SELECT {_SESSION} FROM session WHERE agent_id = ? ORDER BY rowid DESC LIMIT 1"
_q_checkpoint = f"SELECT {_CHECKPOINT} FROM checkpoint WHERE id = ?"
_q_named = f"SELECT {_CHECKPOINT} FROM checkpoint WHERE session_id = ?1 AND name = ?2 AND name <> ''"
_q_checkpoints = f"SELECT {_CHECKPOINT} FROM checkpoint WHERE session_id = ? ORDER BY rowid"
_q_keep = f"INSERT INTO checkpoint ({_CHECKPOINT}) VALUES ({placeholders(CheckpointRow)})"
_needless = (
    "kind = 'automatic' AND id NOT IN (SELECT checkpoint_id FROM session_seed)"
    " AND id NOT IN (SELECT head FROM session WHERE head IS NOT NULL)"
    " AND id NOT IN (SELECT begun_from FROM session WHERE begun_from IS NOT NULL)"
)
"""Nobody asked for it, and nothing goes on from it."""
_q_superseded = f"DELETE FROM checkpoint WHERE session_id = ?1 AND id <> ?2 AND {_needless} RETURNING id"
_q_oldest_needless = f"SELECT min(at_ms) FROM checkpoint WHERE {_needless}"
_q_expire = (
    "DELETE FROM checkpoint WHERE id IN"
    f" (SELECT id FROM checkpoint WHERE at_ms <= ?1 AND {_needless} ORDER BY at_ms LIMIT ?2)"
    " RETURNING id, session_id"
)
_q_ids = "SELECT id FROM checkpoint"
_q_count = "SELECT count(*) FROM checkpoint WHERE session_id = ?"
_q_only_compact = "UPDATE session_seed SET compacts = 1 WHERE task_id = ?"
_q_compacts = "SELECT compacts FROM session_seed WHERE task_id = ?"
_q_fullest = (
    f"SELECT {_CHECKPOINT} FROM checkpoint WHERE session_id = ? ORDER BY steps DESC, rowid DESC LIMIT 1"
)
_q_seed = "INSERT INTO session_seed (task_id, checkpoint_id, broken_off) VALUES (?, ?, ?)"
_q_broken_off = "SELECT 1 FROM session_seed WHERE task_id = ? AND broken_off = 1"
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


def is_name_of_another(db: Snapshot, name: str) -> bool:
    """Whether an agent, a session or a checkpoint is called so, which a name must not hide."""
    checkpoint_ = rows.first(CheckpointRow, db, _q_checkpoint, (name,))
    return bool(find(db, name) or agents.find(db, name) or checkpoint_)


def swarm_of(db: Snapshot, session_id: str) -> str | None:
    """The swarm of what `get` finds; None of one that has not begun. Raises NotFound."""
    made = made_sessions.find(db, session_id)
    if made is not None and made.session_id is None and find(db, session_id) is None:
        return None
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
) -> tuple[list[SessionRow], int]:
    """(sessions, cursor of the last) in order of creation; "" for any swarm or agent."""
    found = rows.table(db, _q_page, (swarm_id, agent_id, after, limit, among))
    return [SessionRow(*row[:-1]) for row in found], found[-1][-1] if found else after


def set_head(tx: Tx, session_id: str, checkpoint_id: str | None) -> None:
    """Where it goes on from, when it does."""
    tx.execute(_q_head, (session_id, checkpoint_id))


def keep(tx: Tx, row: CheckpointRow) -> list[str]:
    """A copy whose file is there already; gives the ids of older automatic ones that are no more."""
    if row.name and rows.first(CheckpointRow, tx.db, _q_named, (row.session_id, row.name)):
        raise errors.Conflict(
            f"session {row.session_id} has a checkpoint {row.name!r}",
            hint="give it another name",
            path="name",
        )
    if row.kind != AUTOMATIC and rows.value(tx.db, _q_count, (row.session_id,)) >= OF_SESSION_MAX:
        raise errors.Conflict(
            f"session {row.session_id} has {OF_SESSION_MAX:,} checkpoints, the most that one may have",
            hint="agent.spawn begins from one of them without a further copy: begin_from is its id",
        )
    tx.execute(_q_keep, msgspec.structs.astuple(row))
    if row.kind != AUTOMATIC:
        return []
    return [found for (found,) in rows.table(tx.db, _q_superseded, (row.session_id, row.id))]


def oldest_needless_ms(db: Snapshot) -> int | None:
    """When the oldest automatic copy was made that nothing goes on from."""
    found: int | None = rows.value(db, _q_oldest_needless)
    return found


def expire(tx: Tx, made_by_ms: int, limit: int) -> list[str]:
    """Those of them that were made by then are no more; gives their ids, at most `limit`."""
    gone = rows.table(tx.db, _q_expire, (made_by_ms, limit))
    for checkpoint_id, session_id in gone:
        row = get(tx.db, session_id)
        where = {"swarm": row.swarm_id, "agent": row.agent_id, "task": row.task_id}
        data = {"session": row.id, "removed": checkpoint_id, "why": "kept long enough"}
        tx.emit("session.state", **where, data=data)
    return [checkpoint_id for checkpoint_id, _ in gone]


def checkpoint(db: Snapshot, session_id: str, wanted: str) -> CheckpointRow | None:
    """One of the session's, by its id or its name."""
    found = rows.first(CheckpointRow, db, _q_checkpoint, (wanted,))
    if found is not None and found.session_id == session_id:
        return found
    return rows.first(CheckpointRow, db, _q_named, (session_id, wanted))


def checkpoints(db: Snapshot, session_id: str) -> list[CheckpointRow]:
    """All of a session's, oldest first."""
    return rows.every(CheckpointRow, db, _q_checkpoints, (session_id,))


def of_checkpoint(db: Snapshot, checkpoint_id: str) -> SessionRow:
    """Whose it is. Raises NotFound."""
    found = rows.first(CheckpointRow, db, _q_checkpoint, (checkpoint_id,))
    if found is None:
        raise errors.NotFound(
            f"there is no checkpoint {checkpoint_id!r}",
            hint="session.get lists those of a session",
            path="begin_from",
        )
    return get(db, found.session_id)


def fullest(db: Snapshot, session_id: str) -> CheckpointRow | None:
    """The one that has most of it."""
    return rows.first(CheckpointRow, db, _q_fullest, (session_id,))


def kept(db: Snapshot) -> frozenset[str]:
    """The ids of all checkpoints."""
    return frozenset(found for (found,) in rows.table(db, _q_ids))


def refuse_foreign(db: Snapshot, checkpoint_id: str, driver: str) -> None:
    """Raises NotFound, or Unsupported where an agent of this driver cannot go on from a checkpoint, or cannot
    begin in a session that was made.
    """
    if (made := made_sessions.find(db, checkpoint_id)) is not None:
        made_sessions.refuse_foreign(made, driver)
        return
    found = of_checkpoint(db, checkpoint_id)
    if found.driver != driver:
        raise errors.Unsupported(
            f"checkpoint {checkpoint_id} is of {found.driver}, and {driver} cannot go on from it",
            hint=f"driver: {found.driver}",
            path="begin_from",
        )


def begin_from(tx: Tx, task_id: str, checkpoint_id: str | None, driver: str) -> None:
    """The task's conversation goes on from a copy of another one, or is one that was made for it.

    Raises as `refuse_foreign` does, and Conflict where another task has that, or works in another folder.
    """
    if checkpoint_id is not None and (made := made_sessions.find(tx.db, checkpoint_id)) is not None:
        cwd = swarms.get(tx.db, tasks.get(tx.db, task_id).swarm_id).cwd
        made_sessions.take(tx, made, task_id, driver=driver, cwd=cwd)
    elif checkpoint_id is not None:
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


def only_compact(tx: Tx, task_id: str) -> None:
    """The task, that begins from a copy, is to sum that up and nothing else."""
    tx.execute(_q_only_compact, (task_id,))


def compacts(db: Snapshot, task_id: str) -> bool:
    """Whether that is the task."""
    return bool(rows.table(db, _q_compacts, (task_id,)) == [(1,)])
