"""Tables `attempt` and `launch`: runs of tasks, and the processes made for them."""

from collections.abc import Callable, Sequence

import apsw
import msgspec

from dashd.domain import attempt as rules
from dashd.domain import renewal

from . import rows
from .rows import AttemptRow, LaunchRow, columns, placeholders
from .transaction import Tx

_COLUMNS = columns(AttemptRow)
_LAUNCH_COLUMNS = columns(LaunchRow)
_q_get = f"SELECT {_COLUMNS} FROM attempt WHERE id = ?"
_q_insert = f"INSERT INTO attempt ({_COLUMNS}) VALUES ({placeholders(AttemptRow)})"
_q_launch_insert = f"INSERT INTO launch ({_LAUNCH_COLUMNS}) VALUES ({placeholders(LaunchRow)})"
_q_launch_get = f"SELECT {_LAUNCH_COLUMNS} FROM launch WHERE id = ?"
_q_next_number = "SELECT coalesce(max(number), 0) + 1 FROM attempt WHERE task_id = ?"
_q_open_of_agent = (
    f"SELECT {_COLUMNS} FROM attempt WHERE agent_id = ? AND state IN ('claimed', 'starting', 'running')"
)
_q_open_of_task = (
    f"SELECT {_COLUMNS} FROM attempt WHERE task_id = ? AND state IN ('claimed', 'starting', 'running')"
)
# "+rowid" keeps SQLite from reading every attempt there ever was because that is in this order already.
_q_open = f"SELECT {_COLUMNS} FROM attempt WHERE state IN ('claimed', 'starting', 'running') ORDER BY +rowid"
_q_open_count = "SELECT count(*) FROM attempt WHERE state IN ('claimed', 'starting', 'running')"
_q_open_by_driver = (
    "SELECT s.driver, count(*) FROM attempt a"
    " JOIN task t ON t.id = a.task_id JOIN swarm s ON s.id = t.swarm_id"
    " WHERE a.state IN ('claimed', 'starting', 'running') AND s.mode = '' GROUP BY s.driver"
)
_q_open_by_place = "SELECT place, count(*) FROM launch WHERE place IS NOT NULL AND ended = 0 GROUP BY place"
_q_agents_at = (
    "SELECT a.agent_id FROM launch l JOIN attempt a ON a.id = l.owner"
    " WHERE l.place = ? AND l.ended = 0 ORDER BY a.agent_id"
)
_q_last_begun = (
    f"SELECT {_COLUMNS} FROM attempt WHERE task_id = ? AND started_at_ms IS NOT NULL"
    " AND NOT (state = 'cancelled' AND stop IS NULL) ORDER BY number DESC LIMIT 1"
)
_q_open_in_swarm = (
    "SELECT count(*) FROM agent g JOIN attempt a ON a.agent_id = g.id"
    " AND a.state IN ('claimed', 'starting', 'running')"
    " WHERE g.swarm_id = ? AND g.state IN ('idle', 'spawning', 'running', 'paused')"
)
_q_started = "UPDATE attempt SET state = 'running', started_at_ms = ?2, active_since_ms = ?3 WHERE id = ?1"
_q_launch_started = "UPDATE launch SET pid = ?2, start_time = ?3, boot_id = ?4 WHERE id = ?1"
_q_stop = (
    "UPDATE attempt SET stop = ?2, stop_cause = ?3 WHERE id = ?1"
    " AND (stop IS NULL OR (stop IN ('requeue', 'timeout') AND ?2 IN ('cancel', 'kill')))"
)
_q_hold_clock = (
    "UPDATE attempt SET active_ms = active_ms + max(0, ?2 - coalesce(active_since_ms, ?2)),"
    " active_since_ms = NULL WHERE id = ?1"
)
_q_run_clock = "UPDATE attempt SET active_since_ms = coalesce(active_since_ms, ?2) WHERE id = ?1"
_q_end = (
    "UPDATE attempt SET state = ?2, reason = ?3, exit_code = ?4, exit_signal = ?5, cpu_ms = ?6,"
    " rss_max_kib = ?7, ended_at_ms = ?8, started_at_ms = coalesce(started_at_ms, ?9), output_dropped = ?10"
    " WHERE id = ?1"
)
_q_late = "UPDATE attempt SET late = 1 WHERE id = ?"
_q_walled = "UPDATE launch SET grade = ?2, jail = ?3 WHERE id = ?1"
_q_launch_ended = "UPDATE launch SET ended = 1 WHERE id = ?"
_q_removable = (
    "SELECT l.id FROM swarm s JOIN task t ON t.swarm_id = s.id JOIN attempt a ON a.task_id = t.id"
    " JOIN launch l ON l.id = a.launch_id"
    " WHERE s.output = 'going' AND l.ended = 1 AND l.removed = 0 AND l.id > ?1"
    " UNION ALL SELECT l.id FROM swarm s JOIN gateway g ON g.swarm_id = s.id"
    " JOIN launch l ON l.id = g.launch_id"
    " WHERE s.output = 'going' AND l.ended = 1 AND l.removed = 0 AND l.id > ?1"
    " ORDER BY 1 LIMIT ?2"
)
_q_launch_removed = "UPDATE launch SET removed = 1 WHERE id = ?"
_q_agents_within = (
    "SELECT a.agent_id FROM attempt a JOIN launch l ON l.id = a.launch_id"
    " WHERE a.state IN ('claimed', 'starting', 'running') AND l.within = ?"
)
_q_begun_at = (
    "SELECT a.agent_id FROM attempt a JOIN launch l ON l.id = a.launch_id"
    " WHERE a.state IN ('claimed', 'starting', 'running') AND l.place = ? AND l.place_boot IS NOT NULL"
)
_q_left_at = (
    f"SELECT {columns(AttemptRow, 'a.')} FROM attempt a JOIN launch l ON l.id = a.launch_id"
    " WHERE l.place = ?1 AND (l.place_boot = ?2 OR instr(l.place_boot, ?2 || ?4) = 1)"
    " AND a.ended_at_ms IS NOT NULL"
    " AND (a.state IN ('lost', 'failed') OR a.stop IS NOT NULL) ORDER BY a.ended_at_ms DESC LIMIT ?3"
)
_q_stopped_within = (
    f"SELECT {columns(AttemptRow, 'a.')} FROM attempt a JOIN launch l ON l.id = a.launch_id"
    " WHERE l.within = ? AND a.ended_at_ms IS NOT NULL AND a.stop IS NOT NULL"
    " ORDER BY a.ended_at_ms DESC LIMIT ?"
)
_q_session_boots = (
    "SELECT DISTINCT l.place_boot FROM attempt a JOIN launch l ON l.id = a.launch_id"
    " JOIN task t ON t.id = a.task_id WHERE a.agent_id = ? AND l.place = ? AND l.place_boot IS NOT NULL"
    " AND t.state NOT IN ('completed', 'dead', 'cancelled')"
)
_q_renewed = (
    "SELECT a.agent_id, l.place_boot FROM attempt a JOIN launch l ON l.id = a.launch_id"
    " WHERE l.place = ?1 AND instr(l.place_boot, ?2 || ?3) = 1"
)
_q_place_boot = "UPDATE launch SET place_boot = ?2 WHERE id = ?1"
_q_spool_offset = "UPDATE launch SET spool_offset = ?2 WHERE id = ?1"
_q_never_count = (
    "SELECT count(*) FROM attempt WHERE task_id = ?1 AND state = 'cancelled' AND stop IS NULL"
    " AND (reason IS ?2) = ?3"
)
_q_succeeded = (
    "SELECT agent_id, count(*) FROM attempt WHERE state = 'succeeded'"
    " AND agent_id IN (SELECT value FROM json_each(?)) GROUP BY agent_id"
)
# Those that never began left nothing, wherever they are between two others.
_q_before = (
    f"SELECT {_COLUMNS} FROM attempt WHERE task_id = ? AND number < ?"
    " AND NOT (state = 'cancelled' AND stop IS NULL) ORDER BY number DESC"
)
_q_of_agent = f"SELECT {_COLUMNS} FROM attempt WHERE agent_id = ? ORDER BY rowid DESC LIMIT ?"
_q_of_task = f"SELECT {_COLUMNS} FROM attempt WHERE task_id = ? ORDER BY number DESC LIMIT ?"
_q_nth_of_agent = f"SELECT {_COLUMNS} FROM attempt WHERE agent_id = ? ORDER BY rowid LIMIT 1 OFFSET ?"
_q_nth_number = (
    "SELECT count(*) FROM attempt WHERE agent_id = ? AND rowid <= (SELECT rowid FROM attempt WHERE id = ?)"
)
# A launch that never began is no attempt in a report: nothing was tried.
_q_sums = (
    "SELECT count(*), coalesce(sum(a.state = 'lost'), 0), coalesce(sum(a.late), 0),"
    " coalesce(sum(a.cpu_ms), 0), count(*) - count(DISTINCT a.task_id),"
    " coalesce(sum(a.output_dropped > 0), 0)"
    " FROM attempt a JOIN task t ON t.id = a.task_id WHERE t.swarm_id = ?"
    " AND NOT (a.state = 'cancelled' AND (a.started_at_ms IS NULL OR a.stop IS NULL))"
)
_q_wishes = (
    "SELECT a.id, a.stop, g.wanted = 'pause' OR s.state = 'paused',"
    " g.wanted = 'pause' AND g.hard, EXISTS (SELECT 1 FROM approval p"
    " WHERE p.agent_id = a.agent_id AND p.state = 'open' AND p.act = ''),"
    " (SELECT count(*) FROM message m WHERE m.attempt_id = a.id)"
    " FROM attempt a JOIN agent g ON g.id = a.agent_id"
    " JOIN swarm s ON s.id = g.swarm_id WHERE a.state IN ('claimed', 'starting', 'running')"
)


