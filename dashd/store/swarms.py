"""Table `swarm`."""

from collections.abc import Sequence
from typing import NamedTuple

import apsw
import msgspec

from dashd.domain import swarm as rules
from dashd.domain.placement import Terms
from dashd.wire import errors

from . import rows
from .rows import SwarmRow, columns, placeholders
from .transaction import Tx

_COLUMNS = columns(SwarmRow)
_q_get = f"SELECT {_COLUMNS} FROM swarm WHERE id = ?"
_q_insert = f"INSERT INTO swarm ({_COLUMNS}) VALUES ({placeholders(SwarmRow)})"
_q_state = "UPDATE swarm SET state = ?2, outcome = ?3, ended_at_ms = ?4 WHERE id = ?1"
_q_expired = (
    "SELECT id FROM swarm WHERE output = 'kept' AND ended_at_ms IS NOT NULL AND ended_at_ms <= ?1"
    " ORDER BY ended_at_ms LIMIT ?2"
)
_q_oldest_kept = "SELECT min(ended_at_ms) FROM swarm WHERE output = 'kept' AND ended_at_ms IS NOT NULL"
_q_swept = (
    "SELECT id FROM swarm s WHERE output = 'going' AND NOT EXISTS (SELECT 1 FROM task t"
    " JOIN attempt a ON a.task_id = t.id JOIN launch l ON l.id = a.launch_id"
    " WHERE t.swarm_id = s.id AND l.removed = 0)"
    " AND NOT EXISTS (SELECT 1 FROM gateway g JOIN launch l ON l.id = g.launch_id"
    " WHERE g.swarm_id = s.id AND l.removed = 0)"
)
_q_output = "UPDATE swarm SET output = ?2 WHERE id = ?1"
_q_wanted = "UPDATE swarm SET wanted = 'destroy' WHERE id = ?"
_q_scope = "UPDATE swarm SET scope = ?2 WHERE id = ?1"
_q_agents_max = "UPDATE swarm SET agents_max = ?2 WHERE id = ?1"
_q_take_numbers = (
    "UPDATE swarm SET next_agent = next_agent + ?2, next_task = next_task + ?3 WHERE id = ?1"
    " RETURNING next_agent - ?2, next_task - ?3"
)
_q_page = (
    f"SELECT {_COLUMNS} FROM swarm WHERE (created_at_ms, id) < (?1, ?2)"
    f" AND (?3 = '[]' OR state IN (SELECT value FROM json_each(?3))) AND {rows.among('id', 5)}"
    " ORDER BY created_at_ms DESC, id DESC LIMIT ?4"
)
_q_total = (
    "SELECT count(*) FROM swarm WHERE (?1 = '[]' OR state IN (SELECT value FROM json_each(?1)))"
    f" AND {rows.among('id', 2)}"
)
_q_places = "SELECT cwd, scope, repo, json_group_array(id) FROM swarm GROUP BY cwd, scope, repo"
_q_counts = "SELECT state, count(*) FROM swarm GROUP BY state"
_q_open_ids = (
    "SELECT id FROM swarm WHERE state IN ('creating', 'active', 'paused')"
    " ORDER BY created_at_ms DESC LIMIT 10"
)


class Place(NamedTuple):
    """Where swarms work, as their rows say it; most share it with others."""

    cwd: str
    scope: str
    repo: str | None


def insert(tx: Tx, row: SwarmRow) -> None:
    """Adds a swarm; its id must be new."""
    tx.execute(_q_insert, msgspec.structs.astuple(row))


def find(db: apsw.Connection, swarm_id: str) -> SwarmRow | None:
    """The swarm, if there is one."""
    return rows.first(SwarmRow, db, _q_get, (swarm_id,))


