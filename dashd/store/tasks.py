"""Tables `task` and `task_edge`."""

import apsw
import msgspec

from dashd.domain import healing, ids
from dashd.domain import task as rules
from dashd.wire import errors

from . import rows
from .rows import SwarmRow, TaskRow, columns, placeholders
from .transaction import Tx

_COLUMNS = columns(TaskRow)
_q_get = f"SELECT {_COLUMNS} FROM task WHERE id = ?"
_q_insert = f"INSERT INTO task ({_COLUMNS}) VALUES ({placeholders(TaskRow)})"
_q_insert_edge = "INSERT INTO task_edge (before_id, after_id) VALUES (?, ?)"
_q_state = "UPDATE task SET state = ?2, cause = ?3, retry_at_ms = ?4, ended_at_ms = ?5 WHERE id = ?1"
_q_claim = (
    "UPDATE task SET state = 'running', agent_id = ?2, retry_at_ms = NULL, progress_done = NULL,"
    " progress_total = NULL, note = NULL, started_at_ms = coalesce(started_at_ms, ?3) WHERE id = ?1"
)
_q_result = "UPDATE task SET result = ?2, result_cut = ?3 WHERE id = ?1"
_q_progress = "UPDATE task SET progress_done = ?2, progress_total = ?3, note = ?4 WHERE id = ?1"
_q_count_attempt = "UPDATE task SET attempts = attempts + 1 WHERE id = ? RETURNING attempts"
_q_count_lost = "UPDATE task SET lost = lost + 1 WHERE id = ? RETURNING lost"
_of_child = "EXISTS (SELECT 1 FROM agent WHERE id = pinned_to AND parent_id IS NOT NULL)"
_q_fresh = (
    f"UPDATE task SET attempts = 0, lost = 0, pinned_to = iif({_of_child}, pinned_to, NULL) WHERE id = ?"
)
_q_pin = "UPDATE task SET pinned_to = ?2 WHERE id = ?1"
_q_unpin = "UPDATE task SET pinned_to = NULL WHERE pinned_to = ?"
_q_pinned = f"SELECT {_COLUMNS} FROM task WHERE pinned_to = ? AND state IN ('waiting', 'ready', 'retrying')"
_q_text = "UPDATE task SET text = ?2 WHERE id = ?1"
_q_takeable = (
    "SELECT count(*) FROM task WHERE swarm_id = ?1 AND state = 'ready' AND (pinned_to = ?2"
    " OR (pinned_to IS NULL AND (SELECT parent_id FROM agent WHERE id = ?2) IS NULL))"
    " AND id NOT IN (SELECT task_id FROM session_move WHERE copied = 0)"
)
_q_next_retrying = (
    f"SELECT {_COLUMNS} FROM task WHERE swarm_id = ? AND state = 'retrying' ORDER BY retry_at_ms LIMIT 1"
)
_q_due = (
    f"SELECT {_COLUMNS} FROM task WHERE state = 'retrying'"
    # Further away than any delay: the wall clock was set back.
    " AND (retry_at_ms <= ?1 OR retry_at_ms > ?1 + ?2)"
)
_q_next_due = "SELECT min(retry_at_ms) FROM task WHERE state = 'retrying'"
_q_open = (
    f"SELECT {_COLUMNS} FROM task INDEXED BY task_open"
    " WHERE swarm_id = ? AND state NOT IN ('completed', 'dead', 'cancelled') ORDER BY number"
)
_q_counts = "SELECT state, count(*) FROM task WHERE swarm_id = ? GROUP BY state"
_q_counts_all = (
    "SELECT t.state, count(*) FROM swarm s CROSS JOIN task t ON t.swarm_id = s.id"
    " WHERE s.state != 'destroyed' GROUP BY t.state"
)
_exists_open = (
    "SELECT EXISTS (SELECT 1 FROM task INDEXED BY task_open"
    " WHERE swarm_id = ? AND state NOT IN ('completed', 'dead', 'cancelled')"
)
_q_any_open = f"{_exists_open})"
_q_any_unclaimed = f"{_exists_open} AND state != 'running' AND NOT {_of_child})"
_q_open_tops = (
    "SELECT count(*) FROM task INDEXED BY task_open WHERE swarm_id = ?"
    f" AND state NOT IN ('completed', 'dead', 'cancelled') AND NOT {_of_child}"
)
_q_dependents = (
    f"SELECT {_COLUMNS} FROM task WHERE state = 'waiting'"
    " AND id IN (SELECT after_id FROM task_edge WHERE before_id = ?) ORDER BY number"
)
_q_release = (
    "UPDATE task SET unmet = unmet - 1 WHERE state = 'waiting'"
    " AND id IN (SELECT after_id FROM task_edge WHERE before_id = ?)"
)
_q_released = f"{_q_dependents.removesuffix(' ORDER BY number')} AND unmet = 0 ORDER BY number"
_q_earlier = (
    "SELECT t.id, t.item, t.result FROM task_edge e JOIN task t ON t.id = e.before_id"
    " WHERE e.after_id = ? AND t.state = 'completed' ORDER BY t.number LIMIT ?"
)
_q_prerequisites = "SELECT before_id FROM task_edge WHERE after_id = ? ORDER BY before_id"
_q_unmet = (
    "SELECT e.before_id FROM task_edge e JOIN task t ON t.id = e.before_id"
    " WHERE e.after_id = ? AND t.state != 'completed' ORDER BY t.number LIMIT ?"
)
_q_blockers = (
    "SELECT DISTINCT e.before_id FROM task w JOIN task_edge e ON e.after_id = w.id"
    " JOIN task b ON b.id = e.before_id"
    " WHERE w.swarm_id = ? AND w.state = 'waiting' AND b.state NOT IN ('completed', 'waiting') LIMIT 10"
)
_q_ended_badly = (
    f"SELECT {_COLUMNS} FROM task WHERE swarm_id = ? AND state IN ('dead', 'cancelled')"
    " ORDER BY state DESC, number LIMIT ?"
)
_q_completed = (
    f"SELECT {_COLUMNS} FROM task WHERE swarm_id = ? AND state = 'completed' ORDER BY number LIMIT ?"
)
_in_states = "(?1 = '[]' OR state IN (SELECT value FROM json_each(?1)))"
_q_page = (
    f"SELECT {_COLUMNS}, rowid FROM task WHERE {_in_states} AND rowid > ?2 AND {rows.among('swarm_id', 4)}"
    " ORDER BY rowid LIMIT ?3"
)
_q_page_of_swarm = (
    f"SELECT {_COLUMNS}, number FROM task WHERE swarm_id = ?4 AND {_in_states} AND number > ?2"
    " ORDER BY number LIMIT ?3"
)
_q_total = f"SELECT count(*) FROM task WHERE {_in_states} AND {rows.among('swarm_id', 2)}"
_q_total_of_swarm = f"SELECT count(*) FROM task WHERE swarm_id = ?2 AND {_in_states}"