def insert(tx: Tx, row: AttemptRow, place: str | None = None) -> None:
    """Adds an attempt together with its launch, before anything is forked for it; `place`: where it runs."""
    launch_row = LaunchRow(row.launch_id, row.id, 0, 0, None, None, None, 0, tx.now_ms, place=place)
    insert_launch(tx, launch_row)
    tx.execute(_q_insert, msgspec.structs.astuple(row))


def insert_launch(tx: Tx, row: LaunchRow) -> None:
    """Adds a launch."""
    tx.execute(_q_launch_insert, msgspec.structs.astuple(row))


def get(db: apsw.Connection, attempt_id: str) -> AttemptRow:
    """The attempt; it must exist."""
    row = rows.first(AttemptRow, db, _q_get, (attempt_id,))
    assert row is not None, f"no attempt {attempt_id}"
    return row


def launch(db: apsw.Connection, launch_id: str) -> LaunchRow:
    """The launch; it must exist."""
    row = rows.first(LaunchRow, db, _q_launch_get, (launch_id,))
    assert row is not None, f"no launch {launch_id}"
    return row


def set_walls(tx: Tx, launch_id: str, grade: str, jail: str | None) -> None:
    """What stands around a launch: the grade, and as JSON what its jail shows; None without one."""
    tx.execute(_q_walled, (launch_id, grade, jail))


