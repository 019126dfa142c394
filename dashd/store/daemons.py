"""Table `daemon`: one row about the daemon itself."""

from . import rows
from .transaction import Tx

_q_raise = "UPDATE daemon SET epoch = epoch + 1, started_at_ms = ? WHERE only = 1 RETURNING epoch"


def raise_epoch(tx: Tx) -> int:
    """Raises the epoch, once at each start; holders refuse a daemon of a lower one."""
    epoch: int = rows.value(tx.db, _q_raise, (tx.now_ms,))
    return epoch
