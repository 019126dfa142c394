"""Table `agent`: seats."""

import apsw
import msgspec

from dashd.domain import agent as rules
from dashd.domain import scope as scopes
from dashd.domain.scope import Scope
from dashd.wire import errors

from . import rows
from .rows import AgentRow, SwarmRow, columns, placeholders
from .transaction import Tx

_COLUMNS = columns(AgentRow)
_q_get = f"SELECT {_COLUMNS} FROM agent WHERE id = ?"
_q_insert = f"INSERT INTO agent ({_COLUMNS}) VALUES ({placeholders(AgentRow)})"
_q_state = "UPDATE agent SET state = ?2, liveness = ?3, ended_at_ms = ?4 WHERE id = ?1"
_q_model = "UPDATE agent SET model = ?2 WHERE id = ?1"
_q_wanted = "UPDATE agent SET wanted = ?2, hard = ?3 WHERE id = ?1"
_q_cause = "UPDATE agent SET cause = ?2 WHERE id = ?1"
_q_unknown = "UPDATE agent SET liveness = 'unknown' WHERE state IN ('spawning', 'running', 'paused')"
_q_liveness = "UPDATE agent SET liveness = ?2 WHERE id = ?1"
_q_seat = "UPDATE agent SET state = 'spawning', task_id = ?2 WHERE id = ?1 AND state = 'idle'"
_q_unneeded = (
    "SELECT id FROM agent WHERE swarm_id = ?1 AND state = 'idle' AND wanted = 'run'"
    " AND NOT EXISTS (SELECT 1 FROM task WHERE swarm_id = ?1 AND state = 'ready') ORDER BY number"
)
_q_open = (
    f"SELECT {_COLUMNS} FROM agent WHERE swarm_id = ? AND state IN ('idle', 'spawning', 'running', 'paused')"
    " ORDER BY number"
)
_q_open_count = (
    "SELECT count(*) FROM agent WHERE swarm_id = ? AND state IN ('idle', 'spawning', 'running', 'paused')"
)
_q_open_tops = _q_open_count + " AND parent_id IS NULL"
_q_children = f"SELECT {_COLUMNS} FROM agent WHERE parent_id = ? ORDER BY number"
_q_counts = "SELECT state, count(*) FROM agent WHERE swarm_id = ? GROUP BY state"
_q_counts_all = (
    "SELECT a.state, count(*) FROM swarm s CROSS JOIN agent a ON a.swarm_id = s.id"
    " WHERE s.state != 'destroyed' GROUP BY a.state"
)
_q_completed = "SELECT id FROM agent WHERE swarm_id = ? AND state = 'completed'"
_in_states = "(?1 = '[]' OR state IN (SELECT value FROM json_each(?1)))"
_q_page = (
    f"SELECT {_COLUMNS}, rowid FROM agent WHERE {_in_states} AND rowid > ?2 AND {rows.among('swarm_id', 4)}"
    " ORDER BY rowid LIMIT ?3"
)
_q_page_of_swarm = (
    f"SELECT {_COLUMNS}, number FROM agent WHERE swarm_id = ?4 AND {_in_states} AND number > ?2"
    " ORDER BY number LIMIT ?3"
)
_q_total = f"SELECT count(*) FROM agent WHERE {_in_states} AND {rows.among('swarm_id', 2)}"
_q_total_of_swarm = f"SELECT count(*) FROM agent WHERE swarm_id = ?2 AND {_in_states}"
_q_last_ended = (
    f"SELECT {_COLUMNS} FROM agent WHERE swarm_id = ? AND ended_at_ms IS NOT NULL AND parent_id IS NULL"
    " ORDER BY ended_at_ms DESC, cause IS NULL, number DESC LIMIT 1"
)
_q_retired = (
    f"SELECT {_COLUMNS} FROM agent WHERE swarm_id = ? AND state IN ('completed', 'failed')"
    " AND wanted = 'run' AND parent_id IS NULL ORDER BY number"
)
_q_ids = "SELECT id FROM agent WHERE swarm_id = ? ORDER BY number DESC LIMIT 10"


def insert(tx: Tx, row: AgentRow) -> None:
    """Adds a seat."""
    tx.execute(_q_insert, msgspec.structs.astuple(row))


def find(db: apsw.Connection, agent_id: str) -> AgentRow | None:
    """The agent, if there is one."""
    return rows.first(AgentRow, db, _q_get, (agent_id,))


def get(db: apsw.Connection, agent_id: str) -> AgentRow:
    """The agent; raises UnknownAgent with its swarm's agents as a hint."""
    row = find(db, agent_id)
    if row is None:
        known = [found for (found,) in rows.table(db, _q_ids, (agent_id.partition("-")[0],))]
        hint = (
            f"agents of that swarm: {', '.join(reversed(known))}" if known else "agent.list names all agents"
        )
        raise errors.UnknownAgent(f"there is no agent {agent_id!r}", hint=hint, path="agent")
    return row


