"""The way out, on demand: CONNECT to a host that the caller's scope names, and to nothing else.

    named exactly? -> room left? -> looked up, once -> every address public? -> one of them dialled -> written
    down as open -> bytes both ways -> written down as ended

What is dialled is what was checked: the name is not looked up again, so an answer that changes in between
changes nothing. A name with even one address that is not public is refused whole. Nothing is read of what
passes, TLS is end to end; so how a tunnel ended can only be said in its record, and to the next CONNECT.
Each stage has a deadline, each caller and the daemon a number of tunnels, each tunnel and caller a number of
bytes, counted before they are sent on. `caller.traffic.bytes` begins with what the records say of its agent.
"""

import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import trio

from dashd import threads
from dashd.domain import hosts, scope
from dashd.domain.hosts import Host
from dashd.wire import errors

from .caller import Caller, Refused

ADDRESSES_MAX = 64
DIALS_MAX = 4
"""Of a name with more addresses only so many are tried, all of them checked."""
CHUNK_BYTES = 64 * 1024
RECORD_S = 5.0
REFUSALS_MAX = 64
"""So many different refusals of one caller are recorded; a loop that asks again fills no table."""
_log = logging.getLogger(__name__)

How = Literal[
    "open",  # not an end: its first byte is about to pass
    "closed",  # by both sides
    "reset",  # by one side
    "idle",
    "too-long",
    "tunnel-bytes",
    "agent-bytes",
    "revoked",  # the caller's key was
    "stopped",  # with the daemon, or the connection was lost before a byte passed
    "refused",
]
Resolve = Callable[[str, int, trio.CapacityLimiter], Awaitable[Sequence[str]]]
"""(name, port, the caller's turns) -> addresses as text; OSError where there is none."""
Dial = Callable[[str, int], Awaitable[trio.abc.HalfCloseableStream]]
"""(address, port) -> a connection to exactly there; OSError where there is none."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long, how many and how much."""

    resolve_s: float = 5.0
    dial_s: float = 10.0
    """Over all addresses that are tried."""
    idle_s: float = 120.0
    """Without a byte in either direction, or one side not taking what the other sent."""
    total_s: float = 3_600.0
    caller_max: int = 24
    """Tunnels of one caller at once; npm opens 15."""
    caller_total_max: int = 10_000
    """Of one caller over its life: each is two rows on record."""
    daemon_max: int = 200
    tunnel_bytes_max: int = 1 << 30
    caller_bytes_max: int = 4 << 30
    """Both directions together, over all tunnels of a caller."""


@dataclass(frozen=True, slots=True)
class TunnelRecord:
    """What is written down of one tunnel: once before a byte passes, once at its end, or once if refused."""

    agent: str
    host: str
    port: int
    address: str | None
    """What was dialled; None where it did not come to that."""
    bytes_up: int
    """From the agent."""
    bytes_down: int
    how_it_ended: How
    why: str
    """Of a refusal: its kind."""


class NotPassed(Refused):
    """A request to a proxy that goes nowhere; `reason` is all that many programs show of an answer."""


async def unrecorded(record: TunnelRecord) -> None:
    """Writes nothing down."""


async def resolve(name: str, port: int, turns: trio.CapacityLimiter) -> list[str]:
    """The system's resolver in a thread, which is left to itself when time is up but keeps its turn."""

    def ask() -> list[str]:
        # The last dot makes the name absolute: no search list can turn it into another one.
        found = socket.getaddrinfo(name.encode("ascii") + b".", port, type=socket.SOCK_STREAM)
        return [str(address[0]) for *_, address in found]

    return await threads.run(ask, abandon_on_cancel=True, limiter=turns)


async def dial(address: str, port: int) -> trio.SocketStream:
    """A TCP connection to a public address; whatever was checked before, nothing else is dialled here."""
    if why := hosts.refused_address(address):
        raise PermissionError(f"{address} is not dialled: {why}")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    dialled = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await dialled.connect((address, port))
        if dialled.getsockname()[0] == address:
            raise PermissionError(f"{address} is this machine's own")
    except BaseException:
        dialled.close()
        raise
    return trio.SocketStream(dialled)


