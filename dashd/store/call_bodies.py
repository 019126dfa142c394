"""Table `call_body`: what was said in model calls, where that is kept; bounded in age and in all."""

import msgspec

from . import rows
from .rows import Snapshot
from .transaction import Tx

PRUNED_AT_ONCE_MAX = 500


class BodyRow(msgspec.Struct, frozen=True):
    """Table `call_body`."""

    hold_id: int
    at_ms: int
    bytes: int
    meta: str
    request: str | None
    answer: str | None


class CallRow(msgspec.Struct, frozen=True):
    """A kept call, with what its hold says of it."""

    id: int
    at_ms: int
    budget_id: str
    swarm_id: str | None
    agent_id: str | None
    task_id: str | None
    model: str
    provider: str
    cost_nusd: int | None
    basis: str | None
    meta: str
    request: str | None
    answer: str | None


_q_insert = (
    "INSERT OR IGNORE INTO call_body (hold_id, at_ms, bytes, meta, request, answer) VALUES (?, ?, ?, ?, ?, ?)"
)
_q_bytes = "SELECT coalesce(sum(bytes), 0) FROM call_body"
_q_count = "SELECT count(*) FROM call_body"
_q_old = (
    "DELETE FROM call_body WHERE hold_id IN"
    " (SELECT hold_id FROM call_body WHERE at_ms < ? ORDER BY at_ms, hold_id LIMIT ?)"
)
_q_oldest = "SELECT hold_id, bytes FROM call_body ORDER BY at_ms, hold_id LIMIT ?"
_q_delete = "DELETE FROM call_body WHERE hold_id = ?"
_q_page = (
    "SELECT h.id, b.at_ms, h.budget_id, h.swarm_id, h.agent_id, h.task_id, h.model, h.provider, h.cost_nusd,"
    " h.basis, b.meta, b.request, b.answer FROM call_body b JOIN hold h ON h.id = b.hold_id"
    " WHERE (?1 IS NULL OR ?1 IN (h.swarm_id, h.agent_id, h.budget_id)) AND (?2 = 0 OR h.id < ?2)"
    " ORDER BY h.id DESC LIMIT ?3"
)


def insert(tx: Tx, row: BodyRow) -> None:
    """Keeps one; a call is kept once."""
    tx.execute(_q_insert, msgspec.structs.astuple(row))


def total_bytes(db: Snapshot) -> int:
    """Of all that are kept."""
    total: int = rows.value(db, _q_bytes)
    return total


def count(db: Snapshot) -> int:
    """How many are kept."""
    number: int = rows.value(db, _q_count)
    return number


def prune(tx: Tx, before_ms: int, bytes_max: int) -> int:
    """Removes those that are older, then the oldest until the rest fits, some hundred at once.

    Returns how many bytes are left.
    """
    tx.execute(_q_old, (before_ms, PRUNED_AT_ONCE_MAX))
    left = total_bytes(tx.db)
    for hold_id, size in rows.table(tx.db, _q_oldest, (PRUNED_AT_ONCE_MAX,)) if left > bytes_max else ():
        if left <= bytes_max:
            break
        tx.execute(_q_delete, (hold_id,))
        left -= size
    return left


def page(db: Snapshot, of: str | None, before: int, limit: int) -> list[CallRow]:
    """Newest first, of a swarm, an agent or a budget; `before` is the last id seen, 0 for none."""
    return rows.every(CallRow, db, _q_page, (of, before, limit))
