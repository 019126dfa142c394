"""`instance.*`: places where Pis run: this machine's own seats, and other installations that were added.

The former are made and ended by the runtime (runtime/instance_seats.py), as the settings say; they can be
drained, and are neither added nor removed here.
"""

import msgspec

from dashd.store import attempts, instances, registry
from dashd.store.instances import InstanceRow
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.methods import instance as wire

from . import places
from .core import Caller, Core
from .place_ports import PlaceSeen

UNSEEN = PlaceSeen("unknown", "it has not been looked at yet")
SETTINGS = "programs.pi_instances_min and programs.pi_instances_max say how many there are"


async def add(core: Core, _caller: Caller, params: wire.AddInstance) -> wire.Instance:
    """Adds or replaces; what runs in the former one of its name runs on."""
    places.check_name("instance", params.name, instances.OWN, "next, pi-2")
    _check_source(params.source)
    if params.program is msgspec.UNSET:
        raise errors.InvalidParams(
            "no program was given", hint="the absolute path of its cli.js", path="program"
        )
    row = InstanceRow(
        name=params.name,
        source="static",
        program=await core.instances.place(params.program),
        capabilities=msgspec.json.encode(list(dict.fromkeys(params.capabilities))).decode(),
        region=None if params.region is msgspec.UNSET else params.region,
        capacity=params.capacity,
    )
    async with core.instances.changing:
        row = await core.store.writer.apply(lambda tx: _put(tx, row))
        await core.instances.follow()
    load = await core.store.reader.read(lambda db: len(attempts.agents_at(db, row.name)))
    return _shown(row, UNSEEN, load)


def _put(tx: Tx, row: InstanceRow) -> InstanceRow:
    places.refuse_taken(tx.db, "instance", row.name)
    return instances.put(tx, row)


async def list_(core: Core, _caller: Caller, _params: wire.GetInstances) -> wire.InstanceList:
    """All of them, by name."""
    return wire.InstanceList(instances=await _every(core))


async def get(core: Core, _caller: Caller, params: wire.NameInstance) -> wire.Instance:
    """Raises NotFound."""
    return places.named("instance", await _every(core), params.name)


async def health(core: Core, _caller: Caller, params: wire.NameInstance) -> wire.InstanceHealth:
    """Looks at it now; its version is asked where its files have changed."""
    shown = places.named("instance", await _every(core), params.name)
    mute = "" if shown.source == "static" else await core.instances.look_here()
    found = await core.instances.look(params.name)
    ok = found.health == "alive" and not mute
    return wire.InstanceHealth(
        name=params.name,
        ok=ok,
        health=found.health,
        text="it can start a Pi" if ok else found.why or mute,
        latency_ms=found.latency_ms,
        version=found.version,
    )


async def drain(core: Core, _caller: Caller, params: wire.DrainInstance) -> wire.InstanceDrained:
    """What runs in it runs to its end, and can be waited for; a daemon that is to stop answers at once."""

    def operation(tx: Tx) -> bool:
        _found(tx.db, params.name)
        return instances.drain(tx, params.name, on=params.on)

    changed = await core.store.writer.apply(operation)
    running = await places.running(core, params.name, params.wait_s if params.on else 0.0)
    return wire.InstanceDrained(name=params.name, changed=changed, running=running)


async def remove(core: Core, _caller: Caller, params: wire.NameInstance) -> wire.InstanceChanged:
    """Its program is not touched. Refused while anything runs in it."""

    def operation(tx: Tx) -> None:
        if not _found(tx.db, params.name).is_static:
            raise errors.Unsupported(
                f"{params.name} is this machine's own and is not removed", hint=SETTINGS, path="name"
            )
        places.refuse_busy(tx.db, "instance", params.name, "removed")
        instances.remove(tx, params.name)

    async with core.instances.changing:
        await core.store.writer.apply(operation)
        await core.instances.follow()
    return wire.InstanceChanged(name=params.name, changed=True)


async def _every(core: Core) -> list[wire.Instance]:
    def query(db: Snapshot) -> tuple[list[InstanceRow], dict[str, int]]:
        return instances.every(db), attempts.open_by_place(db)

    rows, loads = await core.store.reader.read(query)
    here, seen = await core.instances.here(), core.instances.seen()
    return [
        _shown(
            row if row.is_static else msgspec.structs.replace(row, program=here),
            seen.get(row.name, UNSEEN),
            loads.get(row.name, 0),
        )
        for row in rows
    ]


def _shown(row: InstanceRow, seen: PlaceSeen, load: int) -> wire.Instance:
    return wire.Instance(
        name=row.name,
        source=row.source,  # type: ignore[arg-type]  # the table's CHECK is the wire's Literal
        health=seen.health,
        why=seen.why,
        program=row.program,
        capabilities=registry.capabilities(row),
        region=row.region,
        version=seen.version or row.version,
        capacity=row.capacity,
        load=load,
        draining=bool(row.draining),
    )


def _found(db: Snapshot, name: str) -> InstanceRow:
    row = instances.find(db, name)
    if row is None:
        raise places.unknown("instance", name, [each.name for each in instances.every(db)])
    return row


def _check_source(source: wire.Source) -> None:
    if source == "auto-spawn":
        raise errors.InvalidParams(
            "instances of auto-spawn are made by Dash itself, and not added", hint=SETTINGS, path="source"
        )
    if source == "gateway":
        raise errors.Unsupported(
            "Pis behind a Dash on another host need its HTTP gateway, which does not exist yet",
            hint="add an installation of Pi on this host: source static, with its program",
            path="source",
        )
