"""Composition of runtime and proxy: each attempt that needs a model gets a listener and a key of its own.

The listener proves whose call it is, the key names the agent behind it; the key is durable, as a hash, before
the agent has it, and revoked with the attempt's end. An agent with a network namespace has its listener in
there; otherwise it is on the loopback address, where any program of the machine can connect, but not without
the key.
"""

import contextlib
import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import trio

from dashd.clock import Clock
from dashd.domain import asking
from dashd.domain.scope import reached_hosts
from dashd.domain.speech import USUAL, FormatName
from dashd.drivers.driver import ModelAccess
from dashd.jail.view import LISTENER_PORT
from dashd.proxy import door as doors
from dashd.proxy import pace, ways
from dashd.proxy.asks import Desk
from dashd.proxy.caller import Caller, Traffic
from dashd.proxy.exchange import Exchange
from dashd.proxy.formats.format import Style
from dashd.proxy.ledger import Payer
from dashd.proxy.rates import Limits
from dashd.proxy.registry import Registry
from dashd.proxy.tunnel import Tunnels, environment
from dashd.runtime.doors import OpenDoor
from dashd.store import agents, audit, budgets, insist, proxy_keys, swarms
from dashd.store.opening import Store
from dashd.store.queue import Claim
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx
from dashd.wire import errors

Judge = Callable[[Claim, asking.Ask], Awaitable[asking.Answer]]
KEY_BITS = 256
BACKLOG = 64
_log = logging.getLogger(__name__)


