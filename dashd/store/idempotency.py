"""Table `idempotency`: answers already given, by key and by who is no operator; kept 24 hours."""

import apsw

from . import rows
from .transaction import Tx

KEPT_MS = 24 * 3_600 * 1_000
_q_get = "SELECT method, params_hash, answer FROM idempotency WHERE key = ? AND at_ms > ?"
_q_insert = (
    "INSERT OR REPLACE INTO idempotency (key, method, params_hash, answer, at_ms) VALUES (?, ?, ?, ?, ?)"
)
_q_forget = "DELETE FROM idempotency WHERE at_ms <= ?"


def find(db: apsw.Connection, key: str, now_ms: int) -> tuple[str, str, str] | None:
    """(method, hash of the parameters, answer as JSON) given for this key."""
    found = rows.table(db, _q_get, (key, now_ms - KEPT_MS))
    return found[0] if found else None


def insert(tx: Tx, key: str, method: str, params_hash: str, answer: str) -> None:
    """Keeps an answer, in the transaction of the work it answers, and drops those past their time."""
    tx.execute(_q_forget, (tx.now_ms - KEPT_MS,))
    tx.execute(_q_insert, (key, method, params_hash, answer, tx.now_ms))