def leaves_session(row: AttemptRow) -> bool:
    """Whether the task's next attempt goes on in the session of this one, which has ended."""
    return rules.leaves_session(row.state, row.stop, row.exit_signal)


def session_launch(db: apsw.Connection, attempt: AttemptRow, same_place: Callable[[AttemptRow], bool]) -> str:
    """The launch whose folder holds the session that the attempt works in: its own, or that of the first of
    those before it that were killed one after the other. `same_place`: one before it worked where it does.
    """
    found = attempt.launch_id
    for before in rows.every(AttemptRow, db, _q_before, (attempt.task_id, attempt.number)):
        if before.started_at_ms is None:  # nothing was executed
            continue
        if not (leaves_session(before) and same_place(before)):
            break
        found = before.launch_id
    return found


def follows_killed(db: apsw.Connection, attempt: AttemptRow) -> bool:
    """Whether one before it was killed at its work, or nobody knows what became of that."""
    return any(
        before.started_at_ms is not None and leaves_session(before)
        for before in rows.every(AttemptRow, db, _q_before, (attempt.task_id, attempt.number))
    )


def next_number(db: apsw.Connection, task_id: str) -> int:
    """The number of a task's next attempt."""
    number: int = rows.value(db, _q_next_number, (task_id,))
    return number


def open_of_agent(db: apsw.Connection, agent_id: str) -> AttemptRow | None:
    """What the seat runs now."""
    return rows.first(AttemptRow, db, _q_open_of_agent, (agent_id,))