def new(
    swarm: SwarmRow,
    number: int,
    item: str,
    *,
    at_ms: int,
    text: str | None = None,
    level: int | None = None,
    pinned_to: str | None = None,
) -> TaskRow:
    """A ready task of the swarm, not yet in the table; text and level are the swarm's by default."""
    level = swarm.priority if level is None else level
    return TaskRow(
        id=ids.task_id(swarm.id, number),
        swarm_id=swarm.id,
        number=number,
        state="ready",
        item=item,
        text=text,
        priority=level,
        level=level,
        pinned_to=pinned_to,
        agent_id=None,
        attempts=0,
        lost=0,
        unmet=0,
        retry_at_ms=None,
        cause=None,
        result=None,
        result_cut=0,
        progress_done=None,
        progress_total=None,
        note=None,
        created_at_ms=at_ms,
        started_at_ms=None,
        ended_at_ms=None,
    )


def insert(tx: Tx, row: TaskRow, after: tuple[str, ...] = ()) -> None:
    """Adds a task; it waits for the tasks `after`, none of which has completed."""
    if after:
        row = msgspec.structs.replace(row, state="waiting", unmet=len(after))
    tx.execute(_q_insert, msgspec.structs.astuple(row))
    for before_id in after:
        tx.execute(_q_insert_edge, (before_id, row.id))