def get(db: apsw.Connection, swarm_id: str) -> SwarmRow:
    """The swarm; raises UnknownSwarm with the open ones as a hint."""
    row = find(db, swarm_id)
    if row is None:
        known = [found for (found,) in rows.table(db, _q_open_ids)]
        hint = (
            f"open swarms: {', '.join(known)}" if known else "no swarm is open; swarm.list shows ended ones"
        )
        raise errors.UnknownSwarm(f"there is no swarm {swarm_id!r}", hint=hint, path="swarm")
    return row


def argv(row: SwarmRow) -> tuple[str, ...]:
    """The driver's command template."""
    return msgspec.json.decode(row.argv, type=tuple[str, ...])


def terms(row: SwarmRow) -> Terms:
    """What it asks of the places of its agents."""
    return msgspec.json.decode(row.placement, type=Terms) if row.placement else Terms()


def set_state(tx: Tx, row: SwarmRow, state: str, *, outcome: str | None = None) -> None:
    """Moves a swarm along its machine; ended states get their instant."""
    rules.MACHINE.check(row.state, state)
    ended_at_ms = tx.now_ms if state in rules.ENDED else None
    tx.execute(_q_state, (row.id, state, outcome, ended_at_ms))


def want_destroyed(tx: Tx, swarm_id: str) -> None:
    """Records that the swarm is to be destroyed; it is once its last process is gone."""
    tx.execute(_q_wanted, (swarm_id,))


def drop_output(tx: Tx, swarm_id: str) -> None:
    """What the agents of an ended swarm printed is not kept any longer; the runtime removes it."""
    tx.execute(_q_output, (swarm_id, "going"))
    tx.ring("swarms")


def set_output_gone(tx: Tx, swarm_ids: Sequence[str]) -> None:
    """Nothing of it is on disk any more."""
    for swarm_id in swarm_ids:
        tx.execute(_q_output, (swarm_id, "gone"))


def expired(db: apsw.Connection, ended_by_ms: int, limit: int) -> list[str]:
    """Swarms that had ended by then and whose output is kept, oldest first."""
    return [swarm_id for (swarm_id,) in rows.table(db, _q_expired, (ended_by_ms, limit))]


def oldest_kept_ms(db: apsw.Connection) -> int | None:
    """When the swarm ended whose output has been kept longest; None where none is kept of an ended one."""
    found: int | None = rows.value(db, _q_oldest_kept)
    return found


def swept(db: apsw.Connection) -> list[str]:
    """Swarms whose output was to go, and of which nothing is left."""
    return [swarm_id for (swarm_id,) in rows.table(db, _q_swept)]


def set_agents_max(tx: Tx, swarm_id: str, agents_max: int) -> None:
    """Sets how many seats may work at once."""
    tx.execute(_q_agents_max, (swarm_id, agents_max))


def set_scope(tx: Tx, swarm_id: str, scope: str) -> None:
    """Sets what its agents may reach, as JSON, of one that nothing runs in yet."""
    tx.execute(_q_scope, (swarm_id, scope))


def take_numbers(tx: Tx, swarm_id: str, *, agents: int = 0, tasks: int = 0) -> tuple[int, int]:
    """Reserves running numbers; returns the first of each."""
    ((agent, task),) = rows.table(tx.db, _q_take_numbers, (swarm_id, agents, tasks))
    return agent, task


def page(
    db: apsw.Connection, states: str, before: tuple[int, str], limit: int, among: rows.Among = None
) -> tuple[list[SwarmRow], int]:
    """(swarms newest first, created before `before`; total); `states` is a JSON array, [] for all."""
    found = rows.every(SwarmRow, db, _q_page, (*before, states, limit, among))
    return found, rows.value(db, _q_total, (states, among))


def places(db: apsw.Connection) -> list[tuple[Place, list[str]]]:
    """Each place with the ids of the swarms that work there."""
    found = rows.table(db, _q_places)
    return [(Place(*place), msgspec.json.decode(ids, type=list[str])) for *place, ids in found]


def counts(db: apsw.Connection) -> dict[str, int]:
    """Number of swarms by state."""
    return dict(rows.table(db, _q_counts))
