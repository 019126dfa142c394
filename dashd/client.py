"""A trio client of dashd: typed calls and pushed events over one Unix-socket connection.

    async with client.open_client(path) as dash:
        swarm = await dash.call("swarm.get", {"swarm": "7k2m9q"})
        async with dash.events(since=swarm.cursor, kinds=["task.*"]) as events:
            async for event in events: ...

Any number of tasks may call at once. A refusal is raised as the DashError class that dashd raised; a
broken connection fails every open call with DaemonUnreachable. Nothing is repeated and nothing reconnects
here: only the caller knows what may be done twice.
"""

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec
import trio

from .wire import envelope, errors, events, framing, methods, paths
from .wire.methods import event, table

IN_FLIGHT_MAX = 128
"""Calls of one connection that may be open at once; further ones wait. dashd allows twice as many."""
BUFFERED_EVENTS_MAX = 1_000
_RECEIVE_BYTES = 64 * 1024
_UP = "Start it with `dashctl up`."


class _Pushed(msgspec.Struct):
    subscription: int
    events: list[events.Event]


class _Call:
    """A request whose answer is awaited."""

    def __init__(self, row: table.Method, subscriber: "Subscription | None") -> None:
        self.row = row
        self.subscriber = subscriber
        self.answered = trio.Event()
        self.outcome: Any = None

    def settle(self, outcome: object) -> None:
        self.outcome = outcome
        self.answered.set()


