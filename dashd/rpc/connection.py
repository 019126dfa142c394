"""One peer, from its first byte to its last answer.

The conversation: 1. read what is there, cut it into frames; 2. start each request in the order of arrival,
run those that need not wait; 3. send the answers of everything that was read at once in one go. Answers of
calls that wait go out as they come, so they may overtake each other.

Limits of a peer: a begun frame must be complete in time; at most `in_flight_max` calls wait at once, and one
more is refused (left unread, it would keep a `$/cancelRequest` behind it unread too); while the outbox is
full nothing is read; a peer that does not read is dropped. A peer that closes only its sending side gets
every answer; its subscriptions end. Cancelled from outside, a connection answers what is in flight, then
closes.
"""

import itertools
import logging
import math
import select
import socket
from typing import Any, Final

import msgspec
import trio

from dashd.service import core as service_core
from dashd.service import feed as service_feed
from dashd.wire import envelope, errors, events, framing
from dashd.wire.methods import event

from . import dispatch as dispatch_
from . import door
from .outbox import Outbox

log = logging.getLogger(__name__)

RECEIVE_BYTES_MAX: Final = 32 * 1024
"""Read at once, and so the most that one peer can make the others wait for (about 2 ms of small calls)."""
LINGER_S: Final = 1.0
"""How long a peer that is being refused may go on sending before it is cut off."""


class PeerLimits(msgspec.Struct, frozen=True):
    """What one peer may use."""

    frame_bytes_max: int = framing.FRAME_BYTES_MAX
    frame_s: float = 30.0
    """From the first to the last byte of one frame. Between frames a peer may be silent for ever."""
    stall_s: float = 30.0
    """How long it may take to read what waits for it."""
    in_flight_max: int = 256
    out_bytes_max: int = 1024 * 1024
    subscriptions_max: int = 16


DEFAULTS: Final = PeerLimits()


