"""Table `instance`: places where Pis run. Those of source `auto-spawn` are this machine's seats, and Dash
makes and ends them; a `static` one is another installation of Pi, that somebody has added.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec

from dashd.domain import placement
from dashd.domain.placement import Place

from . import attempts, queue, registry, swarms
from .registry import Look, Registry
from .rows import Snapshot
from .transaction import Tx

DRIVER = "pi"
"""Whose agents they are for."""
LOCAL = "local"
"""The place of all of this machine's seats, where they are not divided."""
OWN = re.compile(rf"{LOCAL}(-[0-9]+)?")
"""What Dash calls its own."""


class InstanceRow(msgspec.Struct, frozen=True):
    """Table `instance`."""

    name: str
    source: str
    program: str | None
    capabilities: str
    region: str | None
    capacity: int
    added_at_ms: int = 0
    draining: int = 0
    told: str = ""
    stamp: str = ""
    version: str | None = None

    @property
    def is_static(self) -> bool:
        """Somebody has added it."""
        return self.source == "static"


_table = Registry(InstanceRow, "instance", "instances")
every, find, put = _table.every, _table.find, _table.put
_q_up = "UPDATE instance SET told = 'up', stamp = ?2, version = ?3 WHERE name = ?1"
_q_down = "UPDATE instance SET told = 'down' WHERE name = ?1"
_q_version = "UPDATE instance SET stamp = ?2, version = ?3 WHERE name = ?1"
_q_capacity = "UPDATE instance SET capacity = ?2 WHERE name = ?1"


def own(name: str, capacity: int, like: Sequence[InstanceRow] = ()) -> InstanceRow:
    """Seats of this machine's, that are not there yet; they run what those run that are."""
    row = InstanceRow(name, "auto-spawn", None, "[]", None, capacity)
    for each in like[:1]:
        row = msgspec.structs.replace(row, told=each.told, stamp=each.stamp, version=each.version)
    return row


def places(db: Snapshot, looks: Mapping[str, Look]) -> list[Place]:
    """All of them as places: what the rows say, the attempts that were given to them, and the last looks."""
    loads = attempts.open_by_place(db)
    return [_place(row, loads.get(row.name, 0), looks.get(row.name)) for row in every(db)]


def program(db: Snapshot, place: str | None) -> str:
    """What an attempt in that place runs, where it is not the one that Dash finds."""
    row = None if place is None else find(db, place)
    return row.program or "" if row is not None else ""


def waiting(db: Snapshot, agents_max: int, like: Sequence[InstanceRow] = ()) -> list[str]:
    """The task of each swarm that the queue would give away next, had its agents one more place `like` these;
    none where the daemon has no slot left either, or these are dead, as one more would be.
    """
    one_more = own("", 1, like)
    if attempts.open_count(db) >= agents_max or one_more.told == "down":
        return []
    place = _place(one_more, 0, Look(one_more.added_at_ms, "alive", one_more.version))

    def fits(swarm_id: str) -> bool:
        wanted = placement.demand(swarms.terms(swarms.get(db, swarm_id)), swarm_id, None)
        return placement.misfit(place, wanted) is None

    return [task.id for task, _ in queue.heads(db, driver=DRIVER) if fits(task.swarm_id)]


def seats(db: Snapshot) -> list[InstanceRow]:
    """The places of this machine's own, by name."""
    return [row for row in every(db) if not row.is_static]


def remove(tx: Tx, name: str) -> None:
    """It is not there afterwards; what it might have taken is looked at again."""
    _table.remove(tx, name)
    tx.ring("queue")


def drain(tx: Tx, name: str, *, on: bool, why: str = "") -> bool:
    """It takes nothing new, or again; False where that was so. Told."""
    if not _table.drain(tx, name, on=on):
        return False
    data = {"instance": name, "draining": on}
    tx.emit("system.config", data=data | ({"why": why} if why else {}))
    tx.ring("queue")
    return True


def resize(tx: Tx, row: InstanceRow, capacity: int) -> None:
    """It has so many seats from now on."""
    if row.capacity != capacity:
        tx.execute(_q_capacity, (row.name, capacity))
        tx.ring("queue")


def set_up(tx: Tx, looked_at: InstanceRow, stamp: str, version: str | None) -> None:
    """It can start a Pi; told where that is news: it was not known to, or is of another version now. Of this
    machine's own it is news where it could not.

    `looked_at` is the row that was looked at: what became of another one of its name is not touched.
    """
    row = _table.same(tx.db, looked_at)
    if row is None:
        return
    if row.told == "down" or (row.is_static and (row.told != "up" or row.version != version)):
        tx.emit("system.config", data={"instance": row.name, "health": "alive", "version": version})
    if (row.told, row.stamp, row.version) != ("up", stamp, version):
        tx.execute(_q_up, (row.name, stamp, version))


def set_down(tx: Tx, looked_at: InstanceRow, reason: str) -> None:
    """It counts as dead; told once, and of this machine's own only where there was a Pi. See `set_up`."""
    row = _table.same(tx.db, looked_at)
    if row is None or row.told == "down":
        return
    tx.execute(_q_down, (row.name,))
    if row.is_static or row.told:
        tx.emit("system.alert", data={"instance": row.name, "health": "dead", "reason": reason})


def set_version(tx: Tx, stamp: str, version: str | None) -> None:
    """What the Pi says that Dash finds here, which all of this machine's seats run. Nothing is told."""
    for row in seats(tx.db):
        if (row.stamp, row.version) != (stamp, version):
            tx.execute(_q_version, (row.name, stamp, version))
            tx.ring("queue")


def _place(row: InstanceRow, load: int, look: Look | None) -> Place:
    """Seats of this machine's own are bounded by it, not by their pressure."""
    return registry.place(row, load, look, pressure=placement.PRESSURE if row.is_static else 1.0)
