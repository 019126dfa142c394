"""Composition of keys and proxy: one listener on the loopback address for programs outside.

It opens with the first key and not before: a machine on which nobody asked for it has no port of ours open,
and who makes a key needs no configuration and no restart. The key is the identity (design: a listener and a
key); there is one door for all of them. It shuts when the last key was revoked.
"""

import logging
import socket

import trio

from dashd.clock import Clock
from dashd.proxy import pace
from dashd.proxy.caller import Caller
from dashd.proxy.door import Door
from dashd.proxy.exchange import Exchange
from dashd.proxy.ledger import Payer
from dashd.proxy.rates import Limits
from dashd.store import access_keys, budgets, insist
from dashd.store.access_keys import KeyRow
from dashd.store.bells import Bell
from dashd.store.opening import Store
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
BACKLOG = 128
USED_EVERY_S = 60.0
"""How often a key's last use is written down at most."""
REMEDY = (
    "a key's own limits are set when it is made; proxy.key_{limit} in dashd's configuration is the default"
)


class KeyDoor(Door):
    """The callers outside; it knows when each key ends, and tells of each use."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(None, "outside")
        self.until_ms: dict[int, int] = {}
        """By caller (`id`), where its key expires."""
        self.names: dict[int, str] = {}
        self.used: dict[str, int] = {}
        """Key id to the instant of a use that is not written down yet."""
        self.last_used: dict[str, int] = {}
        """The same of every use since the start, of keys that open this door."""
        self.uses = Bell()
        self._clock = clock

    def find(self, key: str) -> Caller | None:
        """See Door; an expired key opens nothing."""
        caller, now_ms = super().find(key), self._clock.now_ms()
        if caller is None or now_ms >= self.until_ms.get(id(caller), now_ms + 1):
            return None
        key_id = self.names[id(caller)]
        self.used[key_id] = self.last_used[key_id] = now_ms
        self.uses.ring()
        return caller


class OutsideDoor:
    """`service.ports.Outside`: the door as the rows say; served in `ring`."""

    def __init__(
        self, store: Store, clock: Clock, exchange: Exchange, ring: trio.Nursery, *, port: int, limits: Limits
    ) -> None:
        """`limits` are those of keys that have none of their own; port 0 is any free one."""
        self.url = ""
        self.problem = ""
        self._store = store
        self._clock = clock
        self._exchange = exchange
        self._ring = ring
        self._port = port
        self._limits = limits
        self._door = KeyDoor(clock)
        self._callers: dict[str, Caller] = {}
        self._accepting: trio.CancelScope | None = None
        self._following = trio.Lock()

    async def follow(self) -> None:
        """See the port. At a start, and after each change of a key."""
        async with self._following:
            now_ms = self._clock.now_ms()
            found = await self._store.own.read(
                lambda db: [(row, _payer(db, row)) for row in access_keys.live(db)]
            )
            good = [(row, payer) for row, payer in found if payer is not None and row.good(now_ms)]
            for row, payer in good:
                if row.id not in self._callers:
                    self._callers[row.id] = await self._caller(row, payer)
            self._callers = {row.id: self._callers[row.id] for row, _ in good}
            self._admit([row for row, _ in good], now_ms)
            await (self._open() if good else self._shut())

    async def follow_swarms(self) -> None:
        """Shuts out the keys of swarms that have ended, until cancelled."""
        while True:
            ticket = self._store.bells.swarms.ticket()
            await self.follow()
            await ticket.wait()

    def last_used_ms(self, key_id: str) -> int | None:
        """See the port."""
        return self._door.last_used.get(key_id)

    async def write_uses(self) -> None:
        """Writes down when keys were used, at most once a minute, until cancelled."""
        while True:
            ticket = self._door.uses.ticket()
            used, self._door.used = self._door.used, {}
            if not used:
                await ticket.wait()
                continue

            def operation(tx: Tx, used: dict[str, int] = used) -> None:
                for key_id, at_ms in used.items():
                    access_keys.used(tx, key_id, at_ms)

            await insist.apply(self._store.writer, operation, log.warning)
            await trio.sleep(USED_EVERY_S)

    def _admit(self, rows: list[KeyRow], now_ms: int) -> None:
        """The door's keys are those of the rows, no others."""
        door = self._door
        door.clear()
        door.until_ms.clear()
        door.names.clear()
        # One that has just been revoked is shown by what is written down, within a minute.
        good = {row.id for row in rows}
        door.last_used = {key_id: at_ms for key_id, at_ms in door.last_used.items() if key_id in good}
        for row in rows:
            caller = self._callers[row.id]
            door.admit(bytes.fromhex(row.hash), caller)
            door.names[id(caller)] = row.id
            if row.expires_at_ms is not None:
                door.until_ms[id(caller)] = row.expires_at_ms
            if row.old_hash is not None and row.old_until_ms is not None and now_ms < row.old_until_ms:
                before = Caller(caller.payer, caller.style, caller.model, caller.rates)
                door.admit(bytes.fromhex(row.old_hash), before)
                door.names[id(before)] = row.id
                door.until_ms[id(before)] = min(row.old_until_ms, row.expires_at_ms or row.old_until_ms)

    async def _caller(self, row: KeyRow, payer: Payer) -> Caller:
        limits = Limits(
            requests_per_minute=_limit(row.requests_per_minute, self._limits.requests_per_minute),
            requests_per_day=_limit(row.requests_per_day, self._limits.requests_per_day),
            tokens_per_minute=_limit(row.tokens_per_minute, self._limits.tokens_per_minute),
            tokens_per_day=_limit(row.tokens_per_day, self._limits.tokens_per_day),
        )
        rates = await pace.rates_of(self._store, self._clock, payer, limits, remedy=REMEDY)
        return Caller(payer, "outside", model=row.model, rates=rates)

    async def _open(self) -> None:
        if self._accepting is not None:
            return
        from dashd.proxy import server  # with h11, by the first key

        try:
            listener = socket.create_server((HOST, self._port), backlog=BACKLOG)
        except OSError as error:
            self.problem = (
                f"{HOST}:{self._port} cannot be had ({error.strerror}); set proxy.port (DASH_PROXY_PORT) to"
                " another one, or to 0 for any that is free, and restart dashd"
            )
            log.warning("the door for programs outside stays shut: %s", self.problem)
            return
        listener.setblocking(False)
        self.url, self.problem = f"http://{HOST}:{listener.getsockname()[1]}/v1", ""
        self._accepting = await self._ring.start(server.serve, listener, self._door, self._exchange)

    async def _shut(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel(reason="no key is left")
        self._accepting, self.url, self.problem = None, "", ""
        await trio.lowlevel.checkpoint()


def _payer(db: Snapshot, row: KeyRow) -> Payer | None:
    if row.kind != "proxy" or row.budget_id is None:
        return None
    swarm_id = budgets.get(db, row.budget_id).swarm_id
    return Payer(row.budget_id, swarm_id, key_id=row.id, key_name=row.name)


def _limit(own: int | None, configured: int | None) -> int | None:
    """A key's own limit, of which 0 is none, else the configured one."""
    return configured if own is None else own or None