class ModelDoors:
    """`runtime.doors.Doors` over the proxy; every door is served in `ring`, which outlives the runtime."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        exchange: Exchange,
        tunnels: Tunnels,
        ring: trio.Nursery,
        styles: Mapping[str, Style],
        limits: Limits = Limits(),  # noqa: B008  # frozen
        speaks: Mapping[str, Sequence[FormatName]] = MappingProxyType({}),
    ) -> None:
        """`styles` says by driver how its program wants to be refused, `speaks` in which formats it calls
        models; `limits` are each agent's own.
        """
        self._store = store
        self._clock = clock
        self._exchange = exchange
        self._tunnels = tunnels
        self._ring = ring
        self._styles = styles
        self._limits = limits
        self._speaks = speaks
        self.judge: Judge | None = None
        """Who answers what an agent asks before it acts; set before the first door opens."""
        self._open: dict[str, trio.CancelScope] = {}
        """By attempt, like the doors: a seat's next attempt may begin before the last one's door is shut."""
        self._doors: dict[str, doors.Door] = {}
        self._keys: dict[str, list[tuple[bytes, doors.Door]]] = {}
        self._seats: dict[str, str] = {}
        """The attempt whose door is its agent's now."""
        self._formats: dict[str, tuple[str, FormatName]] = {}
        """(its attempt, what that one's program was told to call in) of an agent."""
        self._swapping = trio.Lock()

    async def open(self, claim: Claim, model: str | None, *, inside: bool, calls: bool) -> OpenDoor:
        """A fresh listener on a free port, served already; or the key alone, for one that a jail opens."""
        key = fresh_key(self._clock)
        payer, hosts, driver, own = await self._store.own.read(
            lambda db: (
                _payer(db, claim),
                _hosts(db, claim),
                swarms.get(db, claim.swarm_id).driver,
                agents.get(db, claim.agent_id).model,
            )
        )
        style, formats = self._styles[driver], self._speaks.get(driver, ())
        told = await what_is_told(self._exchange.registry, model, formats, given=own)
        await self._write(
            lambda tx: proxy_keys.insert(
                tx, doors.digest(key), payer.budget_id, claim.agent_id, claim.attempt_id
            )
        )
        self._formats[claim.agent_id] = claim.attempt_id, told[2]
        if inside:
            access = ModelAccess(f"http://127.0.0.1:{LISTENER_PORT}/v1", key, *told)
            return OpenDoor(None, access, environment(LISTENER_PORT, key) if hosts else {})
        listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        try:
            listener.setblocking(False)
            port = listener.getsockname()[1]
            door = doors.Door(None, style)
            caller = await self._caller(claim, payer, hosts, style, calls=calls)
            door.admit(doors.digest(key), caller)
            await self._serve(claim, listener.dup(), door, [doors.digest(key)])
        except BaseException:
            self._forget_format(claim)
            listener.close()
            raise
        access = ModelAccess(f"http://127.0.0.1:{port}/v1", key, *told)
        return OpenDoor(listener, access, environment(port, key) if hosts else {})

    async def resume(self, claim: Claim, listener: socket.socket, *, calls: bool) -> None:
        """What connected while dashd was away waits in the backlog, and is answered now."""

        def query(db: Snapshot) -> tuple[Payer, tuple[str, ...], Style, list[bytes]]:
            digests = proxy_keys.of_attempt(db, claim.agent_id, claim.attempt_id)
            return _payer(db, claim), _hosts(db, claim), self._style(db, claim), digests

        try:
            payer, hosts, style, digests = await self._store.own.read(query)
            caller = await self._caller(claim, payer, hosts, style, calls=calls)
        except BaseException:
            listener.close()
            raise
        door = doors.Door(None, style)
        for digest in digests:
            door.admit(digest, caller)
        listener.setblocking(False)
        await self._serve(claim, listener, door, digests)

    async def close(self, claim: Claim) -> None:
        """Accepting ends at once; calls under way are settled by their own tasks."""
        if scope := self._open.pop(claim.attempt_id, None):
            scope.cancel(reason="the attempt has ended")
        self._doors.pop(claim.attempt_id, None)
        self._forget_format(claim)
        for digest, door in self._keys.pop(claim.attempt_id, ()):
            door.revoke(digest)  # a connection that was kept open hears 401 from now on
        if self._seats.get(claim.agent_id) == claim.attempt_id:
            del self._seats[claim.agent_id]
        await self._write(lambda tx: proxy_keys.revoke(tx, claim.agent_id, claim.attempt_id))

    async def swap(self, agent_id: str) -> None:
        """The agent's next try goes to the model of its row, or to what the call names where it has none; so
        does a call that is parked.
        """
        async with self._swapping:  # so that whoever reads last also sets last
            row = await self._store.own.read(lambda db: agents.find(db, agent_id))
            door = self._doors.get(self._seats.get(agent_id, ""))
            for caller in door.callers() if row is not None and door is not None else ():
                caller.model = row.model if row is not None else None
            self._exchange.registry.swapped()

    async def spoken(self, agent_id: str) -> FormatName | None:
        """In which the program that the agent runs was told to call. After a restart that is computed anew,
        from its row: nobody gives a running agent a model that is not served in its format.
        """
        attempt_id = self._seats.get(agent_id)
        if agent_id not in self._formats and attempt_id is not None:

            def query(db: Snapshot) -> tuple[str, str | None]:
                row = agents.get(db, agent_id)
                swarm = swarms.get(db, row.swarm_id)
                return swarm.driver, row.model or swarm.model

            driver, model = await self._store.own.read(query)
            registry, formats = self._exchange.registry, self._speaks.get(driver, ())
            form = await format_of(registry, model, formats)
            if self._seats.get(agent_id) == attempt_id:  # it has not ended meanwhile
                self._formats.setdefault(agent_id, (attempt_id, form))
        found = self._formats.get(agent_id)
        return found[1] if found else None

    def _forget_format(self, claim: Claim) -> None:
        if self._formats.get(claim.agent_id, ("", ""))[0] == claim.attempt_id:
            del self._formats[claim.agent_id]

    async def _serve(
        self, claim: Claim, listener: socket.socket, door: doors.Door, digests: list[bytes]
    ) -> None:
        if (earlier := self._open.pop(claim.attempt_id, None)) is not None:
            earlier.cancel(reason="its holder was adopted again")
        self._doors[claim.attempt_id] = door
        self._keys[claim.attempt_id] = [(digest, door) for digest in digests]
        self._seats[claim.agent_id] = claim.attempt_id
        try:
            await self.swap(claim.agent_id)
            from dashd.proxy import server  # with h11 and http, by the first agent that needs a model

            serve = partial(server.serve, tunnels=self._tunnels)
            scope = await self._ring.start(serve, listener, door, self._exchange)
        except BaseException:
            listener.close()
            raise
        self._open[claim.attempt_id] = scope

    async def _caller(
        self, claim: Claim, payer: Payer, hosts: tuple[str, ...], style: Style, *, calls: bool
    ) -> Caller:
        traffic = Traffic()
        if hosts:  # what earlier attempts of the agent have moved counts, before a restart too
            query = partial(audit.tunnelled_bytes, agent_id=claim.agent_id)
            traffic.bytes = await self._store.own.read(query)
        if not calls:  # it has a key for its hosts alone, and asks nothing
            return Caller(payer, style, calls=False, hosts=hosts, traffic=traffic)
        rates = await pace.rates_of(self._store, self._clock, payer, self._limits)
        desk = Desk(partial(self.judge, claim)) if self.judge is not None else None
        return Caller(payer, style, rates=rates, hosts=hosts, traffic=traffic, desk=desk)

    def _style(self, db: Snapshot, claim: Claim) -> Style:
        return self._styles[swarms.get(db, claim.swarm_id).driver]

    async def _write(self, operation: Callable[[Tx], None]) -> None:
        """A full disk delays it; it is shown by the runtime, which waits as well."""
        await insist.apply(self._store.writer, operation, _log.warning)


