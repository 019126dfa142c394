"""How much the copies of conversations take, all together, and which of them go where they take too much.

Those that nobody asked for and that nothing goes on from go by themselves, the oldest first: automatic ones,
then those that forks were begun with. Others go when they are forgotten. A row that another conversation
began with stays, without a file, so that it can be said what that began with.
"""

import json
from typing import Final

import msgspec

from dashd.wire import errors
from dashd.wire.events import iso

from . import rows
from .rows import Snapshot
from .transaction import Tx

MIB: Final = 1 << 20
"""Of all copies, where nothing else is said."""
ALL: Final = 2**31
_FEW: Final = 50
"""They make enough room mostly; all are read where they do not."""
_USERS_MAX: Final = 3
"""Tasks or sessions that a refusal names."""


class Copy(msgspec.Struct, frozen=True):
    """A copy that may go, and whose it is."""

    id: str
    bytes: int
    session_id: str
    swarm_id: str
    agent_id: str
    task_id: str


_SPENT: Final = (
    "removed_at_ms IS NULL AND id NOT IN (SELECT head FROM session WHERE head IS NOT NULL)"
    " AND id NOT IN (SELECT d.checkpoint_id FROM session_seed d JOIN task t ON t.id = d.task_id"
    " JOIN swarm w ON w.id = t.swarm_id WHERE w.ended_at_ms IS NULL)"
)
"""Nothing goes on from it, nor will: a task is not tried again once its swarm has ended."""
_COPY = (
    "SELECT c.id, c.bytes, s.id, s.swarm_id, s.agent_id, s.task_id"
    " FROM checkpoint c JOIN session s ON s.id = c.session_id"
)
_q_total = "SELECT coalesce(sum(bytes), 0) FROM checkpoint WHERE removed_at_ms IS NULL"
_q_goes = (
    "SELECT c.id, c.bytes, s.id, s.swarm_id, s.agent_id, s.task_id FROM ("
    "SELECT id, bytes, session_id, kind, at_ms FROM checkpoint"
    f" WHERE kind IN ('automatic', 'fork') AND {_SPENT}"
    " AND id NOT IN (SELECT value FROM json_each(?1)) ORDER BY kind, at_ms LIMIT ?2"
    ") c JOIN session s ON s.id = c.session_id ORDER BY c.kind, c.at_ms"
)
"""Automatic ones first, then the oldest; an index has them in this order, so that few are read."""
_q_superseded = (
    f"{_COPY} WHERE c.session_id = ?1 AND c.id IN"
    f" (SELECT id FROM checkpoint WHERE session_id = ?1 AND kind = 'automatic' AND {_SPENT})"
)
_q_old = (
    f"{_COPY} WHERE c.id IN (SELECT id FROM checkpoint WHERE kind = 'automatic' AND at_ms <= ?1 AND {_SPENT})"
    " ORDER BY c.at_ms LIMIT ?2"
)
_q_oldest = f"SELECT min(at_ms) FROM checkpoint WHERE kind = 'automatic' AND {_SPENT}"
_q_one = f"{_COPY} WHERE c.id = ? AND c.removed_at_ms IS NULL"
_q_mark = "UPDATE checkpoint SET removed_at_ms = ?2, name = '' WHERE id IN (SELECT value FROM json_each(?1))"
_q_drop = (
    "DELETE FROM checkpoint WHERE id IN (SELECT value FROM json_each(?1))"
    " AND id NOT IN (SELECT checkpoint_id FROM session_seed)"
    " AND id NOT IN (SELECT begun_from FROM session WHERE begun_from IS NOT NULL)"
)
_q_heads = "SELECT id FROM session WHERE head = ? LIMIT ?"
_q_seeded = (
    "SELECT t.id, w.id FROM session_seed d JOIN task t ON t.id = d.task_id JOIN swarm w ON w.id = t.swarm_id"
    " WHERE d.checkpoint_id = ? AND w.ended_at_ms IS NULL LIMIT ?"
)
_q_removed = "SELECT removed_at_ms FROM checkpoint WHERE id = ? AND removed_at_ms IS NOT NULL"


def total(db: Snapshot) -> int:
    """The bytes of all copies that there are."""
    found: int = rows.value(db, _q_total)
    return found


def make(tx: Tx, more: int, bytes_max: int, besides: list[str] | None = None) -> list[str]:
    """Room for so many bytes more: gives the ids of what had to go, without those that go anyway.

    Raises Conflict where not enough may go; then nothing has.
    """
    found, missing = _room(tx.db, more, bytes_max, besides or [])
    if missing:
        raise full(tx.db, more, bytes_max)
    return _remove(tx, found, _why(bytes_max))


