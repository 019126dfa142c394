"""Table `landing`: a branch of the user's is to be moved, with the files of its checkout.

waiting ──a──▶ queued ──b──▶ running ──c──▶ landed     a  somebody said yes   b  the runtime has taken it up
   └─────────────┴──────────────┴──────d──▶ refused    c  it was seen to move d  and nothing was changed
"""

from collections.abc import Sequence

import msgspec

from . import rows
from .rows import Snapshot, columns, placeholders
from .transaction import Tx

OPEN = ("waiting", "queued", "running")


class LandingRow(msgspec.Struct, frozen=True):
    """Table `landing`."""

    number: int | None
    swarm_id: str
    onto: str
    commit_id: str
    state: str
    before: str | None
    problem: str
    hint: str
    paths: str
    asked_by: str
    asked_at_ms: int
    ended_at_ms: int | None


_COLUMNS = columns(LandingRow)
_q_insert = f"INSERT INTO landing ({_COLUMNS}) VALUES ({placeholders(LandingRow)}) RETURNING {_COLUMNS}"
_q_get = f"SELECT {_COLUMNS} FROM landing WHERE number = ?"
_q_next = f"SELECT {_COLUMNS} FROM landing WHERE state IN ('queued', 'running') ORDER BY number LIMIT 1"
_q_queued = "UPDATE landing SET state = 'queued' WHERE number = ? AND state = 'waiting'"
_q_running = "UPDATE landing SET state = 'running', before = coalesce(before, ?2) WHERE number = ?1"
_q_end = (
    "UPDATE landing SET state = ?2, problem = ?3, hint = ?4, paths = ?5, ended_at_ms = ?6 WHERE number = ?1"
)


def insert(tx: Tx, *, swarm: str, onto: str, commit: str, asked_by: str) -> LandingRow:
    """Adds one that waits."""
    made = LandingRow(None, swarm, onto, commit, "waiting", None, "", "", "[]", asked_by, tx.now_ms, None)
    return rows.every(LandingRow, tx.db, _q_insert, msgspec.structs.astuple(made))[0]


def get(db: Snapshot, number: int) -> LandingRow:
    """The landing; it must exist."""
    row = rows.first(LandingRow, db, _q_get, (number,))
    assert row is not None, f"no landing {number}"
    return row


def queue(tx: Tx, number: int) -> None:
    """It may be done (a)."""
    tx.execute(_q_queued, (number,))
    tx.ring("merges")


def next_open(db: Snapshot) -> LandingRow | None:
    """Whose turn it is."""
    return rows.first(LandingRow, db, _q_next)


def set_running(tx: Tx, row: LandingRow, before: str | None) -> None:
    """It has begun (b); `before` is where the branch was, as first seen."""
    tx.execute(_q_running, (row.number, before))


def landed(tx: Tx, row: LandingRow) -> None:
    """The branch was seen at the commit (c)."""
    now = get(tx.db, row.number or 0)
    tx.execute(_q_end, (row.number, "landed", "", "", "[]", tx.now_ms))
    data = {"target": row.onto, "commit": row.commit_id, "before": now.before, "by": row.asked_by}
    tx.emit("swarm.landed", swarm=row.swarm_id, data=data)
    tx.ring("merges")


def refused(tx: Tx, row: LandingRow, problem: str, *, hint: str = "", paths: Sequence[str] = ()) -> None:
    """Nothing was changed (d)."""
    tx.execute(
        _q_end,
        (row.number, "refused", problem, hint, msgspec.json.encode(list(paths)).decode(), tx.now_ms),
    )
    tx.ring("merges")
