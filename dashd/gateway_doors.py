"""Composition of runtime and proxy for gateways: one listener for all agents of a gateway, a key for each.

A key is known for as long as its gateway lives, and opens models only while an attempt of its agent is let
in. So a run that a gateway has begun by itself, or that goes on after its attempt, is refused: with 400, on
which OpenClaw ends it at once. Where an attempt of its agent is in, or about to come in again, and it is not
known whose run it is, with 503, on which it tries again.

The listener of a gateway in a jail comes out of that jail. That of an added one is on loopback, at a port
that stays the same over restarts while it can be had: `gateway` is then its door and which of its starts,
`added:desk@1f3a9c`, so that keys of an earlier start open nothing in the next.
"""

import errno
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import trio

from dashd.clock import Clock
from dashd.domain.speech import FormatName
from dashd.drivers.driver import ModelAccess
from dashd.jail.view import LISTENER_PORT
from dashd.model_doors import format_of, fresh_key, payer_of, what_is_told
from dashd.proxy import door as doors
from dashd.proxy import pace
from dashd.proxy.caller import Caller
from dashd.proxy.crowd import Crowd
from dashd.proxy.exchange import Exchange
from dashd.proxy.formats.format import Style
from dashd.proxy.rates import Limits, Rates
from dashd.store import agents, attempts, gateways, insist, proxy_keys, swarms
from dashd.store.opening import Store
from dashd.store.queue import Claim
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx

HOST = "127.0.0.1"
URL = f"http://{HOST}:{LISTENER_PORT}/v1"
BACKLOG = 128
FORMER_MAX = 1_000
"""Keys of earlier starts that are told apart from wrong ones."""
_log = logging.getLogger(__name__)


@dataclass
class _Served:
    """One gateway's door."""

    door: doors.Door
    url: str = URL
    digests: dict[str, list[bytes]] = field(default_factory=dict)
    """By agent; an agent may have been given another key."""
    inside: dict[str, tuple[str, Caller]] = field(default_factory=dict)
    """Agent to (attempt, caller) of those that are let in."""
    awaited: set[str] = field(default_factory=set)
    """Agents whose attempt goes on from an earlier daemon, and has not come in again."""
    held_off: bool = True
    names: dict[bytes, str] = field(default_factory=dict)
    """Which start of an added gateway a key was made for."""
    former: list[bytes] = field(default_factory=list)
    """Keys of its earlier starts, refused for good."""
    accepting: trio.CancelScope | None = None
    crowd: Crowd = field(default_factory=Crowd)
    rates: dict[str, Rates] = field(default_factory=dict)
    """By agent, over all that it is let in for: calls that are under way settle into the same ones."""

    def settle(self) -> None:
        """Makes the door what this says."""
        self.crowd.seat(len(self.digests))
        for agent_id, digests in self.digests.items():
            found = self.inside.get(agent_id)
            for digest in digests:
                if found is not None and not self.held_off:
                    self.door.admit(digest, found[1])
                else:
                    later = found is not None or agent_id in self.awaited
                    self.door.rest(digest, doors.LATER if later else doors.NEVER)
        for digest in self.former:
            self.door.rest(digest, doors.LATER if self.held_off else doors.NEVER)

    def put(self, agent_id: str, digest: bytes, gateway: str) -> None:
        """Another key of an agent's."""
        self.digests.setdefault(agent_id, []).append(digest)
        self.names[digest] = gateway

    def retire(self, gateway: str) -> None:
        """Keys that were not made for this start are those of an earlier one."""
        kept: dict[str, list[bytes]] = {}
        for agent_id, digests in self.digests.items():
            for digest in digests:
                if self.names.get(digest, gateway) == gateway:
                    kept.setdefault(agent_id, []).append(digest)
                else:
                    self.former.append(digest)
        self.digests, self.former = kept, self.former[-FORMER_MAX:]