class Client:
    """One connection. Made by `open_client`, which owns it; every method may be cancelled at any point."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stream: trio.SocketStream
        self._nursery_owner = trio.open_nursery()
        self._nursery: trio.Nursery
        self._slots = trio.Semaphore(IN_FLIGHT_MAX)
        self._calls: dict[int, _Call] = {}
        self._subscriptions: dict[int, Subscription] = {}
        self._last_id = 0
        # Frames not yet sent, with the id of their call. Bounded: one frame an open call, one cancellation
        # a call that was sent, and an end of a subscription each.
        self._outbox: deque[tuple[int | msgspec.UnsetType, bytes]] = deque()
        self._outbox_filled = trio.Event()
        self.lost = trio.Event()
        """Set once the connection is of no more use."""

    async def __aenter__(self) -> Self:
        self._stream = await _connect(self._path)
        self._nursery = await self._nursery_owner.__aenter__()
        self._nursery.start_soon(self._read)
        self._nursery.start_soon(self._write)
        return self

    def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Awaitable[None]:
        return self._leave()

    async def _leave(self) -> None:
        """Needs no shield: the nursery's own scope is cancelled, and its tasks wait for nobody.

        The block's own exception is not handed to the nursery, which would wrap it in a group.
        """
        self._nursery.cancel_scope.cancel(reason="the client is closed")
        await self._nursery_owner.__aexit__(None, None, None)

    async def call(self, method: str, params: Mapping[str, Any] | msgspec.Struct | None = None) -> Any:  # noqa: ANN401 - the method's own result struct
        """Calls a method of the table and returns its result struct.

        Cancelling sends `$/cancelRequest`; what dashd had done by then stays done. Raises the DashError that
        dashd answered, DaemonUnreachable where the connection broke first (the call may have been carried
        out), UnknownMethod, and InvalidParams or FrameTooLarge for what cannot be sent.
        """
        return await self._call(method, {} if params is None else params, None)

    @contextlib.asynccontextmanager
    async def events(
        self,
        *,
        since: int | None = None,
        swarm: str | None = None,
        kinds: Sequence[str] = (),
        attention: bool = False,
        buffered_max: int = BUFFERED_EVENTS_MAX,
    ) -> AsyncIterator["Subscription"]:
        """Subscribes to events after the cursor `since` (from now on by default), in order, each once.

        A reader that falls more than `buffered_max` events behind slows nobody and misses nothing: its
        subscription is ended, and taken up again from its cursor when it has read what was buffered.
        """
        asked = {"swarm": swarm, "kinds": list(kinds), "attention": attention}
        chosen = {name: value for name, value in asked.items() if value}
        subscription = Subscription(self, chosen, buffered_max)
        await subscription._begin(since)
        try:
            yield subscription
        finally:
            subscription.ended = True
            subscription._pause()

    async def _call(self, method: str, params: object, subscriber: "Subscription | None") -> Any:  # noqa: ANN401
        row = methods.METHODS.get(method)
        if row is None:
            raise errors.UnknownMethod(f"there is no method `{method}`")
        async with self._slots:
            self._check_lost()
            self._last_id += 1
            call_id, call = self._last_id, _Call(row, subscriber)
            self._post(method, params, call_id)
            self._calls[call_id] = call
            try:
                await call.answered.wait()
            finally:
                if call_id in self._calls:
                    self._withdraw(call_id)
        if isinstance(call.outcome, errors.DashError):
            raise call.outcome
        return call.outcome

    def _check_lost(self) -> None:
        if self.lost.is_set():
            raise _gone(self._path)

    def _post(self, method: str, params: object, call_id: int | msgspec.UnsetType = msgspec.UNSET) -> None:
        try:
            frame = envelope.encode_request(method, params, call_id)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise errors.InvalidParams(f"the parameters cannot be written as JSON: {error}") from error
        if len(frame) > framing.FRAME_BYTES_MAX:
            raise errors.FrameTooLarge(
                f"the request has {len(frame):,} bytes; {framing.FRAME_BYTES_MAX:,} are allowed",
                hint="Pass less at once, or names of files that hold the rest.",
            )
        self._outbox.append((call_id, frame))
        self._outbox_filled.set()

    def _withdraw(self, call_id: int) -> None:
        """Takes back a request: silently where it was not sent yet, else by telling dashd."""
        call = self._calls.pop(call_id)
        for entry in self._outbox:
            if entry[0] == call_id:
                self._outbox.remove(entry)
                return
        self._post("$/cancelRequest", {"id": call_id})
        if call.subscriber is not None:
            # dashd may have subscribed us already: its answer is still looked at, and ends the subscription.
            call.subscriber.ended = True
            self._calls[call_id] = call

    async def _write(self) -> None:
        while not self.lost.is_set():
            await self._outbox_filled.wait()
            self._outbox_filled = trio.Event()
            frames = b"".join(frame + b"\n" for _, frame in self._outbox)
            self._outbox.clear()
            try:
                await self._stream.send_all(frames)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                # The reader still may find answers that came before; it ends the connection.
                return

    async def _read(self) -> None:
        framer = framing.Framer()
        try:
            while not framer.too_large and (chunk := await self._stream.receive_some(_RECEIVE_BYTES)):
                for frame in framer.feed(chunk):
                    self._take(frame)
        except (trio.BrokenResourceError, errors.InvalidRequest, msgspec.DecodeError):
            pass  # The peer is gone or does not speak our protocol: for callers it is the same.
        finally:
            self._lose()
            await trio.aclose_forcefully(self._stream)

    def _lose(self) -> None:
        self.lost.set()
        self._outbox_filled.set()
        for call in self._calls.values():
            call.settle(_gone(self._path))
        self._calls.clear()
        for subscription in self._subscriptions.values():
            subscription._stir()

    def _take(self, frame: bytes) -> None:
        """One frame from dashd; synchronous, so that a subscription exists before its first events do."""
        message = envelope.decode_incoming(frame)
        if message.method == "$/events":
            pushed = msgspec.json.decode(message.params, type=_Pushed)
            if subscription := self._subscriptions.get(pushed.subscription):
                subscription._deliver(pushed.events)
        elif isinstance(message.id, int) and (call := self._calls.pop(message.id, None)):
            call.settle(_outcome(call.row, message))
            if call.subscriber and isinstance(call.outcome, event.EventsSubscribed):
                self._subscriptions[call.outcome.subscription] = call.subscriber
                call.subscriber._started(call.outcome)

    def _unsubscribe(self, subscription: int) -> None:
        """Ends a subscription without waiting for the answer; what still comes of it is dropped."""
        if self._subscriptions.pop(subscription, None) and not self.lost.is_set():
            self._last_id += 1
            params = {"subscription": subscription}
            self._post("event.unsubscribe", params, self._last_id)


class Subscription:
    """Events by `async for`, for one task; raises DaemonUnreachable where it has to go on elsewhere."""

    def __init__(self, client: Client, chosen: dict[str, Any], buffered_max: int) -> None:
        self._client = client
        self._chosen = chosen
        self._buffered_max = buffered_max
        self._buffer: deque[events.Event] = deque()
        self._stirred = trio.Event()
        self._id: int | None = None
        self.ended = False
        self.cursor = 0
        """Everything up to here has been read, or was before the beginning."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> events.Event:
        await trio.lowlevel.checkpoint()  # A long buffer keeps no other task from running.
        while not self._buffer:
            self._client._check_lost()
            if self._id is None:
                await self._begin(self.cursor)
            else:
                self._stirred = trio.Event()
                await self._stirred.wait()
        found = self._buffer.popleft()
        self.cursor = found.seq
        return found

    async def _begin(self, since: int | None) -> None:
        params = self._chosen if since is None else self._chosen | {"since": since}
        await self._client._call("event.subscribe", params, self)

    def _started(self, answer: event.EventsSubscribed) -> None:
        self._id = answer.subscription
        self.cursor = max(self.cursor, answer.cursor)
        if self.ended:
            self._pause()

    def _pause(self) -> None:
        if self._id is not None:
            self._client._unsubscribe(self._id)
            self._id = None

    def _deliver(self, found: list[events.Event]) -> None:
        room = self._buffered_max - len(self._buffer)
        self._buffer.extend(found[:room])
        if len(found) > room:
            self._pause()
        self._stir()

    def _stir(self) -> None:
        self._stirred.set()


def open_client(path: str) -> Client:
    """`async with open_client(path) as client`: connects, and closes at the end of the block.

    Entering raises DaemonUnreachable where nobody answers at `path`. An exception of the block comes out as
    it is, not in a group.
    """
    return Client(path)


async def _connect(path: str) -> trio.SocketStream:
    if fault := paths.too_long(path):
        raise errors.DaemonUnreachable(fault[0], hint=fault[1])
    try:
        return await trio.open_unix_socket(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise errors.DaemonUnreachable(f"no dashd answers at {path}: {reason}", hint=_UP) from error


def _outcome(row: table.Method, message: envelope.Incoming) -> table.Result | errors.DashError:
    if isinstance(message.error, dict):
        return errors.from_wire(message.error)
    try:
        return msgspec.json.decode(message.result or b"", type=row.result)
    except msgspec.DecodeError as error:
        return errors.InternalError(
            f"dashd answered {row.name} in a form that this client does not know: {error}",
            hint="Are dashd and this program of one version? `dashctl restart` starts the installed one.",
        )


def _gone(path: str) -> errors.DaemonUnreachable:
    return errors.DaemonUnreachable(f"the connection to dashd at {path} was lost", hint=_UP)