def find(db: apsw.Connection, task_id: str) -> TaskRow | None:
    """The task, if there is one."""
    return rows.first(TaskRow, db, _q_get, (task_id,))


def get(db: apsw.Connection, task_id: str) -> TaskRow:
    """The task; raises UnknownTask."""
    row = find(db, task_id)
    if row is None:
        raise errors.UnknownTask(
            f"there is no task {task_id!r}", hint="task.list names all tasks", path="task"
        )
    return row


def set_state(
    tx: Tx, row: TaskRow, state: str, *, cause: str | None = None, retry_at_ms: int | None = None
) -> None:
    """Moves a task along its machine; ended states get their instant."""
    rules.MACHINE.check(row.state, state)
    ended_at_ms = tx.now_ms if state in rules.ENDED else None
    tx.execute(_q_state, (row.id, state, cause, retry_at_ms, ended_at_ms))


def claim(tx: Tx, row: TaskRow, agent_id: str) -> None:
    """A ready task starts to run in a seat; what an earlier attempt said of its progress is forgotten."""
    rules.MACHINE.check(row.state, "running")
    tx.execute(_q_claim, (row.id, agent_id, tx.now_ms))


def set_result(tx: Tx, task_id: str, result: str, *, cut: bool) -> None:
    """Keeps what the task returned; `cut` where it is only the end of more."""
    tx.execute(_q_result, (task_id, result, int(cut)))


def set_progress(tx: Tx, task_id: str, done: int | None, total: int | None, note: str | None) -> None:
    """Keeps how far the running attempt says it is."""
    tx.execute(_q_progress, (task_id, done, total, note))


def count_attempt(tx: Tx, task_id: str) -> int:
    """Counts one attempt against the retries; returns how many that makes."""
    count: int = rows.value(tx.db, _q_count_attempt, (task_id,))
    return count


def count_lost(tx: Tx, task_id: str) -> int:
    """Counts one lost attempt; returns how many that makes."""
    count: int = rows.value(tx.db, _q_count_lost, (task_id,))
    return count


def forget_attempts(tx: Tx, task_id: str) -> None:
    """Gives a task all its retries again, in any seat."""
    tx.execute(_q_fresh, (task_id,))


def pin(tx: Tx, task_id: str, agent_id: str) -> None:
    """Lets nobody but this seat take the task, for as long as the seat has not ended."""
    tx.execute(_q_pin, (task_id, agent_id))


def unpin(tx: Tx, agent_id: str) -> None:
    """Lets any seat take what only this one might have taken."""
    tx.execute(_q_unpin, (agent_id,))


def pinned(db: apsw.Connection, agent_id: str) -> list[TaskRow]:
    """Open tasks that only this seat may take and that do not run yet."""
    return rows.every(TaskRow, db, _q_pinned, (agent_id,))


def set_text(tx: Tx, task_id: str, text: str) -> None:
    """What its agent is told, of a task that nobody has begun."""
    tx.execute(_q_text, (task_id, text))


def takeable_count(db: apsw.Connection, swarm_id: str, agent_id: str) -> int:
    """How many ready tasks this seat may take."""
    count: int = rows.value(db, _q_takeable, (swarm_id, agent_id))
    return count


def next_retrying(db: apsw.Connection, swarm_id: str) -> TaskRow | None:
    """The task of the swarm that is tried again soonest."""
    return rows.first(TaskRow, db, _q_next_retrying, (swarm_id,))


def due(tx: Tx) -> list[TaskRow]:
    """Retrying tasks whose delay is over."""
    return rows.every(TaskRow, tx.db, _q_due, (tx.now_ms, round(healing.NEVER_DELAY_S_MAX * 1_000)))


