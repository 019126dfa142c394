"""What the tables of added places (`added_gateway`, `instance`) have in common: rows by name, that may drain.

A row that is put anew is another one: it has another `added_at_ms`, and what was learned of the former one is
written down nowhere. Health is in no row, since nobody knows it after a start: it comes with a `Look`.
"""

from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from dashd.domain import placement
from dashd.domain.placement import Health, Place

from . import rows
from .rows import Snapshot, columns, placeholders
from .transaction import BellName, Tx


class PlaceRow(Protocol):
    """What each of these rows has."""

    @property
    def name(self) -> str:
        """Unlike any other's."""

    @property
    def added_at_ms(self) -> int:
        """Another one after each change."""

    @property
    def draining(self) -> int:
        """It takes nothing new."""

    @property
    def capacity(self) -> int:
        """Runs at once."""

    @property
    def capabilities(self) -> str:
        """JSON, a list of words."""

    @property
    def region(self) -> str | None:
        """In somebody's own words."""

    @property
    def version(self) -> str | None:
        """As it said last."""


class Look(NamedTuple):
    """What was seen of a place when it was last looked at."""

    added_at_ms: int
    """Of the row that was looked at; another one of its name has not been."""
    health: Health
    version: str | None


R = TypeVar("R", bound=PlaceRow)


class Registry(Generic[R]):
    """One such table; every change rings its bell."""

    def __init__(self, row: type[R], table: str, bell: BellName) -> None:
        struct: Any = row  # a protocol cannot say that it is a struct
        names = columns(struct)
        self._struct = struct
        self._bell: BellName = bell
        self._q_all = f"SELECT {names} FROM {table} ORDER BY name"
        self._q_one = f"SELECT {names} FROM {table} WHERE name = ?"
        self._q_put = f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({placeholders(struct)})"
        self._q_remove = f"DELETE FROM {table} WHERE name = ?"
        self._q_drain = f"UPDATE {table} SET draining = ?2 WHERE name = ?1 AND draining <> ?2"

    def every(self, db: Snapshot) -> list[R]:
        """All of them, by name."""
        return rows.every(self._struct, db, self._q_all)

    def find(self, db: Snapshot, name: str) -> R | None:
        """The one of that name."""
        found: R | None = rows.first(self._struct, db, self._q_one, (name,))
        return found

    def put(self, tx: Tx, row: R) -> R:
        """Adds one, or replaces the one of that name, which goes on draining. Gives the row as it is now."""
        told: Any = row
        before = self.find(tx.db, row.name)
        later = tx.now_ms if before is None else max(tx.now_ms, before.added_at_ms + 1)
        draining = row.draining if before is None else before.draining
        made: Any = msgspec.structs.replace(told, added_at_ms=later, draining=draining)
        tx.execute(self._q_put, msgspec.structs.astuple(made))
        tx.ring(self._bell)
        put: R = made
        return put

    def remove(self, tx: Tx, name: str) -> None:
        """It is not there afterwards."""
        tx.execute(self._q_remove, (name,))
        tx.ring(self._bell)

    def drain(self, tx: Tx, name: str, *, on: bool) -> bool:
        """It takes nothing new, or again; False where that was so."""
        tx.execute(self._q_drain, (name, int(on)))
        tx.ring(self._bell)
        return tx.db.changes() > 0

    def same(self, db: Snapshot, asked: R) -> R | None:
        """The row as it is now, unless another one has its name."""
        row = self.find(db, asked.name)
        return row if row is not None and row.added_at_ms == asked.added_at_ms else None


def capabilities(row: PlaceRow) -> list[str]:
    """What a place was said to be able to."""
    return msgspec.json.decode(row.capabilities, type=list[str])


def place(row: PlaceRow, load: int, look: Look | None, pressure: float = placement.PRESSURE) -> Place:
    """What the row says, the attempts that were given to it, and the last look, where it was of this row."""
    if look is None or look.added_at_ms != row.added_at_ms:
        look = Look(row.added_at_ms, "unknown", None)
    return Place(
        row.name,
        row.capacity,
        load,
        health=look.health,
        draining=bool(row.draining),
        capabilities=frozenset(capabilities(row)),
        region=row.region,
        version=placement.parsed(look.version or row.version or ""),
        pressure=pressure,
    )
