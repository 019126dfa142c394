"""Tables `approval` and `approval_vote`: what waits for a yes. What follows from one is in `decisions`."""

from typing import Any

import msgspec

from dashd.wire import errors

from . import rows
from .rows import Snapshot, columns, placeholders
from .transaction import Tx


class ApprovalRow(msgspec.Struct, frozen=True):
    """Table `approval`."""

    number: int | None
    gate: str
    kind: str
    what: str
    swarm_id: str | None
    agent_id: str | None
    asked_by: str
    context: str
    ref: str
    act: str
    args: str
    state: str
    who: str
    two_person: int
    at_deadline: str
    deadline_at_ms: int
    decided_by: str
    note: str
    asked_at_ms: int
    decided_at_ms: int | None

    @property
    def id(self) -> str:
        """As people and models say it."""
        return f"ap{self.number}"

    @property
    def told(self) -> dict[str, Any]:
        """What follows is done with these."""
        return msgspec.json.decode(self.args, type=dict[str, Any])


_COLUMNS = columns(ApprovalRow)
_q_insert = f"INSERT INTO approval ({_COLUMNS}) VALUES ({placeholders(ApprovalRow)}) RETURNING {_COLUMNS}"
_q_get = f"SELECT {_COLUMNS} FROM approval WHERE number = ?"
_q_of_ref = f"SELECT {_COLUMNS} FROM approval WHERE ref = ? AND ref <> '' AND state <> 'withdrawn'"
_q_open_of_swarm = f"SELECT {_COLUMNS} FROM approval WHERE swarm_id = ? AND state = 'open' ORDER BY number"
_q_decide = (
    f"UPDATE approval SET state = ?2, decided_by = ?3, note = ?4, decided_at_ms = ?5 WHERE number = ?1"
    f" AND state = 'open' RETURNING {_COLUMNS}"
)
_q_due = f"SELECT {_COLUMNS} FROM approval WHERE state = 'open' AND deadline_at_ms <= ? ORDER BY number"
_q_next_due = "SELECT min(deadline_at_ms) FROM approval WHERE state = 'open'"
_q_page = (
    f"SELECT {_COLUMNS} FROM approval WHERE number < ?1 AND (?2 = '' OR state = ?2)"
    f" AND (?3 = '' OR swarm_id = ?3) AND (swarm_id IS NULL OR {rows.among('swarm_id', 5)})"
    " ORDER BY number DESC LIMIT ?4"
)
_q_vote = "INSERT OR REPLACE INTO approval_vote VALUES (?, ?, ?)"
_q_votes = "SELECT who FROM approval_vote WHERE number = ? ORDER BY at_ms, who"
_q_standing_votes = (
    "SELECT v.who FROM approval_vote v WHERE v.number = ?1 AND EXISTS ("
    "SELECT 1 FROM access_key k WHERE k.kind || ':' || k.name = v.who AND k.created_at_ms <= v.at_ms"
    " AND k.revoked_at_ms IS NULL AND (k.expires_at_ms IS NULL OR ?2 < k.expires_at_ms))"
    " ORDER BY v.at_ms, v.who"
)
_q_open_of_agent = (
    f"SELECT {_COLUMNS} FROM approval WHERE agent_id = ? AND state = 'open' AND act = '' ORDER BY number"
)
_q_holds = "SELECT EXISTS (SELECT 1 FROM approval WHERE agent_id = ? AND state = 'open' AND act = '')"


def insert(tx: Tx, row: ApprovalRow) -> ApprovalRow:
    """Adds what waits; gives it back with its number."""
    return rows.every(ApprovalRow, tx.db, _q_insert, msgspec.structs.astuple(row))[0]


def get(db: Snapshot, approval_id: str) -> ApprovalRow:
    """By its id; raises NotFound."""
    digits = approval_id.removeprefix("ap")
    number = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 16 else 0
    row = rows.first(ApprovalRow, db, _q_get, (number,))
    if row is None:
        raise errors.NotFound(
            f"there is no approval {approval_id!r}",
            hint="approval.list shows those that are open",
            path="approvals",
        )
    return row


def of_ref(db: Snapshot, ref: str) -> ApprovalRow | None:
    """What was asked under this reference before."""
    return rows.first(ApprovalRow, db, _q_of_ref, (ref,))


def open_of_swarm(db: Snapshot, swarm_id: str) -> list[ApprovalRow]:
    """What waits for a yes in a swarm."""
    return rows.every(ApprovalRow, db, _q_open_of_swarm, (swarm_id,))


def open_of_agent(db: Snapshot, agent_id: str) -> list[ApprovalRow]:
    """What an agent has asked for itself and is held by, oldest first."""
    return rows.every(ApprovalRow, db, _q_open_of_agent, (agent_id,))


def holds(db: Snapshot, agent_id: str) -> bool:
    """Whether an agent is held by a request of its own."""
    return bool(rows.value(db, _q_holds, (agent_id,)))


def due(db: Snapshot, now_ms: int) -> list[ApprovalRow]:
    """What has waited long enough."""
    return rows.every(ApprovalRow, db, _q_due, (now_ms,))


def next_due_ms(db: Snapshot) -> int | None:
    """The instant of the next deadline; None where nothing waits."""
    found: int | None = rows.value(db, _q_next_due)
    return found


def page(
    db: Snapshot, before: int, state: str, swarm_id: str, limit: int, among: rows.Among = None
) -> list[ApprovalRow]:
    """Newest first; "" is any state or swarm. What is no swarm's is told whatever `among` says."""
    return rows.every(ApprovalRow, db, _q_page, (before, state, swarm_id, limit, among))


def vote(tx: Tx, row: ApprovalRow, who: str) -> list[str]:
    """Notes a yes; gives all who have said it, each once."""
    tx.execute(_q_vote, (row.number, who, tx.now_ms))
    return votes(tx.db, row)


def votes(db: Snapshot, row: ApprovalRow) -> list[str]:
    """Who has said yes, oldest first."""
    return [who for (who,) in rows.table(db, _q_votes, (row.number,))]


def standing_votes(db: Snapshot, row: ApprovalRow, now_ms: int) -> list[str]:
    """The same of those whose key still stands; another key of that name has said nothing."""
    return [who for (who,) in rows.table(db, _q_standing_votes, (row.number, now_ms))]


def close(tx: Tx, row: ApprovalRow, state: str, by: str, note: str) -> ApprovalRow:
    """Ends an open one, and tells; whoever waits for it wakes."""
    found = rows.every(ApprovalRow, tx.db, _q_decide, (row.number, state, by, note, tx.now_ms))
    assert found, f"{row.id} is {row.state}, not open"
    tx.emit(
        "approval.resolved",
        swarm=row.swarm_id,
        agent=row.agent_id,
        data={"approval": row.id, "gate": row.gate, "kind": row.kind, "state": state, "by": by, "note": note},
    )
    tx.ring("approvals")
    return found[0]


def withdraw(tx: Tx, *, swarm_id: str = "", agent_id: str = "", why: str) -> None:
    """What a swarm that has ended, or the run of an agent, was waiting for needs nobody's yes any more."""
    # A landing outlives its swarm: most are asked for once that has ended.
    found = [row for row in open_of_swarm(tx.db, swarm_id) if row.act != "swarm.land"] if swarm_id else []
    found += open_of_agent(tx.db, agent_id) if agent_id else []
    if agent_id and found:
        tx.ring("agents")  # its next model call is held no more
    for row in found:
        close(tx, row, "withdrawn", tx.actor, why)