def next_due_ms(db: apsw.Connection) -> int | None:
    """When the next retry is due."""
    instant: int | None = rows.value(db, _q_next_due)
    return instant


def open_tasks(db: apsw.Connection, swarm_id: str) -> list[TaskRow]:
    """The tasks of a swarm that have not ended, oldest first."""
    return rows.every(TaskRow, db, _q_open, (swarm_id,))


def any_open(db: apsw.Connection, swarm_id: str) -> bool:
    """True while a task of the swarm has not ended; costs the same however many there are."""
    return bool(rows.value(db, _q_any_open, (swarm_id,)))


def any_unclaimed(db: apsw.Connection, swarm_id: str) -> bool:
    """True while a task of the swarm is open and does not run, one of a child's alone left out."""
    return bool(rows.value(db, _q_any_unclaimed, (swarm_id,)))


def open_tops(db: apsw.Connection, swarm_id: str) -> int:
    """How many tasks of the swarm are open, those of a child's alone left out."""
    count: int = rows.value(db, _q_open_tops, (swarm_id,))
    return count


def counts(db: apsw.Connection, swarm_id: str | None = None) -> dict[str, int]:
    """Tasks by state, of one swarm or of all that are not destroyed."""
    return dict(rows.table(db, _q_counts, (swarm_id,)) if swarm_id else rows.table(db, _q_counts_all))


def waiting_dependents(db: apsw.Connection, task_id: str) -> list[TaskRow]:
    """The waiting tasks that wait for this one directly."""
    return rows.every(TaskRow, db, _q_dependents, (task_id,))


def release(tx: Tx, task_id: str) -> list[TaskRow]:
    """A task has completed: gives the waiting tasks that now wait for nothing more, oldest first."""
    tx.execute(_q_release, (task_id,))
    return rows.every(TaskRow, tx.db, _q_released, (task_id,))


def prerequisites(db: apsw.Connection, task_id: str) -> list[str]:
    """The tasks it waits for, or waited for."""
    return [before for (before,) in rows.table(db, _q_prerequisites, (task_id,))]


def earlier(db: apsw.Connection, task_id: str, limit: int) -> list[tuple[str, str, str]]:
    """(task, item, result) of the tasks it had to wait for and that completed, oldest first."""
    return [(task, item, result or "") for task, item, result in rows.table(db, _q_earlier, (task_id, limit))]


def unmet(db: apsw.Connection, task_id: str, limit: int) -> list[str]:
    """The tasks it waits for that have not completed, oldest first."""
    return [before for (before,) in rows.table(db, _q_unmet, (task_id, limit))]


def blockers(db: apsw.Connection, swarm_id: str) -> list[str]:
    """The tasks, not themselves waiting, that the swarm's waiting tasks wait for; ten at most."""
    return [before for (before,) in rows.table(db, _q_blockers, (swarm_id,))]


def ended_badly(db: apsw.Connection, swarm_id: str, limit: int) -> list[TaskRow]:
    """Dead tasks, then cancelled ones."""
    return rows.every(TaskRow, db, _q_ended_badly, (swarm_id, limit))


def completed(db: apsw.Connection, swarm_id: str, limit: int) -> list[TaskRow]:
    """Completed tasks, oldest first."""
    return rows.every(TaskRow, db, _q_completed, (swarm_id, limit))


def page(
    db: apsw.Connection,
    swarm_id: str | None,
    states: str,
    after: int,
    limit: int,
    among: rows.Among = None,
) -> tuple[list[TaskRow], int, int]:
    """(tasks, cursor of the last, total) oldest first; `states` is a JSON array, [] for all."""
    if swarm_id is None:
        found = rows.table(db, _q_page, (states, after, limit, among))
        total = rows.value(db, _q_total, (states, among))
    else:
        found = rows.table(db, _q_page_of_swarm, (states, after, limit, swarm_id))
        total = rows.value(db, _q_total_of_swarm, (states, swarm_id))
    return [TaskRow(*row[:-1]) for row in found], found[-1][-1] if found else after, total
