"""Table `access_key`: who may come in from outside, and by which door. Only hashes are kept."""

import msgspec

from dashd.wire import errors

from . import rows
from .rows import Snapshot, columns, placeholders
from .transaction import Tx


class KeyRow(msgspec.Struct, frozen=True):
    """Table `access_key`."""

    id: str
    kind: str
    name: str
    hash: str
    old_hash: str | None
    old_until_ms: int | None
    budget_id: str | None
    model: str | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    requests_per_day: int | None
    tokens_per_day: int | None
    created_at_ms: int
    expires_at_ms: int | None
    last_used_at_ms: int | None = None
    revoked_at_ms: int | None = None
    within: str | None = None
    unsafe_no_jail: int = 0

    @property
    def folders(self) -> tuple[str, ...] | None:
        """Below which all lies that it may give to agents; None: any."""
        return None if self.within is None else msgspec.json.decode(self.within, type=tuple[str, ...])

    def good(self, now_ms: int) -> bool:
        """Whether it opens its door now."""
        return self.revoked_at_ms is None and (self.expires_at_ms is None or now_ms < self.expires_at_ms)


_COLUMNS = columns(KeyRow)
_q_insert = f"INSERT INTO access_key ({_COLUMNS}) VALUES ({placeholders(KeyRow)})"
_q_live = f"SELECT {_COLUMNS} FROM access_key WHERE revoked_at_ms IS NULL ORDER BY created_at_ms, id"
_q_every = f"SELECT {_COLUMNS} FROM access_key ORDER BY created_at_ms, id LIMIT ?"
_q_find = (
    f"SELECT {_COLUMNS} FROM access_key WHERE id = ?1 OR name = ?1"
    " ORDER BY revoked_at_ms IS NOT NULL, id = ?1 DESC, created_at_ms DESC LIMIT 1"
)
_q_count = "SELECT count(*) FROM access_key WHERE revoked_at_ms IS NULL"
_q_rotate = "UPDATE access_key SET hash = ?2, old_hash = ?3, old_until_ms = ?4 WHERE id = ?1"
_q_revoke = "UPDATE access_key SET revoked_at_ms = ?2, old_hash = NULL, old_until_ms = NULL WHERE id = ?1"
_q_revoke_of_swarm = (
    "UPDATE access_key SET revoked_at_ms = ?2, old_hash = NULL, old_until_ms = NULL"
    " WHERE revoked_at_ms IS NULL"
    " AND budget_id IN (SELECT id FROM budget WHERE kind = 'key' AND swarm_id = ?1)"
)
_q_used = "UPDATE access_key SET last_used_at_ms = max(?2, coalesce(last_used_at_ms, 0)) WHERE id = ?1"


def insert(tx: Tx, row: KeyRow) -> None:
    """Adds a key; its name is free among those that are not revoked."""
    tx.execute(_q_insert, msgspec.structs.astuple(row))


def live(db: Snapshot) -> list[KeyRow]:
    """Those that were not revoked, oldest first; some may have expired."""
    return rows.every(KeyRow, db, _q_live)


def every(db: Snapshot, limit: int) -> list[KeyRow]:
    """All of them, the revoked ones too."""
    return rows.every(KeyRow, db, _q_every, (limit,))


def live_count(db: Snapshot) -> int:
    """How many were not revoked."""
    count: int = rows.value(db, _q_count)
    return count


def find(db: Snapshot, key: str) -> KeyRow | None:
    """By id, or by a name that is in use, else by that of the last one that was revoked."""
    return rows.first(KeyRow, db, _q_find, (key,))


def get(db: Snapshot, key: str) -> KeyRow:
    """The key; raises NotFound."""
    row = find(db, key)
    if row is None:
        raise errors.NotFound(f"there is no key {key[:100]!r}", hint="key.list shows them", path="key")
    return row


def rotate(tx: Tx, row: KeyRow, hash_: str, old_until_ms: int | None) -> None:
    """A new secret; the one before stays good until `old_until_ms`."""
    tx.execute(_q_rotate, (row.id, hash_, None if old_until_ms is None else row.hash, old_until_ms))


def revoke(tx: Tx, key_id: str) -> None:
    """It opens nothing from now on."""
    tx.execute(_q_revoke, (key_id, tx.now_ms))


def revoke_of_swarm(tx: Tx, swarm_id: str) -> None:
    """The keys that a swarm pays for end with it; the doors hear of it by its bell."""
    tx.execute(_q_revoke_of_swarm, (swarm_id, tx.now_ms))


def used(tx: Tx, key_id: str, at_ms: int) -> None:
    """Remembers a use."""
    tx.execute(_q_used, (key_id, at_ms))