def set_state(tx: Tx, row: AgentRow, state: str, *, liveness: str = "dead") -> None:
    """Moves a seat along its machine. `liveness` is that of its process: dead where it has none."""
    rules.MACHINE.check(row.state, state)
    ended_at_ms = tx.now_ms if state in rules.MACHINE.ended else None
    tx.execute(_q_state, (row.id, state, liveness, ended_at_ms))


def set_wanted(tx: Tx, agent_id: str, wanted: str, *, hard: bool = False) -> None:
    """Records what is wanted of the seat; the supervisor makes it so. `hard` is about a pause."""
    tx.execute(_q_wanted, (agent_id, wanted, int(hard)))


def set_model(tx: Tx, agent_id: str, model: str | None) -> None:
    """What the seat's calls go to; None: what its swarm says."""
    tx.execute(_q_model, (agent_id, model))


def set_cause(tx: Tx, agent_id: str, cause: str | None) -> None:
    """Remembers why the seat was killed; None: nobody said, or it is open again."""
    tx.execute(_q_cause, (agent_id, cause))


def doubt_all(tx: Tx) -> None:
    """At a start: whether the agents that worked are alive is not known until each has been looked at."""
    tx.execute(_q_unknown)


def set_liveness(tx: Tx, agent_id: str, liveness: str) -> None:
    """Records what is known of the seat's process."""
    tx.execute(_q_liveness, (agent_id, liveness))


def take_seat(tx: Tx, agent_id: str, task_id: str) -> None:
    """An idle seat gets a task."""
    tx.execute(_q_seat, (agent_id, task_id))
    assert tx.db.changes() == 1, f"seat {agent_id} was not idle"


def open_seats(db: apsw.Connection, swarm_id: str) -> list[AgentRow]:
    """The seats of a swarm that have not ended, by number."""
    return rows.every(AgentRow, db, _q_open, (swarm_id,))


def unneeded(db: apsw.Connection, swarm_id: str) -> list[str]:
    """Seats of a swarm that nothing is under way or ready for, by number."""
    return [agent_id for (agent_id,) in rows.table(db, _q_unneeded, (swarm_id,))]


def open_count(db: apsw.Connection, swarm_id: str) -> int:
    """How many seats of a swarm have not ended."""
    count: int = rows.value(db, _q_open_count, (swarm_id,))
    return count


def open_tops(db: apsw.Connection, swarm_id: str) -> int:
    """The same without children: those that take whatever task of the swarm comes."""
    count: int = rows.value(db, _q_open_tops, (swarm_id,))
    return count


def children(db: apsw.Connection, agent_id: str) -> list[AgentRow]:
    """An agent's own children, ended ones too, oldest first."""
    return rows.every(AgentRow, db, _q_children, (agent_id,))


def scope_of(row: AgentRow, swarm: SwarmRow) -> Scope:
    """What it may reach: a child its own, any other what its swarm's agents may."""
    text = row.scope or swarm.scope
    return scopes.from_json(text) if text else scopes.DEFAULT


def last_ended(db: apsw.Connection, swarm_id: str) -> AgentRow | None:
    """The seat that has ended last, of two at once the one with a cause, no child; None where none has."""
    return rows.first(AgentRow, db, _q_last_ended, (swarm_id,))


def retired(db: apsw.Connection, swarm_id: str) -> list[AgentRow]:
    """The seats that ended as nothing was left for them, and nobody has paused; no children, by number."""
    return rows.every(AgentRow, db, _q_retired, (swarm_id,))


def completed(db: apsw.Connection, swarm_id: str) -> frozenset[str]:
    """The seats of a swarm that ended well."""
    return frozenset(agent_id for (agent_id,) in rows.table(db, _q_completed, (swarm_id,)))


def counts(db: apsw.Connection, swarm_id: str | None = None) -> dict[str, int]:
    """Agents by state, of one swarm or of all that are not destroyed."""
    return dict(rows.table(db, _q_counts, (swarm_id,)) if swarm_id else rows.table(db, _q_counts_all))


def page(
    db: apsw.Connection,
    swarm_id: str | None,
    states: str,
    after: int,
    limit: int,
    among: rows.Among = None,
) -> tuple[list[AgentRow], int, int]:
    """(agents, cursor of the last, total) in order of creation; `states` is a JSON array, [] for all."""
    if swarm_id is None:
        found = rows.table(db, _q_page, (states, after, limit, among))
        total = rows.value(db, _q_total, (states, among))
    else:
        found = rows.table(db, _q_page_of_swarm, (states, after, limit, swarm_id))
        total = rows.value(db, _q_total_of_swarm, (states, swarm_id))
    return [AgentRow(*row[:-1]) for row in found], found[-1][-1] if found else after, total
