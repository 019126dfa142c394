"""A client of an OpenClaw gateway, over any stream: requests that wait for their answers, and events.

One task reads; any may call. The connection's end ends every call that waits (GatewayLost), and says nothing
of what the gateway does on: that is asked of it again, over the next connection.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import trio

from dashd.domain import redaction, surrogates

from . import openclaw_protocol as protocol
from .openclaw_protocol import Answer, Event, Hello

if TYPE_CHECKING:
    from trio_websocket import WebSocketConnection

T = TypeVar("T")
UNAVAILABLE = "UNAVAILABLE"
"""How it refuses what it may do later: while it starts, drains or is suspended, and above its limits."""
INVALID = "INVALID_REQUEST"
"""How it refuses what it will never do, and what it has never heard of."""
CONNECT_S_MAX = 30.0
CALL_S_MAX = 120.0
"""Of one request: in its worst bursts a gateway took 37 s to accept a run."""
WAIT_MS = 30_000
"""How long one `agent.wait` waits; there may be many of them."""

READY_BYTES_MAX = 65_536
"""Of the first line of an answer."""
RETRY_AFTER_MS_MIN, RETRY_AFTER_MS_MAX = 1_000.0, 60_000.0
"""Whatever a gateway, or somebody in its place, says: nobody is asked again without a pause."""


class GatewayLost(Exception):
    """The connection has ended, or the gateway has not answered in time."""


class GatewayRefused(Exception):
    """It has answered, with an error."""

    def __init__(self, method: str, fault: protocol.Fault) -> None:
        """`fault` as it was sent."""
        message = redaction.redact(fault.message[:2_000])  # it may repeat what it was told
        super().__init__(f"{method}: {fault.code}: {message}"[:500])
        self.code = fault.code
        self.for_now = fault.retryable or fault.code == UNAVAILABLE
        """It may do later what it refuses now."""
        later_ms = min(max(fault.retry_after_ms or 0.0, RETRY_AFTER_MS_MIN), RETRY_AFTER_MS_MAX)
        self.retry_after_s = later_ms / 1_000 if fault.retryable else 0.0
        """How much later; 0 where it does not say."""


class Client:
    """One connection."""

    def __init__(self, socket: "WebSocketConnection", heard: Callable[[Event], None]) -> None:
        """Use `open_client`."""
        self.hello = Hello(0, protocol.Server())
        self.lost = trio.Event()
        self.heard_at = trio.current_time()
        """When it has last said anything: it ticks every 30 s."""
        self._socket = socket
        self._heard = heard
        self._last = 0
        self._waiting: dict[str, tuple[trio.Event, list[Answer]]] = {}
        self._challenged = trio.Event()

    async def call(self, method: str, answer: type[T], **params: Any) -> T:  # noqa: ANN401  # JSON
        """Raises GatewayLost and GatewayRefused."""
        from trio_websocket import ConnectionClosed

        self._last += 1
        number, answered, found = str(self._last), trio.Event(), list[Answer]()
        self._waiting[number] = answered, found
        try:
            with trio.move_on_after(CALL_S_MAX) as limit:
                await self._socket.send_message(protocol.request(number, method, params))
                await answered.wait()
            if limit.cancelled_caught:  # it stands still: whoever has the connection makes another one
                self.lost.set()
        except ConnectionClosed:
            pass
        finally:
            del self._waiting[number]
        if not found:
            raise GatewayLost(f"no answer to {method}")
        if not found[0].ok:
            raise GatewayRefused(method, found[0].error or protocol.Fault())
        try:
            return msgspec.json.decode(found[0].payload, type=answer)
        except surrogates.UNREADABLE as error:
            raise GatewayLost(f"an answer to {method} that cannot be read: {error!r:.200}") from None

    async def start(self, agent: str, session: str, run_id: str, message: str) -> bool:
        """Has the run begun; False where it was before, and nothing has been done."""
        params = {"agentId": agent, "sessionKey": session, "idempotencyKey": run_id, "message": message}
        return (await self.call("agent", protocol.Accepted, **params, deliver=False)).status != "in_flight"

    async def wait(self, run_id: str, wait_ms: int = WAIT_MS) -> protocol.Waited:
        """How the run stands, at its end or when the time is over."""
        return await self.call("agent.wait", protocol.Waited, runId=run_id, timeoutMs=wait_ms)

    async def describe(self, session: str) -> protocol.Session | None:
        """How the session stands; None where there is none."""
        return (await self.call("sessions.describe", protocol.Described, key=session)).session

    async def abort(self, session: str) -> None:
        """Ends what runs in the session, with its tools, and what waits there. It may be nothing."""
        await self.call("sessions.abort", dict[str, Any], key=session, clearQueued=True)

    async def agents(self) -> set[str]:
        """The names of the agents that it knows."""
        return {each.id for each in (await self.call("agents.list", protocol.AgentList)).agents}

    async def patch(self, change: dict[str, Any], lists: Sequence[str] = ()) -> None:
        """Merges something into its configuration, without a restart; null removes, and what is removed of
        `lists` is meant to be.
        """
        base = await self.call("config.get", protocol.Config)
        raw = msgspec.json.encode(change).decode()
        more = {"replacePaths": list(lists)} if lists else {}
        await self.call("config.patch", dict[str, Any], raw=raw, baseHash=base.hash, **more)

    async def delete(self, agent: str) -> None:
        """Takes an agent out of its configuration. Its files stay: its workspace is somebody's work."""
        await self.call("agents.delete", dict[str, Any], agentId=agent, deleteFiles=False)

    async def configured(self) -> tuple[dict[str, int], dict[str, int], int]:
        """(agents, model providers, all of it): what each takes up of its configuration, in bytes."""
        found = await self.call("config.get", protocol.Config)
        config = found.parsed or found.config
        try:
            return _sizes(config, "agents", "entries"), _sizes(config, "models", "providers"), _size(config)
        except RecursionError:
            raise GatewayLost("its configuration is nested too deep") from None

    async def owned(self) -> bool:
        """Whether each of its agents is named wherever one is meant. Where it is not so, another agent takes
        that from the only one: https://docs.openclaw.ai/concepts/multi-agent
        """
        agents = (await self.call("config.get", protocol.Config)).config.get("agents")
        return isinstance(agents, dict) and agents.get("ownership") == "explicit"

    async def log(self, lines: int) -> list[bytes]:
        """The last lines of its log, oldest first."""
        return [each.encode() for each in (await self.call("logs.tail", protocol.Log, limit=lines)).lines]

    async def connect(self, token: str, version: str) -> None:
        """Says who calls. Raises GatewayRefused, also while it is not ready yet."""
        await self._challenged.wait()
        self.hello = (await self.call("connect", Hello, **protocol.connect(token, version))).cut()

    async def read(self) -> None:
        """Takes in what comes, until the end of the connection."""
        from trio_websocket import ConnectionClosed

        try:
            while True:
                message = await self._socket.get_message()
                self.heard_at = trio.current_time()
                self._take(protocol.decode(message))
        except ConnectionClosed:
            pass
        finally:
            self.lost.set()
            self._challenged.set()
            for answered, _ in self._waiting.values():
                answered.set()

    def _take(self, frame: Answer | Event | None) -> None:
        if isinstance(frame, Answer):
            if (waiting := self._waiting.get(frame.id)) is not None:
                waiting[1].append(frame)
                waiting[0].set()
        elif frame is not None and frame.event == "connect.challenge":
            self._challenged.set()
        elif frame is not None:
            self._heard(frame)


