"""`gateway.*`: gateways of Dash's own, and those that were added, which work for swarms without walls.

A token passes through on its way to its file, and never comes back.
"""

import ipaddress
import urllib.parse
from functools import partial

import msgspec

from dashd.domain import ids
from dashd.store import added_gateways, attempts, gateways, registry, seats
from dashd.store.added_gateways import AddedGatewayRow
from dashd.store.rows import GatewayRow, Snapshot
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.methods import gateway as wire

from . import places, reach
from .core import Caller, Core
from .place_ports import PlaceSeen

SCHEMES = ("ws", "http")
EXAMPLE = "ws://127.0.0.1:18789"
UNSEEN = PlaceSeen("unknown", "it has not been asked yet")


async def add(core: Core, _caller: Caller, params: wire.AddGateway) -> wire.Gateway:
    """Adds or replaces; the token is durable before the row says that it is there."""
    places.check_name("gateway", params.name, ids.GATEWAY, "desk, gpu-1")
    url = _address(params.url)
    if not params.unsafe_no_jail:
        raise errors.InvalidParams(
            "there are no walls of Dash's around a gateway that it did not start: its agents reach all that"
            " its user reaches, and can read its token",
            hint="say unsafe_no_jail where you want that; or mode: gateway, which starts one in a jail",
            path="unsafe_no_jail",
        )
    given = None if params.token is msgspec.UNSET else params.token
    command = None if params.token_command is msgspec.UNSET else params.token_command
    if (given is None) == (command is None):
        which = (
            "neither token nor token_command was" if given is None else "token and token_command were both"
        )
        raise errors.InvalidParams(f"{which} given", hint="give one of them", path="token")
    token = await core.gateways.obtain(given, command)
    row = AddedGatewayRow(
        name=params.name,
        url=url,
        secret="file" if given is not None else "command",
        command=None if command is None else msgspec.json.encode(command).decode(),
        capabilities=msgspec.json.encode(list(dict.fromkeys(params.capabilities))).decode(),
        region=None if params.region is msgspec.UNSET else params.region,
        capacity=params.capacity,
        added_at_ms=0,
    )
    async with core.gateways.changing:
        await core.store.reader.read(partial(_refuse, row))  # before another one's token is replaced
        if given is not None:
            await core.gateways.keep(row.name, token)
        row = await core.store.writer.apply(partial(_put, row))
        if given is None:
            await core.gateways.forget(row.name)
        await core.gateways.follow()
    load = await core.store.reader.read(lambda db: len(attempts.agents_at(db, row.name)))
    return _added(row, load, UNSEEN)


async def list_(core: Core, caller: Caller, _params: wire.GetGateways) -> wire.GatewayList:
    """Those that were added, then of Dash's own that have not ended whoever's the caller may be told of."""
    return wire.GatewayList(gateways=await _every(core, caller))


async def get(core: Core, caller: Caller, params: wire.NameGateway) -> wire.Gateway:
    """Raises NotFound."""
    return places.named("gateway", await _every(core, caller), params.name)


async def health(core: Core, caller: Caller, params: wire.NameGateway) -> wire.GatewayHealth:
    """Asks it now over a connection of its own, an added one with its token read anew. Raises NotFound."""
    places.named("gateway", await _every(core, caller), params.name)
    found = await core.gateways.ask(params.name)
    ok = found.health == "alive"
    return wire.GatewayHealth(
        name=params.name,
        ok=ok,
        health=found.health,
        text="it is ready and takes the token" if ok else found.why,
        latency_ms=found.latency_ms,
        version=found.version,
    )


async def drain(core: Core, _caller: Caller, params: wire.DrainGateway) -> wire.GatewayDrained:
    """What runs in it runs to its end, and can be waited for; a daemon that is to stop answers at once."""

    def operation(tx: Tx) -> bool:
        _check_added(tx.db, params.name, "drained: it ends with its swarm", "dashctl swarm pause")
        return added_gateways.drain(tx, params.name, on=params.on)

    changed = await core.store.writer.apply(operation)
    running = await places.running(core, params.name, params.wait_s if params.on else 0.0)
    return wire.GatewayDrained(name=params.name, changed=changed, running=running)


async def remove(core: Core, _caller: Caller, params: wire.NameGateway) -> wire.GatewayChanged:
    """The gateway itself is not touched; its token is gone when this returns. Raises Conflict while agents
    work in it.
    """

    def operation(tx: Tx) -> None:
        _check_added(tx.db, params.name, "removed: it ends with its swarm", "dashctl swarm destroy")
        places.refuse_busy(tx.db, "gateway", params.name, "removed")
        added_gateways.remove(tx, params.name)

    async with core.gateways.changing:
        await core.store.writer.apply(operation)
        await core.gateways.forget(params.name)
        await core.gateways.follow()
    return wire.GatewayChanged(name=params.name, changed=True)