class Tunnels:
    """Everybody's tunnels; one for the daemon."""

    def __init__(
        self,
        *,
        on_tunnel: Callable[[TunnelRecord], Awaitable[None]] = unrecorded,
        resolve: Resolve = resolve,
        dial: Dial = dial,
        limits: Limits = Limits(),
    ) -> None:
        """`on_tunnel` is awaited; where it raises DashError before a tunnel opens, that one is refused."""
        self._on_tunnel = on_tunnel
        self._resolve = resolve
        self._dial = dial
        self._limits = limits
        self._open = 0

    @asynccontextmanager
    async def open(self, caller: Caller, target: str) -> "AsyncIterator[Tunnel]":
        """A connection to what CONNECT names, closed and written down in the end; NotPassed where there is
        none.
        """
        tunnel = Tunnel(caller, _target(target), self._limits)
        if refused := self._no_room(caller, tunnel.host):
            await self._record_refusal(tunnel, refused)
            raise refused
        self._open += 1
        caller.traffic.open += 1
        caller.traffic.opened += 1
        try:
            if refused := await self._connect(tunnel):
                await self._record_refusal(tunnel, refused)
                raise refused
            try:
                await self._record_opening(tunnel)
                yield tunnel
            finally:
                with trio.move_on_after(2 * RECORD_S, shield=True):
                    await trio.aclose_forcefully(tunnel.outside)  # waits for nothing
                    await self._record_end(tunnel, tunnel.how or "stopped")
        finally:
            self._open -= 1
            caller.traffic.open -= 1

    def _no_room(self, caller: Caller, host: Host) -> NotPassed | None:
        """Why this caller opens no tunnel there now."""
        limits, traffic = self._limits, caller.traffic
        if str(host) not in caller.hosts:
            return _not_named(caller, host)
        if traffic.shut:
            return NotPassed(403, "revoked", "this key opens nothing any more")
        if traffic.bytes >= limits.caller_bytes_max:
            used = f"this agent has moved {traffic.bytes} of {limits.caller_bytes_max} bytes"
            return NotPassed(403, "agent_bytes", f"{used}; nothing more passes", reason="Bytes used up")
        if traffic.opened >= limits.caller_total_max:
            total = f"this agent has opened all {limits.caller_total_max} tunnels that it may"
            return NotPassed(403, "tunnels_used_up", total, reason="Tunnels used up")
        if traffic.open >= limits.caller_max:
            many = f"this agent has {traffic.open} tunnels of {limits.caller_max}; close one"
            return NotPassed(429, "tunnels", many, retry_after="1")
        if self._open >= limits.daemon_max:
            return NotPassed(503, "tunnels", "all tunnels are taken; try again", retry_after="2")
        return None

    async def _connect(self, tunnel: "Tunnel") -> NotPassed | None:
        """Why it cannot be, or None and it is connected."""
        try:
            addresses = await self._look_up(tunnel)
            tunnel.address, tunnel.outside = await self._dial_one(tunnel.host, addresses)
        except NotPassed as refused:
            return refused
        return None

    async def _record_opening(self, tunnel: "Tunnel") -> None:
        """No byte passes that nobody would know of."""
        try:
            with trio.fail_after(RECORD_S):
                await self._on_tunnel(tunnel.record("open"))
        except (errors.DashError, trio.TooSlowError) as error:
            tunnel.how = "refused"
            _log.error("a tunnel could not be written down, and was refused: %r", error)
            raise NotPassed(503, "not_recorded", "it could not be written down; try again") from error

    async def _look_up(self, tunnel: "Tunnel") -> list[str]:
        """Every address of the host, all of them public."""
        name, port = tunnel.host
        try:
            with trio.fail_after(self._limits.resolve_s):
                answer = await self._resolve(name, port, tunnel.caller.traffic.turns)
        except trio.TooSlowError:
            slow = f"looking up {name} took longer than {self._limits.resolve_s:g} s"
            raise NotPassed(504, "lookup_slow", slow) from None
        except OSError as error:
            raise NotPassed(502, "unknown_host", f"{name} has no address: {error}") from None
        addresses = list(dict.fromkeys(answer))
        if not 0 < len(addresses) <= ADDRESSES_MAX:
            raise NotPassed(502, "unknown_host", f"{name} has {len(addresses)} addresses")
        for address in addresses:
            if why := hosts.refused_address(address):
                only = f"{name} is at {address[:60]!a} ({why}), and only public addresses are dialled"
                raise NotPassed(403, "address", only, reason=f"Forbidden, address is {why}")
        return addresses

    async def _dial_one(self, host: Host, addresses: list[str]) -> tuple[str, trio.abc.HalfCloseableStream]:
        tried = addresses[:DIALS_MAX]
        said = "no answer"
        for address in tried:
            with trio.move_on_after(self._limits.dial_s / len(tried)):
                try:
                    return address, await self._dial(address, host.port)
                except OSError as error:
                    said = str(error)
        raise NotPassed(502, "unreachable", f"{host.name} port {host.port} at {', '.join(tried)}: {said}")

    async def _record_refusal(self, tunnel: "Tunnel", refused: NotPassed) -> None:
        told, what = tunnel.caller.traffic.told, (str(tunnel.host), refused.kind)
        if what not in told and len(told) < REFUSALS_MAX:
            told.add(what)
            await self._record_end(tunnel, "refused", refused.kind)

    async def _record_end(self, tunnel: "Tunnel", how: How, why: str = "") -> None:
        record = tunnel.record(how, why)
        try:
            with trio.fail_after(RECORD_S):
                await self._on_tunnel(record)
        except (errors.DashError, trio.TooSlowError) as error:
            _log.error("not written down: %s: %r", record, error)


