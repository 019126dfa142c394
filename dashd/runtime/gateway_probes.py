"""Asks the gateways that were added, in rounds, whether they are ready and take their token.

One that has taken no work, though it answers, is asked at once and gets none for a while: a longer one each
time, and until it has answered well after it.

Each change of what can be relied on is an event (`gateway.up`, `gateway.down`), in one transaction with the
row's note that it was told.
"""

import ipaddress
import urllib.parse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

import trio

import dashd
from dashd.domain import healing
from dashd.domain.placement import Health
from dashd.drivers import openclaw_protocol as protocol
from dashd.drivers.openclaw_client import GatewayLost, GatewayRefused, open_ready
from dashd.store import added_gateways
from dashd.store.added_gateways import AddedGatewayRow
from dashd.store.bells import Bell

from . import rounds
from .rounds import WHY_CHARS_MAX, Rounds
from .world import World

HURRY_S = 1.0
"""Between two questions, however often its connection ends."""
PROBE_S_MAX = 5.0
SHUN_S, SHUN_S_MAX = 10.0, 300.0
"""How long one that took no work gets none: doubled each time; the last half of it is left to chance."""
UNOWNED = (
    "its configuration does not say agents.ownership: explicit, and without that one more agent changes what"
    " its only one does; openclaw config set agents.ownership explicit"
)

Token = Callable[[AddedGatewayRow], Awaitable[str]]
"""Raises NoToken."""


class NoToken(Exception):
    """The token cannot be had; the message says why."""


@dataclass(slots=True)
class Seen(rounds.Seen[AddedGatewayRow]):
    """What is known of one gateway."""

    asked_at: float = float("-inf")
    ended: bool = False
    """Nobody listens at its address: it does not only stand still."""
    boot_id: str = ""
    told_at: float = float("-inf")
    """When its start was last news."""
    shunned: str = ""
    """Why it gets no work, though it answers."""
    shunned_until: float = float("-inf")
    shuns: int = 0
    """One after the other."""

    @property
    def standing(self) -> tuple[Health, str]:
        """What work is placed by, and why."""
        if self.health == "alive" and self.shunned:
            return "unknown", f"it took no work and gets none for a moment: {self.shunned}"
        return self.health, self.why


class GatewayProbes(Rounds[AddedGatewayRow, Seen]):
    """See the module."""

    def __init__(self, world: World, token: Token) -> None:
        super().__init__(world.store.bells.gateways)
        self.followed = False
        """The rows have been read."""
        self.changes = Bell()
        """Something else is known of one of them."""
        self.token = token
        self._world = world
        self._owned: dict[str, str] = {}
        """The start of each in which its configuration was found good."""

    async def rows(self) -> list[AddedGatewayRow]:
        """All of them."""
        return await self._world.store.own.read(added_gateways.every)

    def fresh(self, row: AddedGatewayRow) -> Seen:
        """Its version is what it said last."""
        return Seen(row, trio.current_time(), row.version)

    async def follow(self) -> None:
        """See Rounds; whoever waits for one hears of it."""
        await super().follow()
        self.followed = True
        self.changes.ring()

    async def ask(self, name: str) -> Seen | None:
        """Asks one now, for somebody; None where there is none of that name. Without an answer it is only
        asked again at once: whoever asks twice must not have it counted as dead.
        """
        await self.follow()
        if (found := self.seen.get(name)) is None:
            return None
        async with self._slots:
            error = await self._problem(found)
        if error is None:
            return found
        self.hurry(name)
        health: Health = "unknown" if found.health == "alive" else found.health
        return replace(found, health=health, why=str(error)[:WHY_CHARS_MAX], latency_ms=None)

    def hurry(self, name: str) -> None:
        """Something speaks against it being there: it is asked at once."""
        found = self.seen.get(name)
        if found is not None and found.health == "alive":
            found.due_at = max(trio.current_time(), found.asked_at + HURRY_S)
            self._sooner.ring()

    def shun(self, name: str, why: str) -> None:
        """It has taken no work: that goes elsewhere, or waits. All who were on the way there say so."""
        found, now = self.seen.get(name), trio.current_time()
        if found is None or found.shunned:
            return
        found.shuns = found.shuns + 1 if now < found.shunned_until + 2 * SHUN_S_MAX else 1
        for_s = healing.doubled_s(SHUN_S, SHUN_S_MAX, found.shuns)
        found.shunned_until = now + for_s * (0.5 + self._world.jitter() / 2)
        found.shunned = why[:WHY_CHARS_MAX]
        self.hurry(name)
        self.changes.ring()

    async def probe(self, seen: Seen) -> None:
        """Asks one, and tells of its death once."""
        if (error := await self._problem(seen)) is None:
            return
        self.failed(seen, str(error))
        seen.ended = _nobody_listens(error)
        self.changes.ring()
        if seen.health == "dead":
            await self._world.commit(lambda tx: added_gateways.set_down(tx, seen.row, seen.why))

    async def _problem(self, seen: Seen) -> Exception | None:
        """Asks one. Why it gave no answer; None where it did."""
        try:
            token = await self.token(seen.row)  # it may take its time, and has a limit of its own
            began = seen.asked_at = trio.current_time()
            with trio.fail_after(PROBE_S_MAX):
                server = await self._hello(seen.row, token)
        except trio.TooSlowError:
            return GatewayLost(f"no answer within {PROBE_S_MAX:g} s")
        except (GatewayLost, GatewayRefused, NoToken, OSError) as error:
            return error
        await self._well(seen, server, trio.current_time() - began)
        return None

    async def _hello(self, row: AddedGatewayRow, token: str) -> protocol.Server:
        async with open_ready(partial(dial, row.url), token, dashd.__version__) as client:
            server = client.hello.server
            if self._owned.get(row.name) != server.boot_id:  # it has it busy for a second
                if not await client.owned():
                    raise GatewayLost(UNOWNED)
                self._owned[row.name] = server.boot_id
            return server

    async def _well(self, seen: Seen, server: protocol.Server, took_s: float) -> None:
        """It has answered; told where that is news."""
        now, before = trio.current_time(), (seen.health, seen.version, seen.shunned)
        if now >= seen.shunned_until:
            seen.shunned = ""
        self.answered(seen, server.version, took_s)
        if seen.shunned:
            seen.due_at = min(seen.due_at, seen.shunned_until)
        self.changes.ring()
        if before != (seen.health, seen.version, seen.shunned):
            self._world.store.bells.queue.ring()  # what has waited for it may start
        # One that begins anew whenever it is asked is no news each time.
        is_another = seen.boot_id != server.boot_id and now >= seen.told_at + rounds.EVERY_S
        if before[0] != "dead" and not is_another:
            return
        seen.boot_id, seen.told_at = server.boot_id, now
        await self._world.commit(
            lambda tx: added_gateways.set_up(tx, seen.row, server.boot_id, server.version)
        )


async def dial(url: str) -> trio.SocketStream:
    """The service lets in numbers alone, so that no name is asked for; checked again where a token goes.

    Raises OSError.
    """
    parts = urllib.parse.urlsplit(url)
    assert parts.hostname is not None, url
    assert parts.port is not None, url
    assert ipaddress.ip_address(parts.hostname).is_loopback, url
    return await trio.open_tcp_stream(parts.hostname, parts.port)


def _nobody_listens(error: Exception) -> bool:
    causes = error.__cause__  # trio tries each address that there is
    if isinstance(causes, ExceptionGroup):
        return all(isinstance(each, ConnectionRefusedError) for each in causes.exceptions)
    return isinstance(error, ConnectionRefusedError)