def _put(row: AddedGatewayRow, tx: Tx) -> AddedGatewayRow:
    _refuse(row, tx.db)
    return added_gateways.put(tx, row)


def _refuse(row: AddedGatewayRow, db: Snapshot) -> None:
    places.refuse_taken(db, "gateway", row.name)
    for other in added_gateways.every(db):
        if other.url == row.url and other.name != row.name:
            raise errors.Conflict(
                f"{row.url} was added already, as {other.name}: its capacity would count twice",
                hint=f"use {other.name}; or dashctl gateway remove {other.name}, and then again",
                path="url",
            )
    before = added_gateways.find(db, row.name)
    if before is not None and before.url != row.url:
        places.refuse_busy(db, "gateway", row.name, "another one")


async def _every(core: Core, caller: Caller) -> list[wire.Gateway]:
    def query(
        db: Snapshot,
    ) -> tuple[list[AddedGatewayRow], dict[str, int], list[tuple[GatewayRow, str | None, int]]]:
        told = reach.seen(db, caller)
        own = [
            (row, attempts.launch(db, row.launch_id).grade, len(attempts.agents_within(db, row.launch_id)))
            for row in gateways.open_gateways(db)
            if told is None or row.swarm_id in told
        ]
        return added_gateways.every(db), attempts.open_by_place(db), own

    rows, loads, own = await core.store.reader.read(query)
    seen = core.gateways.seen()
    return [
        *(_added(row, loads.get(row.name, 0), seen.get(row.name, UNSEEN)) for row in rows),
        *(_own(row, grade, load, seen.get(row.launch_id, UNSEEN)) for row, grade, load in own),
    ]


def _added(row: AddedGatewayRow, load: int, seen: PlaceSeen) -> wire.Gateway:
    return wire.Gateway(
        name=row.name,
        kind="added",
        health=seen.health,
        why=seen.why,
        grade="0",
        swarm=None,
        url=row.url,
        secret=row.secret,  # type: ignore[arg-type]  # the table's CHECK is the wire's Literal
        capabilities=registry.capabilities(row),
        region=row.region,
        version=row.version,
        capacity=row.capacity,
        load=load,
        draining=bool(row.draining),
    )


def _own(row: GatewayRow, grade: str | None, load: int, seen: PlaceSeen) -> wire.Gateway:
    return wire.Gateway(
        name=row.launch_id,
        kind="own",
        health=seen.health,
        why=seen.why,
        grade=grade,
        swarm=row.swarm_id,
        url=None,
        secret="none",
        capabilities=[],
        region=None,
        version=seen.version,
        capacity=seats.AGENTS_MAX,  # its swarm's alone
        load=load,
        draining=False,
    )


def _check_added(db: Snapshot, name: str, what: str, instead: str) -> None:
    """Raises NotFound, and Unsupported for one of Dash's own."""
    known = [row.name for row in added_gateways.every(db)]
    if name in known:
        return
    own = {row.launch_id: row.swarm_id for row in gateways.open_gateways(db)}
    if name in own:
        raise errors.Unsupported(
            f"{name} is a swarm's own gateway and is not {what}", hint=f"{instead} {own[name]}", path="name"
        )
    raise places.unknown("gateway", name, known)


def _address(url: str) -> str:
    """The address as it is kept: `ws://`, numbers, a port. Raises InvalidParams and Unsupported."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urllib.parse.urlsplit("")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise errors.InvalidParams(
            "the address has a user, a query or a fragment in it; a token does not belong there",
            hint=EXAMPLE,
            path="url",
        )
    if not host or not port or parts.path not in ("", "/") or parts.scheme not in (*SCHEMES, "wss", "https"):
        raise errors.InvalidParams(
            f"{url!r} is not a gateway's address",
            hint=f"with its port, and without a path: {EXAMPLE}",
            path="url",
        )
    address = "127.0.0.1" if host == "localhost" else host
    if not _is_loopback(address):
        raise errors.Unsupported(
            f"{host} is no loopback address (127.0.0.1, ::1), and only those are taken: agents elsewhere"
            " could not reach the model proxy, which listens on loopback alone",
            hint=f"for a gateway on this host: ws://127.0.0.1:{port}",
            path="url",
        )
    found = f"ws://[{address}]:{port}" if ":" in address else f"ws://{address}:{port}"
    if parts.scheme not in SCHEMES:
        raise errors.Unsupported(
            f"{parts.scheme} is TLS, which dashd does not speak with gateways: all of it stays on this host",
            hint=f"{found}, with TLS off in the gateway",
            path="url",
        )
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