def trim(tx: Tx, bytes_max: int, limit: int, besides: list[str] | None = None) -> list[str]:
    """What may go of what is too much, at most so many: the setting may be another than it was."""
    found, _ = _room(tx.db, 0, bytes_max, besides or [], limit)
    return _remove(tx, found, _why(bytes_max))


def refuse_full(db: Snapshot, more: int, bytes_max: int) -> None:
    """Raises Conflict where so many bytes more would find no room."""
    if _room(db, more, bytes_max, [])[1]:
        raise full(db, more, bytes_max)


def full(db: Snapshot, more: int, bytes_max: int) -> errors.Conflict:
    """The refusal."""
    return errors.Conflict(
        f"the copies of sessions take {size(total(db))} of {size(bytes_max)}, and all of them were asked for"
        f" or are gone on with: one of {size(more)} more has no room",
        hint="session.forget removes one that is not needed: session.get shows those of a session, and what"
        " each takes; or raise daemon.checkpoints_total_mib",
    )


def superseded(db: Snapshot, session_id: str) -> list[Copy]:
    """The automatic ones of a session, whose place a newer one takes."""
    return rows.every(Copy, db, _q_superseded, (session_id,))


def expire(tx: Tx, made_by_ms: int, limit: int) -> list[str]:
    """Automatic ones that were made by then are no more; gives their ids, at most `limit`."""
    return _remove(tx, rows.every(Copy, tx.db, _q_old, (made_by_ms, limit)), "kept long enough")


def oldest_ms(db: Snapshot) -> int | None:
    """When the oldest automatic one was made that nothing goes on from."""
    found: int | None = rows.value(db, _q_oldest)
    return found


def forget(tx: Tx, checkpoint_id: str) -> None:
    """One is no more. Raises Conflict where something goes on from it, which is named."""
    heads = [found for (found,) in rows.table(tx.db, _q_heads, (checkpoint_id, _USERS_MAX))]
    if heads:
        raise errors.Conflict(
            f"checkpoint {checkpoint_id} is needed: session {', '.join(heads)} goes on from it",
            hint=f"session.restore {heads[0]} has it go on from another one",
        )
    if seeded := rows.table(tx.db, _q_seeded, (checkpoint_id, _USERS_MAX)):
        tasks = ", ".join(task for task, _ in seeded)
        raise errors.Conflict(
            f"checkpoint {checkpoint_id} is needed: task {tasks} begins with it, and may be tried again",
            hint=f"it can go when swarm {seeded[0][1]} has ended; swarm.destroy ends it",
        )
    _remove(tx, rows.every(Copy, tx.db, _q_one, (checkpoint_id,)), "on request")


def removed_at(db: Snapshot, checkpoint_id: str) -> str:
    """When a copy went that something began with; "" for any other."""
    found = rows.table(db, _q_removed, (checkpoint_id,))
    return iso(found[0][0]) if found else ""


def size(count: int) -> str:
    """`12 KiB`, `1,024.0 MiB`."""
    return f"{count / MIB:,.1f} MiB" if count >= MIB else f"{-(-count // 1_024)} KiB"


def drop(tx: Tx, checkpoint_ids: list[str]) -> None:
    """Rows go, or stay as what something began with."""
    told = json.dumps(checkpoint_ids)
    tx.execute(_q_mark, (told, tx.now_ms))
    tx.execute(_q_drop, (told,))


def _why(bytes_max: int) -> str:
    return f"all copies together may take {size(bytes_max)} (daemon.checkpoints_total_mib)"


def _room(
    db: Snapshot, more: int, bytes_max: int, besides: list[str], limit: int = ALL
) -> tuple[list[Copy], int]:
    """(what would have to go, the bytes that would be missing still)."""
    missing = total(db) + more - bytes_max
    found: list[Copy] = []
    if missing <= 0:
        return found, 0
    for at_most in (min(limit, _FEW), limit):
        found, missing_still = [], missing
        for copy in rows.every(Copy, db, _q_goes, (json.dumps(besides), at_most)):
            if missing_still > 0:
                found.append(copy)
                missing_still -= copy.bytes
        if missing_still <= 0:
            break
    return found, max(0, missing_still)


def _remove(tx: Tx, copies: list[Copy], why: str) -> list[str]:
    drop(tx, [copy.id for copy in copies])
    for copy in copies:
        where = {"swarm": copy.swarm_id, "agent": copy.agent_id, "task": copy.task_id}
        data = {"session": copy.session_id, "removed": copy.id, "why": why}
        tx.emit("session.state", **where, data=data)
    return [copy.id for copy in copies]