class GatewayKeys:
    """`runtime.doors.GatewayDoors` over the proxy; all are served in `ring`, which outlives the runtime."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        exchange: Exchange,
        ring: trio.Nursery,
        style: Style,
        limits: Limits,
        speaks: Sequence[FormatName] = (),
    ) -> None:
        """`style` is how a gateway wants to be refused, `speaks` the formats in which it calls models;
        `limits` are each agent's own.
        """
        self._store = store
        self._clock = clock
        self._exchange = exchange
        self._ring = ring
        self._style = style
        self._limits = limits
        self._speaks = speaks
        self._served: dict[str, _Served] = {}
        self._formats: dict[str, dict[str, FormatName]] = {}
        """By door and agent: in which its gateway was told to call for it."""

    async def keys(
        self, gateway: str, swarm_id: str, agent_ids: Sequence[str], model: str | None
    ) -> dict[str, ModelAccess]:
        """See the protocol."""
        told = await what_is_told(self._exchange.registry, model, self._speaks)
        made = {agent_id: fresh_key(self._clock) for agent_id in agent_ids}

        def operation(tx: Tx) -> None:
            for agent_id, key in made.items():
                payer = payer_of(tx.db, swarm_id, agent_id, None)
                proxy_keys.insert(tx, doors.digest(key), payer.budget_id, agent_id, gateway)

        await self._write(operation)
        served = self._find(gateway)
        if served is not None:
            for agent_id, key in made.items():
                served.put(agent_id, doors.digest(key), gateway)
            served.settle()
        self._formats.setdefault(_door_of(gateway), {}).update(dict.fromkeys(made, told[2]))
        url = served.url if served is not None else URL
        return {agent_id: ModelAccess(url, key, *told) for agent_id, key in made.items()}

    async def serve(self, gateway: str, listener: socket.socket) -> None:
        """See the protocol."""
        try:
            listener.setblocking(False)
            digests, awaited = await self._store.own.read(
                lambda db: (proxy_keys.of_gateway(db, gateway), attempts.agents_within(db, gateway))
            )
            await self._serve(gateway, listener, _Served(self._door(), digests=digests, awaited=set(awaited)))
        except BaseException:
            listener.close()
            raise

    async def listen(self, door: str, place: str, port: int | None) -> int:
        """See the protocol."""
        listener = _bound(port)
        try:
            listener.setblocking(False)
            found, awaited = await self._store.own.read(
                lambda db: (proxy_keys.of_door(db, door), attempts.begun_at(db, place))
            )
            taken: int = listener.getsockname()[1]
            served = _Served(self._door(), f"http://{HOST}:{taken}/v1", awaited=set(awaited))
            for agent_id, digest, gateway in found:
                served.put(agent_id, digest, gateway)
            await self._serve(door, listener, served)
        except BaseException:
            listener.close()
            raise
        return taken

    async def _serve(self, door: str, listener: socket.socket, served: _Served) -> None:
        if (earlier := self._served.pop(door, None)) is not None and earlier.accepting is not None:
            earlier.accepting.cancel(reason="its holder was adopted again")
        self._served[door] = served
        served.settle()
        from dashd.proxy import server  # with h11 and http, by the first agent that needs a model

        serve = partial(server.serve, crowd=served.crowd)
        served.accepting = await self._ring.start(serve, listener, served.door, self._exchange)

    async def retire(self, gateway: str) -> None:
        """See the protocol."""
        if (served := self._find(gateway)) is not None:
            served.retire(gateway)
            served.settle()
        await self._write(lambda tx: proxy_keys.revoke_others(tx, _door_of(gateway), gateway))

    async def forget(self, gateway: str, agent_ids: Sequence[str]) -> None:
        """See the protocol."""
        for agent_id in agent_ids:
            self._formats.get(_door_of(gateway), {}).pop(agent_id, None)
        if (served := self._find(gateway)) is not None:
            for agent_id in agent_ids:
                served.rates.pop(agent_id, None)
                for digest in served.digests.pop(agent_id, ()):
                    served.door.revoke(digest)
                    served.door.rest(digest, doors.NEVER)

        def operation(tx: Tx) -> None:
            for agent_id in agent_ids:
                proxy_keys.revoke(tx, agent_id, gateway)

        await self._write(operation)

    def holders(self, gateway: str) -> set[str]:
        """See the protocol."""
        served = self._find(gateway)
        return set(served.digests) if served is not None else set()

    async def let_in(self, gateway: str, claim: Claim) -> None:
        """See the protocol."""
        payer = await self._store.own.read(
            lambda db: payer_of(db, claim.swarm_id, claim.agent_id, claim.task_id)
        )
        rates = await pace.rates_of(self._store, self._clock, payer, self._limits)
        caller = Caller(payer, self._style, rates=rates)
        if (served := self._find(gateway)) is None:
            return  # it has ended meanwhile, which the attempt hears of as well
        if caller.rates is not None:
            caller.rates = served.rates.setdefault(claim.agent_id, caller.rates)
        served.inside[claim.agent_id] = claim.attempt_id, caller
        served.awaited.discard(claim.agent_id)
        served.settle()
        await self.swap(claim.agent_id)

    async def swap(self, agent_id: str) -> None:
        """The agent's next try goes to the model of its row, or to what the call names where it has none."""
        row = await self._store.own.read(lambda db: agents.find(db, agent_id))
        for served in self._served.values():
            if row is not None and (found := served.inside.get(agent_id)) is not None:
                found[1].model = row.model
                self._exchange.registry.changed()

    async def spoken(self, agent_id: str) -> FormatName | None:
        """In which the gateway of the agent's swarm is told to call for it, before it runs as well: by the
        model of its swarm, and until that gateway ends. None where it needs none.
        """
        for told in self._formats.values():
            if agent_id in told:
                return told[agent_id]

        def query(db: Snapshot) -> tuple[str, str | None]:
            swarm = swarms.get(db, agents.get(db, agent_id).swarm_id)
            return swarm.mode, swarm.model

        mode, model = await self._store.own.read(query)
        if mode != gateways.MODE:
            return None
        return await format_of(self._exchange.registry, model, self._speaks)

    def hold_off(self, gateway: str, *, on: bool) -> None:
        """See the protocol."""
        if (served := self._find(gateway)) is not None:
            served.held_off = on
            served.settle()

    def keep_out(self, claim: Claim) -> None:
        """See the protocol."""
        for served in self._served.values():
            found = served.inside.get(claim.agent_id)
            if found is not None and found[0] == claim.attempt_id:
                del served.inside[claim.agent_id]
            if found is None or found[0] == claim.attempt_id:
                served.awaited.discard(claim.agent_id)
            served.settle()

    async def close(self, gateway: str) -> None:
        """See the protocol."""
        self._formats.pop(gateway, None)
        if (served := self._served.pop(gateway, None)) is not None:
            if served.accepting is not None:
                served.accepting.cancel(reason="the gateway is over")
            served.door.clear()
        await self._write(partial(proxy_keys.revoke_of_gateway, launch_id=gateway))

    async def shut(self, door: str) -> None:
        """See the protocol."""
        await self.close(door)
        await self._write(lambda tx: proxy_keys.revoke_others(tx, door, ""))

    def _door(self) -> doors.Door:
        return doors.Door(None, self._style)

    def _find(self, gateway: str) -> _Served | None:
        return self._served.get(_door_of(gateway))

    async def _write(self, operation: Callable[[Tx], None]) -> None:
        """A full disk delays it; it is shown by the runtime, which waits as well."""
        await insist.apply(self._store.writer, operation, _log.warning)


def _door_of(gateway: str) -> str:
    return gateway.partition("@")[0]


def _bound(port: int | None) -> socket.socket:
    """On this port where it can be had, else on any; not on that of a stranger's."""
    if port is not None:
        try:
            return socket.create_server((HOST, port), backlog=BACKLOG)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    return socket.create_server((HOST, 0), backlog=BACKLOG)
