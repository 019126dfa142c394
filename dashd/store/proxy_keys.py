"""Table `proxy_key`: what an agent, or a program outside, shows at the proxy. Only hashes are kept."""

from . import rows
from .rows import Snapshot
from .transaction import Tx

_q_insert = "INSERT INTO proxy_key (hash, budget_id, agent_id, name, created_at_ms) VALUES (?, ?, ?, ?, ?)"
_q_of_attempt = "SELECT hash FROM proxy_key WHERE agent_id = ? AND name = ? AND revoked_at_ms IS NULL"
_q_revoke = (
    "UPDATE proxy_key SET revoked_at_ms = ?3 WHERE agent_id = ?1 AND name = ?2 AND revoked_at_ms IS NULL"
)
_q_of_gateway = "SELECT agent_id, hash FROM proxy_key WHERE name = ? AND revoked_at_ms IS NULL"
_q_revoke_of_gateway = "UPDATE proxy_key SET revoked_at_ms = ?2 WHERE name = ?1 AND revoked_at_ms IS NULL"
# Keys of an added gateway are named after its door and its start: "added:desk@1f3a9c".
_q_of_door = "SELECT agent_id, hash, name FROM proxy_key WHERE name GLOB ? AND revoked_at_ms IS NULL"
_q_doors = "SELECT DISTINCT name FROM proxy_key WHERE name GLOB 'added:*' AND revoked_at_ms IS NULL"
_q_revoke_others = (
    "UPDATE proxy_key SET revoked_at_ms = ?3 WHERE name GLOB ?1 AND name <> ?2 AND revoked_at_ms IS NULL"
)
_q_revoke_ended = (
    "UPDATE proxy_key SET revoked_at_ms = ?1 WHERE agent_id IS NOT NULL AND revoked_at_ms IS NULL"
    " AND name NOT IN (SELECT id FROM attempt WHERE ended_at_ms IS NULL)"
    " AND name NOT IN (SELECT launch_id FROM gateway WHERE ended_at_ms IS NULL)"
    " AND NOT EXISTS"
    " (SELECT 1 FROM added_gateway g WHERE proxy_key.name GLOB 'added:' || g.name || '@*')"
)


def insert(tx: Tx, digest: bytes, budget_id: str, agent_id: str | None, name: str) -> None:
    """Keeps the digest of a new key; an agent's is named after its attempt, or after the launch of the
    gateway that was given it.
    """
    tx.execute(_q_insert, (digest.hex(), budget_id, agent_id, name, tx.now_ms))


def of_attempt(db: Snapshot, agent_id: str, attempt_id: str) -> list[bytes]:
    """The digests that still name the attempt's agent."""
    return [bytes.fromhex(found) for (found,) in rows.table(db, _q_of_attempt, (agent_id, attempt_id))]


def revoke(tx: Tx, agent_id: str, attempt_id: str) -> None:
    """The attempt's keys name nobody from now on; those of the seat's next attempt stay."""
    tx.execute(_q_revoke, (agent_id, attempt_id, tx.now_ms))


def of_gateway(db: Snapshot, launch_id: str) -> dict[str, list[bytes]]:
    """The digests of the keys that a gateway was given, by agent."""
    digests: dict[str, list[bytes]] = {}
    for agent_id, found in rows.table(db, _q_of_gateway, (launch_id,)):
        digests.setdefault(agent_id, []).append(bytes.fromhex(found))
    return digests


def revoke_of_gateway(tx: Tx, launch_id: str) -> None:
    """The gateway is over: its keys name nobody from now on."""
    tx.execute(_q_revoke_of_gateway, (launch_id, tx.now_ms))


def of_door(db: Snapshot, door: str) -> list[tuple[str, bytes, str]]:
    """(agent, digest, name) of the keys that an added gateway was given, over all its starts."""
    found = rows.table(db, _q_of_door, (f"{door}@*",))
    return [(agent_id, bytes.fromhex(digest), name) for agent_id, digest, name in found]


def doors(db: Snapshot) -> set[str]:
    """The doors of added gateways that have been given keys."""
    return {name.partition("@")[0] for (name,) in rows.table(db, _q_doors)}


def revoke_others(tx: Tx, door: str, name: str) -> None:
    """Of this door's keys those that are not of this name name nobody from now on."""
    tx.execute(_q_revoke_others, (f"{door}@*", name, tx.now_ms))


def revoke_ended(tx: Tx) -> None:
    """For a start: a crash may have come between an attempt's, or a gateway's, end and its keys'."""
    tx.execute(_q_revoke_ended, (tx.now_ms,))
