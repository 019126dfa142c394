"""Table `session_made`: sessions that were made before there was work, to begin in later.

Such a one is a name, a driver and a folder. The first task that is told to begin in it has it; from then on
its name means the conversation of that task, of its latest attempt that began a new one. It is free again
while that task is at its end without having begun one; whoever takes it then has it.
"""

import msgspec

from dashd.wire import errors

from . import rows
from .rows import Snapshot, columns, placeholders
from .transaction import Tx

WAITING_MAX = 1_000
"""That nobody has begun."""


class MadeRow(msgspec.Struct, frozen=True):
    """Table `session_made`."""

    id: str
    name: str
    driver: str
    cwd: str
    task_id: str | None
    """Whose it is; None while it is free."""
    session_id: str | None
    at_ms: int


_MADE = columns(MadeRow)
_q_insert = f"INSERT INTO session_made ({_MADE}) VALUES ({placeholders(MadeRow)})"
_FREE = (
    "(session_made.task_id IS NULL OR session_made.session_id IS NULL AND EXISTS (SELECT 1 FROM task t"
    " WHERE t.id = session_made.task_id AND t.state IN ('completed', 'dead', 'cancelled')))"
)
"""Asked of the task and not written down, since one that has ended may be tried again by hand."""
_READ = _MADE.replace("task_id", f"iif({_FREE}, NULL, task_id)")
_q_find = f"SELECT {_READ} FROM session_made WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC LIMIT 1"
_q_of_session = f"SELECT {_READ} FROM session_made WHERE session_id = ?"
_q_waiting = f"SELECT {_READ} FROM session_made WHERE {_FREE} ORDER BY at_ms, id"
_q_take = "UPDATE session_made SET task_id = ?2 WHERE id = ?1"
_q_begun = "UPDATE session_made SET session_id = ?2 WHERE task_id = ?1"
_q_remove = f"DELETE FROM session_made WHERE id = ? AND {_FREE}"


def insert(tx: Tx, row: MadeRow) -> None:
    """Raises Conflict where its name is taken, or where too many wait."""
    if find(tx.db, row.name) or find(tx.db, row.id):
        raise errors.Conflict(
            f"a session called {row.name!r} was made already", hint="give it another name", path="name"
        )
    if len(waiting(tx.db)) >= WAITING_MAX:
        raise errors.Conflict(
            f"{WAITING_MAX} sessions were made that nobody has begun",
            hint="session.list {new: true} shows them; session.terminate removes one",
        )
    tx.execute(_q_insert, msgspec.structs.astuple(row))


def find(db: Snapshot, wanted: str) -> MadeRow | None:
    """By its id or its name."""
    return rows.first(MadeRow, db, _q_find, (wanted,))


def of_session(db: Snapshot, session_id: str) -> MadeRow | None:
    """The one that a session is."""
    return rows.first(MadeRow, db, _q_of_session, (session_id,))


def waiting(db: Snapshot) -> list[MadeRow]:
    """Those that nobody has begun, oldest first."""
    return rows.every(MadeRow, db, _q_waiting)


def take(tx: Tx, row: MadeRow, task_id: str, *, driver: str, cwd: str) -> None:
    """The task is the one that begins in it. Raises Conflict, Unsupported."""
    refuse_unfit(row, driver=driver, cwd=cwd)
    tx.execute(_q_take, (row.id, task_id))


def refuse_unfit(row: MadeRow, *, driver: str, cwd: str) -> None:
    """Raises Conflict, Unsupported where no task of that driver and folder can begin in it."""
    if row.task_id is not None:
        raise errors.Conflict(
            f"session {row.name!r} was begun by task {row.task_id}",
            hint="session.fork goes on from it; or make another one for each task",
            path="begin_from",
        )
    _refuse_foreign(row, driver)
    if row.cwd != cwd:
        raise errors.Conflict(
            f"session {row.name!r} is of the folder {row.cwd}, and this works in {cwd}",
            hint=f"cwd: {row.cwd}",
            path="begin_from",
        )


def _refuse_foreign(row: MadeRow, driver: str) -> None:
    if row.driver != driver:
        raise errors.Unsupported(
            f"session {row.name!r} is of {row.driver}, and {driver} cannot begin in it",
            hint=f"driver: {row.driver}",
            path="begin_from",
        )


def begun(tx: Tx, task_id: str, session_id: str) -> None:
    """A conversation of the task has begun: it is the one that was made for it, if one was."""
    tx.execute(_q_begun, (task_id, session_id))


def remove(tx: Tx, row: MadeRow) -> None:
    """Of one that nobody has begun, nothing is left."""
    tx.execute(_q_remove, (row.id,))