def open_of_task(db: apsw.Connection, task_id: str) -> AttemptRow | None:
    """The run of the task that has not ended; there is never more than one (invariant 4)."""
    found = rows.every(AttemptRow, db, _q_open_of_task, (task_id,))
    assert len(found) <= 1, f"task {task_id} is run {len(found)} times at once"
    return found[0] if found else None


def open_attempts(db: apsw.Connection) -> list[AttemptRow]:
    """Every run that has not ended, oldest first."""
    return rows.every(AttemptRow, db, _q_open)


def open_count(db: apsw.Connection) -> int:
    """How many slots are taken."""
    count: int = rows.value(db, _q_open_count)
    return count


def open_by_driver(db: apsw.Connection) -> dict[str, int]:
    """The same by agent program, for those that have processes of their own."""
    return dict(rows.table(db, _q_open_by_driver))


def open_by_place(db: apsw.Connection) -> dict[str, int]:
    """How many runs that have not ended were given to each place; places without one are left out."""
    return dict(rows.table(db, _q_open_by_place))


def agents_at(db: apsw.Connection, place: str) -> list[str]:
    """The seats whose runs were given to this place and have not ended."""
    return [agent_id for (agent_id,) in rows.table(db, _q_agents_at, (place,))]


def last_place(db: apsw.Connection, task_id: str) -> str | None:
    """The place of the run whose session the task's next run goes on with; None where it begins anew."""
    found = rows.first(AttemptRow, db, _q_last_begun, (task_id,))
    if found is None or not leaves_session(found):
        return None
    return launch(db, found.launch_id).place


def agents_within(db: apsw.Connection, gateway: str) -> list[str]:
    """The seats whose runs in this gateway, by its launch, have not ended."""
    return [agent_id for (agent_id,) in rows.table(db, _q_agents_within, (gateway,))]


def begun_at(db: apsw.Connection, place: str) -> list[str]:
    """The seats whose runs have begun in this added gateway and have not ended."""
    return [agent_id for (agent_id,) in rows.table(db, _q_begun_at, (place,))]


def left_at(db: apsw.Connection, place: str, boot_id: str, limit: int) -> list[AttemptRow]:
    """Runs in this start of a place that were given up or stopped, newest first: whether they have ended
    there too is not known.
    """
    return rows.every(AttemptRow, db, _q_left_at, (place, boot_id, limit, renewal.MARK))


def renewed(db: apsw.Connection, place: str, boot_id: str) -> dict[str, int]:
    """How often each agent was given another name in this start of a place; who never was is left out."""
    found: dict[str, int] = {}
    for agent_id, written in rows.table(db, _q_renewed, (place, boot_id, renewal.MARK)):
        found[agent_id] = max(found.get(agent_id, 0), renewal.count(written, boot_id))
    return found


def stopped_within(db: apsw.Connection, gateway: str, limit: int) -> list[AttemptRow]:
    """Runs in this gateway, by its launch, that were told to stop and are over, newest first; the same."""
    return rows.every(AttemptRow, db, _q_stopped_within, (gateway, limit))


def session_boots(db: apsw.Connection, agent_id: str, place: str) -> list[str]:
    """The starts of a place in which sessions of the agent's were begun whose tasks are not done, as they are
    written down.
    """
    return [boot_id for (boot_id,) in rows.table(db, _q_session_boots, (agent_id, place))]


def set_place_boot(tx: Tx, launch_id: str, boot_id: str) -> None:
    """The attempt runs in this start of its place from now on, and in no other; see `domain.renewal`."""
    tx.execute(_q_place_boot, (launch_id, boot_id))


def open_in_swarm(db: apsw.Connection, swarm_id: str) -> int:
    """How many runs of the swarm have not ended."""
    count: int = rows.value(db, _q_open_in_swarm, (swarm_id,))
    return count


def set_running(
    tx: Tx, row: AttemptRow, *, pid: int | None, start_time: int | None, boot_id: str | None
) -> None:
    """The program runs; its active time starts to count."""
    rules.MACHINE.check(row.state, "running")
    tx.execute(_q_started, (row.id, tx.now_ms, tx.steady_ms))
    tx.execute(_q_launch_started, (row.launch_id, pid, start_time, boot_id))