class Tunnel:
    """One tunnel of one caller."""

    outside: trio.abc.HalfCloseableStream
    """Set before anybody is handed a tunnel."""

    def __init__(self, caller: Caller, host: Host, limits: Limits) -> None:
        self.caller = caller
        self.host = host
        self.address: str | None = None
        self.how: How | None = None
        self._limits = limits
        self._bytes = {"up": 0, "down": 0}
        self._scope = trio.CancelScope()
        self._ends_at = 0.0

    def record(self, how: How, why: str = "") -> TunnelRecord:
        """What there is to write down of it."""
        return TunnelRecord(
            agent=self.caller.payer.agent_id or self.caller.payer.budget_id,
            host=self.host.name,
            port=self.host.port,
            address=self.address,
            bytes_up=self._bytes["up"],
            bytes_down=self._bytes["down"],
            how_it_ended=how,
            why=why,
        )

    async def relay(self, agent: trio.abc.HalfCloseableStream, *, greeting: bytes, early: bytes) -> None:
        """Says `greeting` to the agent and moves bytes until somebody ends it, `early` first; `how` says who.

        `early` is what the agent sent behind its CONNECT. Closes neither side.
        """
        self._ends_at = trio.current_time() + self._limits.total_s
        self._moved()
        ends = self.caller.traffic.ends
        ends.add(self.end)
        try:
            with self._scope:
                if self.caller.traffic.shut:
                    self.end("revoked")
                await self._greet(agent, greeting)
                async with trio.open_nursery() as ways:
                    ways.start_soon(self._pump, agent, self.outside, "up", early)
                    ways.start_soon(self._pump, self.outside, agent, "down", b"")
                self.how = self.how or "closed"
        finally:
            ends.discard(self.end)
        if self.how is None and self._scope.cancelled_caught:
            self.how = "too-long" if self._scope.deadline >= self._ends_at else "idle"

    def end(self, how: How) -> None:
        """Ends it now; the first reason given stays."""
        self.how = self.how or how
        self._scope.cancel(reason=how)

    def _moved(self) -> None:
        self._scope.deadline = min(trio.current_time() + self._limits.idle_s, self._ends_at)

    async def _greet(self, agent: trio.abc.SendStream, greeting: bytes) -> None:
        try:
            await agent.send_all(greeting)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.end("reset")

    async def _pump(
        self,
        source: trio.abc.ReceiveStream,
        sink: trio.abc.HalfCloseableStream,
        way: Literal["up", "down"],
        first: bytes,
    ) -> None:
        try:
            data: bytes | bytearray = first or await source.receive_some(CHUNK_BYTES)
            while data:
                self._moved()
                part = self._granted(way, data)
                await sink.send_all(part)
                if len(part) < len(data):
                    return self._full()
                self._moved()
                data = await source.receive_some(CHUNK_BYTES)
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.end("reset")

    def _granted(self, way: Literal["up", "down"], data: bytes | bytearray) -> bytes | bytearray:
        """As much of it as may pass, counted already: two pumps never share the same room."""
        limits, traffic = self._limits, self.caller.traffic
        own = limits.tunnel_bytes_max - self._bytes["up"] - self._bytes["down"]
        part = data[: max(0, min(own, limits.caller_bytes_max - traffic.bytes))]
        self._bytes[way] += len(part)
        traffic.bytes += len(part)
        return part

    def _full(self) -> None:
        spent = self.caller.traffic.bytes >= self._limits.caller_bytes_max
        how: How = "agent-bytes" if spent else "tunnel-bytes"
        _log.warning("the tunnel to %s was ended, out of %s: %s", self.host, how, self.record(how))
        self.end(how)


def environment(port: int, key: str) -> dict[str, str]:
    """What tells programs beside an agent's listener to ask it for their way out; calls to it go straight."""
    url = f"http://dash:{key}@127.0.0.1:{port}"
    here = "127.0.0.1,localhost"
    # NODE_USE_ENV_PROXY: without it, fetch of Node >= 24 looks at none of them.
    return {
        "HTTPS_PROXY": url,
        "https_proxy": url,
        "NO_PROXY": here,
        "no_proxy": here,
        "NODE_USE_ENV_PROXY": "1",
    }


def plain_http() -> NotPassed:
    """To whoever asks for `http://…` through the proxy."""
    says = "only CONNECT passes here, for https:// to hosts named with --hosts; plain http:// never does"
    return NotPassed(403, "plain_http", says, reason="Forbidden, only https passes")


def _target(target: str) -> Host:
    try:
        return hosts.parse(target, path="CONNECT")
    except errors.InvalidParams as error:
        hint = f"; {error.hint}" if error.hint else ""
        raise NotPassed(400, "target", f"{error.message}{hint}") from None


def _not_named(caller: Caller, host: Host) -> NotPassed:
    allowed = scope.allowed(scope.Scope(hosts=caller.hosts), "hosts")
    says = f"{scope.violation(str(host), allowed)}; whoever creates the swarm opens it with --hosts {host}"
    return NotPassed(403, "host", says, reason=f"Forbidden, needs --hosts {host}")
