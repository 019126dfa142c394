"""Table `provider`: who serves models. Secrets are not here; a row says only where one is kept."""

import msgspec

from . import rows
from .rows import Snapshot, columns, placeholders
from .transaction import Tx


class ProviderRow(msgspec.Struct, frozen=True):
    """Table `provider`."""

    name: str
    format: str
    url: str
    secret: str
    command: str | None
    models: str
    created_at_ms: int


_COLUMNS = columns(ProviderRow)
_q_all = f"SELECT {_COLUMNS} FROM provider ORDER BY created_at_ms, name"
_q_one = f"SELECT {_COLUMNS} FROM provider WHERE name = ?"
_q_put = f"INSERT OR REPLACE INTO provider ({_COLUMNS}) VALUES ({placeholders(ProviderRow)})"
_q_remove = "DELETE FROM provider WHERE name = ?"


def every(db: Snapshot) -> list[ProviderRow]:
    """All providers, oldest first."""
    return rows.every(ProviderRow, db, _q_all)


def find(db: Snapshot, name: str) -> ProviderRow | None:
    """The provider of that name."""
    return rows.first(ProviderRow, db, _q_one, (name,))


def put(tx: Tx, row: ProviderRow) -> None:
    """Adds a provider, or replaces the one of that name; that one keeps its place in the order."""
    before = find(tx.db, row.name)
    if before is not None:
        row = msgspec.structs.replace(row, created_at_ms=before.created_at_ms)
    tx.execute(_q_put, msgspec.structs.astuple(row))


def remove(tx: Tx, name: str) -> bool:
    """False where there is none."""
    tx.execute(_q_remove, (name,))
    return bool(tx.db.changes())


def command(row: ProviderRow) -> list[str]:
    """What prints the secret; empty where nothing does."""
    return msgspec.json.decode(row.command or "[]", type=list[str])


def models(row: ProviderRow) -> tuple[str, ...]:
    """The models it was said to serve."""
    return msgspec.json.decode(row.models, type=tuple[str, ...])