def ask_stop(tx: Tx, attempt_id: str, stop: rules.Stop, cause: str | None = None) -> None:
    """Asks for the end of a run, for a cause that its task is told with. The first reason wins, but an end
    for good overrides a run given back or over time: what somebody cancelled must not come back.
    """
    tx.execute(_q_stop, (attempt_id, stop, cause))


def hold_clock(tx: Tx, attempt_id: str) -> None:
    """Its active time stops counting: it is paused or over."""
    tx.execute(_q_hold_clock, (attempt_id, tx.steady_ms))


def run_clock(tx: Tx, attempt_id: str) -> None:
    """Its active time counts again."""
    tx.execute(_q_run_clock, (attempt_id, tx.steady_ms))


def set_ended(tx: Tx, row: AttemptRow, state: str, ending: rules.Ending) -> None:
    """Ends a run and its launch."""
    rules.MACHINE.check(row.state, state)
    started_at_ms = None if ending.state == "never" else tx.now_ms
    figures = (ending.exit_code, ending.exit_signal, ending.cpu_ms, ending.rss_max_kib)
    instants = (tx.now_ms, started_at_ms)
    tx.execute(_q_end, (row.id, state, ending.reason, *figures, *instants, ending.output_dropped))
    tx.execute(_q_launch_ended, (row.launch_id,))


def set_late(tx: Tx, attempt_id: str) -> None:
    """Marks a run whose end came to light after it had been given up."""
    tx.execute(_q_late, (attempt_id,))


def set_spool_offset(tx: Tx, launch_id: str, offset: int) -> None:
    """Output up to here has been read, and what it said is in this same transaction."""
    tx.execute(_q_spool_offset, (launch_id, offset))


def never_count(db: apsw.Connection, task_id: str, *, unlaunched: bool) -> int:
    """How many attempts of the task ended because nothing was ever executed, unasked: as dashd went away, or
    all others.
    """
    count: int = rows.value(db, _q_never_count, (task_id, rules.UNLAUNCHED, unlaunched))
    return count


def succeeded_by_agent(db: apsw.Connection, agent_ids: Sequence[str]) -> dict[str, int]:
    """How many runs of each of these seats succeeded; seats without one are left out."""
    return dict(rows.table(db, _q_succeeded, (msgspec.json.encode(agent_ids).decode(),)))


def of_agent(db: apsw.Connection, agent_id: str, limit: int) -> list[AttemptRow]:
    """The seat's runs, newest first."""
    return rows.every(AttemptRow, db, _q_of_agent, (agent_id, limit))


def of_task(db: apsw.Connection, task_id: str, limit: int) -> list[AttemptRow]:
    """The task's runs, newest first."""
    return rows.every(AttemptRow, db, _q_of_task, (task_id, limit))


def nth_of_agent(db: apsw.Connection, agent_id: str, number: int) -> AttemptRow | None:
    """The seat's run by its number, counted from 1."""
    return rows.first(AttemptRow, db, _q_nth_of_agent, (agent_id, number - 1))


def number_in_seat(db: apsw.Connection, row: AttemptRow) -> int:
    """Which of the seat's runs this is, counted from 1."""
    number: int = rows.value(db, _q_nth_number, (row.agent_id, row.id))
    return number


def sums(db: apsw.Connection, swarm_id: str) -> tuple[int, int, int, int, int, int]:
    """(attempts, lost, late, CPU milliseconds, retries, attempts with output not kept) of a swarm."""
    ((total, lost, late, cpu_ms, retried, cut),) = rows.table(db, _q_sums, (swarm_id,))
    return total, lost, late, cpu_ms, retried, cut


def wishes(db: apsw.Connection) -> list[tuple[str, str | None, int, int, int, int]]:
    """(attempt, stop asked for, to pause, to pause hard, waiting for a yes, messages) of every open run."""
    return rows.table(db, _q_wishes)


def removable_launches(db: apsw.Connection, after: str, limit: int) -> list[str]:
    """Launches whose folders are there and not kept any longer, in order of their ids, behind `after`."""
    return [launch_id for (launch_id,) in rows.table(db, _q_removable, (after, limit))]


def set_removed(tx: Tx, launch_ids: list[str]) -> None:
    """Their folders are gone, and with them what the agents printed."""
    for launch_id in launch_ids:
        tx.execute(_q_launch_removed, (launch_id,))