class Connection:
    """One peer; `run` serves it."""

    def __init__(
        self,
        sock: socket.socket,
        dispatch: dispatch_.Dispatch,
        caller: service_core.Caller,
        limits: PeerLimits = DEFAULTS,
    ) -> None:
        """Takes over the non-blocking `sock`: `run` closes it."""
        self.caller = caller
        self.limits = limits
        self.dispatch = dispatch
        self._sock = sock
        self._fd = sock.fileno()
        self._framer = framing.Framer(limits.frame_bytes_max)
        self._frame_end = math.inf
        self._outbox = Outbox(sock, bytes_max=limits.out_bytes_max, stall_s=limits.stall_s)
        self._sending = False
        self._in_flight: dict[object, dispatch_.Call] = {}
        self._first: object = None
        """The key of a call that must be answered before more is read."""
        self._answered = trio.Event()
        self._reading = trio.CancelScope()
        self._closing = False
        self._failed = False
        self._subscriptions: dict[int, service_feed.Subscription] = {}
        self._numbers = itertools.count(1)
        self._calls: trio.Nursery
        self._sides: trio.Nursery
        """Beside the calls: the sending of what a slow peer has not read, and its subscriptions."""

    async def run(self) -> None:
        """Serve the peer until it is gone or `close_soon` is done; the socket is closed in any case."""
        try:
            async with trio.open_nursery() as self._sides:
                async with trio.open_nursery() as self._calls:
                    with self._reading:
                        await self._read()
                    self._end_reading()
                for subscription in self._subscriptions.values():
                    subscription.end()
                self._send()
        finally:
            # Where the grace has passed, the answers that say so still go out if the peer can take them.
            self._outbox.flush()
            self._sock.close()

    def close_soon(self) -> None:
        """Start nothing more; end as soon as the calls in flight have been answered."""
        self._closing = True
        if not self._in_flight:
            self._reading.cancel(reason="dashd is stopping")

    # What the door's methods need

    @property
    def feed(self) -> service_feed.Feed:
        """Where subscriptions come from."""
        assert self.dispatch.feed is not None, "a dispatch with subscriptions needs a feed"
        return self.dispatch.feed

    @property
    def core(self) -> Any:  # noqa: ANN401
        """What service functions are given."""
        return self.dispatch.core

    @property
    def version(self) -> str:
        """The daemon's."""
        return self.dispatch.version

    def subscribe(self, wanted: events.Filter, params: event.SubscribeEvents) -> service_feed.Subscription:
        """Start a subscription; its task runs when the caller next waits, so its answer goes first."""
        if len(self._subscriptions) >= self.limits.subscriptions_max:
            raise errors.RateLimited(
                f"This connection has {len(self._subscriptions)} subscriptions already.",
                hint="End one with `event.unsubscribe`, or ask for more kinds in one.",
            )
        subscription = self.feed.subscribe(next(self._numbers), wanted, params, self, self.caller)
        self._subscriptions[subscription.number] = subscription
        self._sides.start_soon(self._follow, subscription)
        return subscription

    def unsubscribe(self, number: int) -> bool:
        """End a subscription; False where there is none of that number."""
        subscription = self._subscriptions.pop(number, None)
        if subscription is not None:
            subscription.end()
        return subscription is not None

    def cancel_call(self, id: str | int) -> None:  # noqa: A002
        """End a call in flight; nothing happens where there is none of that id."""
        if call := self._in_flight.get(id):
            call.cancel("the client asked for it")

    async def _follow(self, subscription: service_feed.Subscription) -> None:
        request = envelope.Request("2.0", "event.subscribe", id=None)
        with dispatch_.Call(request, self._give_up):
            await self.feed.run(subscription)

    def _give_up(self, reason: bytes) -> None:
        """A subscription failed; silence would look like peace. Its reader goes on from its cursor."""
        self._failed = True
        self._put(reason)
        self._send()
        self._reading.cancel(reason="a subscription has failed")

    def _shut_out(self) -> None:
        """The key was revoked or has expired: every subscription ends, and so does the connection."""
        for subscription in self._subscriptions.values():
            subscription.end()
        if not self._failed:
            error = errors.Unauthorized(
                "This key was revoked or has expired.", hint="Connect again with another one."
            )
            self._give_up(envelope.encode_error(None, error))

    # Reading

    async def _read(self) -> None:
        while True:
            if not self._framer.started:
                self._frame_end = math.inf
                await trio.lowlevel.wait_readable(self._fd)
            elif not await self._frame_goes_on():
                return
            try:
                chunk = self._sock.recv(RECEIVE_BYTES_MAX)
            except BlockingIOError:
                continue
            except OSError:
                return
            if not chunk:
                return
            await self._take_chunk(chunk)
            if self._framer.too_large:
                await self._refuse_peer(
                    errors.FrameTooLarge(
                        f"The frame is larger than {self.limits.frame_bytes_max:,} bytes.",
                        hint="Connect again and send less in one request.",
                    )
                )
                return

    async def _frame_goes_on(self) -> bool:
        """Wait for more of a frame that has begun; False where it was not finished in time."""
        if self._frame_end == math.inf:
            self._frame_end = trio.current_time() + self.limits.frame_s
        with trio.move_on_at(self._frame_end):
            await trio.lowlevel.wait_readable(self._fd)
            return True
        await self._refuse_peer(
            errors.DeadlinePassed(
                f"A frame was begun and not finished within {self.limits.frame_s:g} s.",
                hint="End each request with a newline.",
            )
        )
        return False

    async def _take_chunk(self, chunk: bytes) -> None:
        for frame in self._framer.feed(chunk):
            self._frame_end = math.inf
            self._take(frame)
            while self._first is not None:
                self._answered = trio.Event()
                await self._answered.wait()
            if self._outbox.full:
                self._send()
                await self._outbox.room()
        self._send()

    async def _refuse_peer(self, error: errors.DashError) -> None:
        """Say why, then let the peer finish writing for a moment, so that it comes to read the reason."""
        self._put(envelope.encode_error(None, error))
        self._send()
        with trio.move_on_after(LINGER_S):
            while True:
                await trio.lowlevel.wait_readable(self._fd)
                try:
                    if not self._sock.recv(RECEIVE_BYTES_MAX):
                        return
                except BlockingIOError:
                    continue
                except OSError:
                    return

    def _end_reading(self) -> None:
        if self._closing:
            self._refuse_unread()
        elif self._failed or self._peer_is_gone():
            for call in self._in_flight.values():
                # Whoever sends a change and leaves means it; a question without a listener can end.
                if not call.changes:
                    call.cancel("the client is gone")

    def _refuse_unread(self) -> None:
        try:
            chunk = self._sock.recv(RECEIVE_BYTES_MAX)
        except OSError:
            return
        for frame in self._framer.feed(chunk):
            self._take(frame)

    def _peer_is_gone(self) -> bool:
        """True where the peer has closed altogether, false where it has only finished sending."""
        poll = select.poll()
        poll.register(self._fd, select.POLLHUP)
        return any(events & select.POLLHUP for _fd, events in poll.poll(0))

    # Calls

    def _take(self, frame: bytes) -> None:
        message = envelope.decode(frame)
        if not isinstance(message, list):
            self._begin(message, self._put)
            return
        batch = _Batch(message, self._put)
        for each in message:
            if isinstance(each, envelope.Request) and each.method in door.ALONE:
                each = _alone(each)
            self._begin(each, batch.add)

    def _begin(self, message: envelope.Message, reply: dispatch_.Reply) -> None:
        if isinstance(message, envelope.Refused):
            reply(envelope.encode_error(message.id, message.error))
            return
        if (self._closing or message.id in self._in_flight) and (error := self._refusal(message)) is not None:
            dispatch_.Call(message, reply).refuse(error)
            return
        call = self.dispatch.start(self, message, reply)
        if call is None:
            return
        if len(self._in_flight) >= self.limits.in_flight_max:
            call.refuse(
                errors.RateLimited(
                    f"{len(self._in_flight)} calls of this connection are in flight already.",
                    hint="Wait for some of their answers, or use several connections.",
                )
            )
            return
        # A call without an id that could name it stands under itself.
        key = call if call.id is None or call.id is msgspec.UNSET else call.id
        self._in_flight[key] = call
        if message.method in door.FIRST:
            self._first = key
        self._calls.start_soon(self._run, key, call)

    def _refusal(self, request: envelope.Request) -> errors.DashError | None:
        if request.method.startswith("$/"):
            return None
        if self._closing:
            return errors.ShuttingDown(hint="Repeat the call when dashd is back.")
        return errors.InvalidRequest(
            f"A request with the id {request.id!r} is in flight already.",
            hint="Give each request its own id.",
        )

    async def _run(self, key: object, call: dispatch_.Call) -> None:
        try:
            await call.run()
        finally:
            del self._in_flight[key]
            if self._first == key:
                self._first = None
                self._answered.set()
        self._send()
        if self._closing and not self._in_flight:
            self._reading.cancel(reason="dashd is stopping")

    # Sending

    def push(self, line: bytes) -> bool:
        """Send a notification now, as far as the peer takes it; False where the outbox is full after that.

        Whose key does not stand any more is told that instead, once, and gets nothing further.
        """
        if self.caller.key and not self.core.keys.stands(self.caller.proof):
            self._shut_out()
            return True
        if not self._outbox.send(line):
            self._start_drain()
        return not self._outbox.full

    async def room(self) -> None:
        """Return when the outbox is not full; the peer is dropped where that takes too long."""
        await self._outbox.room()

    def _put(self, message: bytes) -> None:
        self._outbox.put(message + b"\n")

    def _send(self) -> None:
        if not self._outbox.flush():
            self._start_drain()

    def _start_drain(self) -> None:
        if not self._sending:
            self._sending = True
            self._sides.start_soon(self._drain)

    async def _drain(self) -> None:
        try:
            await self._outbox.drain()
        except trio.TooSlowError:
            log.info("dropped %s: it does not read its answers", self.caller)
            self._sides.cancel_scope.cancel(reason="the client does not read")
        self._sending = False


def _alone(request: envelope.Request) -> envelope.Message:
    error = errors.InvalidRequest(
        f"`{request.method}` cannot be part of a batch.",
        hint="Send it by itself: its events follow its answer.",
    )
    return request if request.id is msgspec.UNSET else envelope.Refused(request.id, error)


class _Batch:
    """Collects the answers of one batch, and gives them as one array when the last has come."""

    def __init__(self, messages: list[Any], put: dispatch_.Reply) -> None:
        self._missing = sum(each.id is not msgspec.UNSET for each in messages)
        self._answers: list[bytes] = []
        self._put = put

    def add(self, answer: bytes) -> None:
        self._answers.append(answer)
        self._missing -= 1
        if not self._missing:
            self._put(envelope.join_batch(self._answers))