def fresh_key(clock: Clock) -> str:
    """A new agent's key; it is known by its digest alone."""
    return f"dk_{clock.token(KEY_BITS):064x}"


def payer_of(db: Snapshot, swarm_id: str, agent_id: str, task_id: str | None) -> Payer:
    """The agent's own budget; its swarm's where it has none."""
    own = budgets.find(db, agent_id) or budgets.find(db, swarm_id)
    return Payer(own.id if own else budgets.PROJECT, swarm_id, agent_id, task_id)


async def what_is_told(
    registry: Registry, model: str | None, formats: Sequence[FormatName], *, given: str | None = None
) -> tuple[str, int | None, FormatName]:
    """(the model that an agent is to call, what it takes, in which of `formats` it is called): `model`, else
    the usual one. Where it was `given` another one its calls go to that, whatever they name. Raises OSError
    where the price list is needed for it and cannot be read.
    """
    try:
        await registry.prepare()
        name = model or registry.default(formats)[0]
        form = _format(registry, given or name, formats)
        return name, registry.context_tokens(given or name, form), form
    except errors.Unavailable as error:
        raise OSError(errno.EAGAIN, error.message) from None


async def format_of(registry: Registry, model: str | None, formats: Sequence[FormatName]) -> FormatName:
    """In which of `formats` an agent is told to call `model`, else the usual one."""
    await registry.prepare()
    return _format(registry, model or registry.default(formats)[0], formats)


def _format(registry: Registry, name: str, formats: Sequence[FormatName]) -> FormatName:
    """A model that nobody serves in any of them now is called all the same, and the proxy says what is wrong:
    it may be another one by then.
    """
    way = None
    with contextlib.suppress(errors.InvalidParams):
        way = ways.find(registry.chain(name, formats=formats), formats)
    return way.format if way else (*formats, USUAL)[0]


def _hosts(db: Snapshot, claim: Claim) -> tuple[str, ...]:
    """What its swarm's scope lets it reach; nothing without walls, which keep it to that."""
    swarm = swarms.get(db, claim.swarm_id)
    if not swarm.scope or swarm.walls != "required":
        return ()
    return reached_hosts(agents.scope_of(agents.get(db, claim.agent_id), swarm))


def _payer(db: Snapshot, claim: Claim) -> Payer:
    return payer_of(db, claim.swarm_id, claim.agent_id, claim.task_id)
