"""Asks the gateways that were added, every 30 s, whether they are ready and take their token.

    row added ─▶ asked at once ─▶ alive ─ no answer ─▶ unknown ─ no answer again ─▶ dead ─ answer ─▶ alive

One that has taken no work, though it answers, is asked at once and gets none for a while: a longer one each
time, and until it has answered well after it.

What is seen is kept in memory: after a start nobody knows. Each change of what can be relied on is an event
(`gateway.up`, `gateway.down`), in one transaction with the row's note that it was told.
"""

import ipaddress
import urllib.parse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import trio

import dashd
from dashd.domain import healing
from dashd.domain.placement import Health, health_after
from dashd.drivers import openclaw_protocol as protocol
from dashd.drivers.openclaw_client import GatewayLost, GatewayRefused, is_ready, open_client
from dashd.store import added_gateways, bells
from dashd.store.added_gateways import AddedGatewayRow, Look
from dashd.store.bells import Bell
from dashd.store.transaction import Tx

from .world import World

EVERY_S = 30.0
AGAIN_S = 5.0
"""After a question without an answer, until it is alive or counts as dead."""
HURRY_S = 1.0
"""Between two questions, however often its connection ends."""
PROBE_S_MAX = 5.0
AT_ONCE_MAX = 16
"""Even where none of 50 answers, a round takes less than the pause after it."""
WHY_CHARS_MAX = 300
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
class Seen:
    """What is known of one gateway."""

    row: AddedGatewayRow
    due_at: float
    asked_at: float = float("-inf")
    health: Health = "unknown"
    failures: int = 0
    ended: bool = False
    """Nobody listens at its address: it does not only stand still."""
    why: str = "it has not been asked yet"
    latency_ms: float | None = None
    version: str | None = None
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


class Probes:
    """See the module. `seen` is by name."""

    def __init__(self, world: World, token: Token) -> None:
        self.seen: dict[str, Seen] = {}
        self.followed = False
        """The rows have been read."""
        self.changes = Bell()
        """Something else is known of one of them."""
        self.token = token
        self._world = world
        self._hurried = Bell()
        self._owned: dict[str, str] = {}
        """The start of each in which its configuration was found good."""
        self._slots = trio.Semaphore(AT_ONCE_MAX)
        self._following = trio.Lock()

    async def run(self) -> None:
        """Asks whoever is due, until cancelled."""
        while True:
            tickets = self._world.store.bells.gateways.ticket(), self._hurried.ticket()
            await self.follow()
            now = trio.current_time()
            async with trio.open_nursery() as round_:
                for each in [each for each in self.seen.values() if each.due_at <= now]:
                    round_.start_soon(self._look, each)
            next_at = min((each.due_at for each in self.seen.values()), default=float("inf"))
            with trio.CancelScope(deadline=next_at):
                await bells.either(*tickets)

    async def ask(self, name: str) -> Seen | None:
        """Asks one now, for somebody; None where there is none of that name. Without an answer it is only
        asked again at once: whoever asks twice must not have it counted as dead.
        """
        await self.follow()
        found = self.seen.get(name)
        if found is None or (error := await self._probe(found)) is None:
            return found
        self.hurry(name)
        health: Health = "unknown" if found.health == "alive" else found.health
        return replace(found, health=health, why=str(error)[:WHY_CHARS_MAX], latency_ms=None)

    async def follow(self) -> None:
        """Knows those whose rows there are; one that was added anew is another one."""
        async with self._following:  # so that whoever reads last also sets last
            rows = await self._world.store.own.read(added_gateways.every)
            before, now = self.seen, trio.current_time()
            self.seen = {}
            for row in rows:
                found = before.get(row.name)
                same = found is not None and found.row.added_at_ms == row.added_at_ms
                known = found if same else None
                self.seen[row.name] = known or Seen(row, now, version=row.version)
            self.followed = True
            self.changes.ring()

    def hurry(self, name: str) -> None:
        """Something speaks against it being there: it is asked at once."""
        found = self.seen.get(name)
        if found is not None and found.health == "alive":
            found.due_at = max(trio.current_time(), found.asked_at + HURRY_S)
            self._hurried.ring()  # a bell of its own: gateways that do not start are tried again by the other

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

    def looks(self) -> dict[str, Look]:
        """By name, what work is placed by."""
        return {
            name: Look(each.row.added_at_ms, each.standing[0], each.version)
            for name, each in self.seen.items()
        }

    async def _look(self, seen: Seen) -> None:
        if (error := await self._probe(seen)) is not None:
            await self._failed(seen, error)

    async def _probe(self, seen: Seen) -> Exception | None:
        """Why it gave no answer; None where it did."""
        async with self._slots:
            try:
                token = await self.token(seen.row)  # it may take its time, and has a limit of its own
                began = seen.asked_at = trio.current_time()
                with trio.fail_after(PROBE_S_MAX):
                    server = await self._hello(seen.row, token)
            except trio.TooSlowError:
                return GatewayLost(f"no answer within {PROBE_S_MAX:g} s")
            except (GatewayLost, GatewayRefused, NoToken, OSError) as error:
                return error
            seen.latency_ms = (trio.current_time() - began) * 1_000
            await self._answered(seen, server)
            return None

    async def _hello(self, row: AddedGatewayRow, token: str) -> protocol.Server:
        try:
            async with await dial(row.url) as stream:
                if not await is_ready(stream):
                    raise GatewayLost("it is still starting, or is no gateway")
            async with (
                await dial(row.url) as stream,
                open_client(stream, token, dashd.__version__, _ignore) as client,
            ):
                server = client.hello.server
                if self._owned.get(row.name) != server.boot_id:  # it has it busy for a second
                    if not await client.owned():
                        raise GatewayLost(UNOWNED)
                    self._owned[row.name] = server.boot_id
                return server
        except (GatewayLost, GatewayRefused) as error:  # its words, which may repeat what it was told
            raise GatewayLost(str(error).replace(token, "***")) from None

    async def _answered(self, seen: Seen, server: protocol.Server) -> None:
        now, shunned = trio.current_time(), seen.shunned
        if now >= seen.shunned_until:
            seen.shunned = ""
        before = seen.health
        if before != "alive" or seen.version != server.version or shunned != seen.shunned:
            self._world.store.bells.queue.ring()  # what has waited for it may start
        seen.health, seen.failures, seen.why, seen.version = "alive", 0, "", server.version
        seen.due_at = min(now + EVERY_S, seen.shunned_until) if seen.shunned else now + EVERY_S
        self.changes.ring()
        is_another = seen.boot_id != server.boot_id and now >= seen.told_at + EVERY_S  # some always are
        if before != "dead" and not is_another:
            return
        seen.boot_id, seen.told_at = server.boot_id, now

        def told(tx: Tx) -> None:
            added_gateways.set_up(tx, seen.row, server.boot_id, server.version)

        await self._world.commit(told)

    async def _failed(self, seen: Seen, error: Exception) -> None:
        seen.failures, seen.latency_ms = seen.failures + 1, None
        seen.health, seen.why = health_after(seen.failures), str(error)[:WHY_CHARS_MAX]
        seen.ended = _nobody_listens(error)
        seen.due_at = trio.current_time() + (EVERY_S if seen.health == "dead" else AGAIN_S)
        self.changes.ring()
        if seen.health == "dead":
            await self._world.commit(lambda tx: added_gateways.set_down(tx, seen.row, seen.why))


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


def _ignore(_event: protocol.Event) -> None:
    """A probe is not there for events."""
