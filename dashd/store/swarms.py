"""Table `swarm`."""

import apsw
import msgspec

from dashd.domain import swarm as rules
from dashd.wire import errors

from . import rows
from .rows import SwarmRow, columns, placeholders
from .transaction import Tx

_COLUMNS = columns(SwarmRow)
_q_get = f"SELECT {_COLUMNS} FROM swarm WHERE id = ?"
_q_insert = f"INSERT INTO swarm ({_COLUMNS}) VALUES ({placeholders(SwarmRow)})"
_q_state = "UPDATE swarm SET state = ?2, outcome = ?3, ended_at_ms = ?4 WHERE id = ?1"
_q_wanted = "UPDATE swarm SET wanted = 'destroy' WHERE id = ?"
_q_agents_max = "UPDATE swarm SET agents_max = ?2 WHERE id = ?1"
_q_take_numbers = (
    "UPDATE swarm SET next_agent = next_agent + ?2, next_task = next_task + ?3 WHERE id = ?1"
    " RETURNING next_agent - ?2, next_task - ?3"
)
_q_page = (
    f"SELECT {_COLUMNS} FROM swarm WHERE (created_at_ms, id) < (?1, ?2)"
    " AND (?3 = '[]' OR state IN (SELECT value FROM json_each(?3)))"
    " ORDER BY created_at_ms DESC, id DESC LIMIT ?4"
)
_q_total = "SELECT count(*) FROM swarm WHERE ?1 = '[]' OR state IN (SELECT value FROM json_each(?1))"
_q_counts = "SELECT state, count(*) FROM swarm GROUP BY state"
_q_open_ids = (
    "SELECT id FROM swarm WHERE state IN ('creating', 'active', 'paused')"
    " ORDER BY created_at_ms DESC LIMIT 10"
)


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


def set_state(tx: Tx, row: SwarmRow, state: str, *, outcome: str | None = None) -> None:
    """Moves a swarm along its machine; ended states get their instant."""
    rules.MACHINE.check(row.state, state)
    ended_at_ms = tx.now_ms if state in rules.ENDED else None
    tx.execute(_q_state, (row.id, state, outcome, ended_at_ms))


def want_destroyed(tx: Tx, swarm_id: str) -> None:
    """Records that the swarm is to be destroyed; it is once its last process is gone."""
    tx.execute(_q_wanted, (swarm_id,))


def set_agents_max(tx: Tx, swarm_id: str, agents_max: int) -> None:
    """Sets how many seats may work at once."""
    tx.execute(_q_agents_max, (swarm_id, agents_max))


def take_numbers(tx: Tx, swarm_id: str, *, agents: int = 0, tasks: int = 0) -> tuple[int, int]:
    """Reserves running numbers; returns the first of each."""
    ((agent, task),) = rows.table(tx.db, _q_take_numbers, (swarm_id, agents, tasks))
    return agent, task


def page(db: apsw.Connection, states: str, before: tuple[int, str], limit: int) -> tuple[list[SwarmRow], int]:
    """(swarms newest first, created before `before`; total); `states` is a JSON array, [] for all."""
    found = rows.every(SwarmRow, db, _q_page, (*before, states, limit))
    return found, rows.value(db, _q_total, (states,))


def counts(db: apsw.Connection) -> dict[str, int]:
    """Number of swarms by state."""
    return dict(rows.table(db, _q_counts))
