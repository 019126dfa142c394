"""Table `added_gateway`: gateways that Dash did not start. Tokens are not here; a row says where one is kept.

Health is not here either, since nobody knows it after a start; only what the last event said of it, so that
nothing is told twice.
"""

from collections.abc import Mapping

import msgspec

from dashd.domain.placement import Place

from . import attempts, registry
from .registry import Look, Registry
from .rows import Snapshot
from .transaction import Tx


class AddedGatewayRow(msgspec.Struct, frozen=True):
    """Table `added_gateway`."""

    name: str
    url: str
    secret: str
    command: str | None
    capabilities: str
    region: str | None
    capacity: int
    added_at_ms: int
    draining: int = 0
    told: str = ""
    boot_id: str | None = None
    version: str | None = None
    port: int | None = None


_table = Registry(AddedGatewayRow, "added_gateway", "gateways")
every, find, remove = _table.every, _table.find, _table.remove
_q_up = "UPDATE added_gateway SET told = 'up', boot_id = ?2, version = ?3 WHERE name = ?1"
_q_port = "UPDATE added_gateway SET port = ?2 WHERE name = ?1"
_q_down = "UPDATE added_gateway SET told = 'down' WHERE name = ?1"


def places(db: Snapshot, looks: Mapping[str, Look]) -> list[Place]:
    """All of them as places: what the rows say, the attempts that were given to them, and the last look."""
    loads = attempts.open_by_place(db)
    return [registry.place(row, loads.get(row.name, 0), looks.get(row.name)) for row in every(db)]


def put(tx: Tx, row: AddedGatewayRow) -> AddedGatewayRow:
    """Adds one, or replaces the one of that name, which goes on draining. Gives the row as it is now."""
    before = find(tx.db, row.name)
    made = _table.put(tx, row if before is None else msgspec.structs.replace(row, port=before.port))
    tx.ring("queue")  # it may have more room
    return made


def drain(tx: Tx, name: str, *, on: bool) -> bool:
    """It takes nothing new, or again; False where that was so. The first is told."""
    if not _table.drain(tx, name, on=on):
        return False
    if on:
        tx.emit("gateway.draining", data={"gateway": name})
    else:
        tx.ring("queue")
    return True


def set_port(tx: Tx, name: str, port: int) -> None:
    """Its agents' way to a model is there from now on."""
    tx.execute(_q_port, (name, port))


def set_up(tx: Tx, asked: AddedGatewayRow, boot_id: str, version: str) -> None:
    """It has answered; told where that is news: it was not known to be up, or has begun again.

    `asked` is the row that was asked: what became of another one of its name is not touched.
    """
    row = _table.same(tx.db, asked)
    if row is None or (row.told == "up" and row.boot_id == boot_id):
        return
    data = {"gateway": row.name, "version": version, "restarted": row.boot_id not in (None, boot_id)}
    tx.execute(_q_up, (row.name, boot_id, version))
    tx.emit("gateway.up", data=data)


def set_down(tx: Tx, asked: AddedGatewayRow, reason: str) -> None:
    """It counts as dead; told once. See `set_up`."""
    row = _table.same(tx.db, asked)
    if row is None or row.told == "down":
        return
    tx.execute(_q_down, (row.name,))
    tx.emit("gateway.down", data={"gateway": row.name, "reason": reason})


def door(name: str) -> str:
    """What its listener at the proxy is called; no launch is called like that."""
    return f"added:{name}"


def command(row: AddedGatewayRow) -> list[str]:
    """What prints the token; empty where it is in a file."""
    return msgspec.json.decode(row.command or "[]", type=list[str])
