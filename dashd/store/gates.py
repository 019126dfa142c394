"""Table `gate`: the rules by which something needs a yes."""

from dashd.domain.gates import Gate

from . import rows
from .rows import Snapshot
from .transaction import Tx

_COLUMNS = "name, kind, pattern, above, verdict, who, two_person, deadline_s, at_deadline"
_q_every = f"SELECT {_COLUMNS} FROM gate ORDER BY kind, name"
_q_of_kind = f"SELECT {_COLUMNS} FROM gate WHERE kind = ?"
_q_put = f"INSERT OR REPLACE INTO gate ({_COLUMNS}, set_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_q_remove = "DELETE FROM gate WHERE name = ? RETURNING name"


def every(db: Snapshot) -> list[Gate]:
    """All rules, by kind and name."""
    return [_gate(found) for found in rows.table(db, _q_every)]


def of_kind(db: Snapshot, kind: str) -> list[Gate]:
    """The rules of one kind."""
    return [_gate(found) for found in rows.table(db, _q_of_kind, (kind,))]


def put(tx: Tx, gate: Gate) -> None:
    """Adds a rule, or replaces the one of that name; what waits already keeps its terms."""
    terms = (gate.name, gate.kind, gate.pattern, gate.above, gate.verdict, gate.who, int(gate.two_person))
    tx.execute(_q_put, (*terms, gate.deadline_s, gate.at_deadline, tx.now_ms))


def remove(tx: Tx, name: str) -> bool:
    """Removes a rule; false where there was none."""
    return bool(rows.table(tx.db, _q_remove, (name,)))


def _gate(found: tuple[str, str, str, int, str, str, int, float, str]) -> Gate:
    name, kind, pattern, above, verdict, who, two_person, deadline_s, at_deadline = found
    return Gate(name, kind, pattern, above, verdict, who, bool(two_person), deadline_s, at_deadline)