@asynccontextmanager
async def open_client(
    stream: trio.SocketStream, token: str, version: str, heard: Callable[[Event], None]
) -> AsyncIterator[Client]:
    """A connection that is let in; `heard` gets its events. The stream stays the caller's, to close.

    Raises GatewayLost and GatewayRefused.
    """
    from trio_websocket import HandshakeError, wrap_client_stream  # with wsproto, by the first gateway

    fault: Exception | None = None
    async with trio.open_nursery() as nursery:

        async def carry(task_status: trio.TaskStatus[trio.Nursery] = trio.TASK_STATUS_IGNORED) -> None:
            """What goes wrong in the connection's own tasks is its end, and nothing else's."""
            nonlocal fault
            try:
                async with trio.open_nursery() as background:
                    task_status.started(background)
                    await trio.sleep_forever()
            except BaseExceptionGroup as faults:
                broken, cancelled = faults.split(Exception)
                if broken is not None:
                    fault = fault or GatewayLost(f"the connection broke: {broken.exceptions[0]!r:.200}")
                    nursery.cancel_scope.cancel(reason="the connection broke")
                if cancelled is not None:
                    raise cancelled from None

        background = await nursery.start(carry)
        try:
            with trio.fail_after(CONNECT_S_MAX):
                socket = await wrap_client_stream(
                    background, stream, "127.0.0.1", "/", max_message_size=protocol.FRAME_BYTES_MAX
                )
                client = Client(socket, heard)
                background.start_soon(client.read)
                await client.connect(token, version)
            yield client
        except (trio.TooSlowError, HandshakeError, trio.BrokenResourceError) as error:
            fault = GatewayLost(f"connecting: {error!r}")
        except (GatewayLost, GatewayRefused) as error:
            fault = error  # carried out by hand: the nursery would wrap it
        nursery.cancel_scope.cancel(reason="nobody needs the connection any more")
    if fault is not None:
        raise fault


def _sizes(config: Mapping[str, Any], *path: str) -> dict[str, int]:
    found: Any = config
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return {name: _size({name: each}) for name, each in found.items()} if isinstance(found, dict) else {}


def _size(config: Mapping[str, Any]) -> int:
    """As it is written to the file; secrets are shown shorter than they are."""
    return len(msgspec.json.format(msgspec.json.encode(config), indent=2))


async def is_ready(stream: trio.SocketStream) -> bool:
    """Asks a gateway whether it is, over a connection of its own. Raises GatewayLost."""
    request = b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
    try:
        with trio.fail_after(CONNECT_S_MAX):
            await stream.send_all(request)
            answer = b""
            while b"\r\n" not in answer and len(answer) < READY_BYTES_MAX:
                if not (piece := await stream.receive_some(4_096)):
                    break
                answer += piece
    except (trio.TooSlowError, trio.BrokenResourceError) as error:
        raise GatewayLost(f"asking whether it is ready: {error!r}") from None
    return answer.split(b" ", 2)[1:2] == [b"200"]


@asynccontextmanager
async def open_ready(
    dial: Callable[[], Awaitable[trio.SocketStream]],
    token: str,
    version: str,
    heard: Callable[[Event], None] = lambda _: None,
) -> AsyncIterator[Client]:
    """A connection to a gateway that says it is ready: see `open_client`. None of these errors has its token,
    whatever it repeats. Raises what `dial` does as well.
    """
    try:
        async with await dial() as stream:
            if not await is_ready(stream):
                raise GatewayLost("it is still starting, or is no gateway")
        async with await dial() as stream, open_client(stream, token, version, heard) as client:
            yield client
    except (GatewayLost, GatewayRefused) as error:
        error.args = (str(error).replace(token, "***"),)
        raise
