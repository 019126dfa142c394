"""Table `audit`: who did what. Rows are only ever added, each in the transaction of what it records."""

from typing import Any, Final

import msgspec

from dashd.domain import chain
from dashd.domain.chain import Head, Link
from dashd.wire import events

from . import rows
from .rows import Snapshot
from .transaction import Tx

SUBJECT_CHARS_MAX: Final = 200
_COLUMNS = ", ".join(Link._fields)
_q_head = "SELECT seq, hash FROM audit_head"
_q_insert = f"INSERT INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_q_after = f"SELECT {_COLUMNS} FROM audit WHERE seq > ? ORDER BY seq LIMIT ?"
_q_page = (
    f"SELECT {_COLUMNS} FROM audit WHERE seq < ?1 AND (?2 = '' OR action GLOB ?2)"
    " AND (?3 = '' OR actor GLOB ?3) AND (?4 = '' OR subject = ?4) AND (?6 = '' OR actor = ?6)"
    " ORDER BY seq DESC LIMIT ?5"
)
TUNNEL_ENDED: Final = "tunnel.ended"
_q_tunnelled = (
    "SELECT coalesce(sum((data ->> 'bytes_up') + (data ->> 'bytes_down')), 0) FROM audit"
    " WHERE action = ? AND subject = ?"
)
_q_hash = "SELECT hash FROM audit WHERE seq = ?"
RECORDED: Final = frozenset(
    {
        *("swarm.completed", "swarm.failed", "swarm.destroyed", "swarm.landed", "merge.merged"),
        *("budget.threshold", "budget.overrun", "approval.requested", "approval.resolved"),
        *("worktree.salvaged", "worktree.removed", "circuit.opened", "circuit.closed"),
        *("escalation.raised", "escalation.resolved", "system.config"),
    }
)
"""Events that are decisions, or ends: they are recorded with whoever was behind them, mostly dashd."""
_KEPT: Final = frozenset(
    [
        "outcome",
        "tasks",
        "agents",
        "budget",
        "threshold",
        "spent",
        "allocated",
        "action",
        "approval",
        "gate",
        "decision",
        "state",
        "by",
        "ref",
        "target",
        "commit",
        "before",
        "result",
        "merge",
        "why",
        "cut",
        "files",
        "count",
        "unsaved",
        "given_up",
        "first",
        "instance",
        "health",
        "version",
        "change",
        "instances",
        "draining",
    ]
)
_TEXT_CHARS_MAX: Final = 200
_encoder = msgspec.json.Encoder(order="deterministic")


def append(tx: Tx, actor: str, action: str, subject: str, data: dict[str, Any]) -> Head:
    """Adds a row; `data` is what the caller has made sure holds no secret."""
    before = head(tx.db)
    seq, text = before.seq + 1, _encoder.encode(data).decode()
    subject = _one_line(subject)
    sealed = chain.seal(before.hash, seq, tx.now_ms, actor, action, subject, text)
    tx.execute(_q_insert, (seq, tx.now_ms, actor, action, subject, text, before.hash, sealed))
    return Head(seq, sealed)


def follow(tx: Tx) -> None:
    """Records what is a decision among the events of an operation; called by the writer after each."""
    for event in tx.events:
        if event.kind in RECORDED:
            told = msgspec.json.decode(event.body, type=events.Event)
            kept = {name: _short(value) for name, value in told.data.items() if name in _KEPT}
            about = (
                told.task
                or told.agent
                or told.swarm
                or str(told.data.get("budget") or told.data.get("instance", ""))
            )
            append(tx, tx.actor, told.kind, about, kept | {"event": told.seq})


def head(db: Snapshot) -> Head:
    """Where the chain ends."""
    ((seq, digest),) = rows.table(db, _q_head)
    return Head(seq, digest)


def after(db: Snapshot, since: int, limit: int) -> list[Link]:
    """Rows after `since`, oldest first."""
    return [Link(*found) for found in rows.table(db, _q_after, (since, limit))]


def page(
    db: Snapshot, before: int, limit: int, *, action: str, actor: str, subject: str, only: str = ""
) -> list[Link]:
    """Rows before `before`, newest first; `action` and `actor` are patterns, `only` an actor, "" is any."""
    found = rows.table(db, _q_page, (before, action, actor, subject, limit, only))
    return [Link(*each) for each in found]


def hash_of(db: Snapshot, seq: int) -> str | None:
    """The hash of one row; None where there is no such row."""
    found = rows.table(db, _q_hash, (seq,))
    return found[0][0] if found else None


def tunnelled_bytes(db: Snapshot, agent_id: str) -> int:
    """What an agent has moved through tunnels that have ended; of those that a crash cut nobody knows."""
    found: int = rows.value(db, _q_tunnelled, (TUNNEL_ENDED, agent_id))
    return found


def _short(value: object) -> object:
    return value[:_TEXT_CHARS_MAX] if isinstance(value, str) else value


def _one_line(subject: str) -> str:
    return " ".join(subject[:SUBJECT_CHARS_MAX].split())
