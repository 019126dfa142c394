"""Pushes events to subscribers: each one once, in order, however slow or late its reader is.

A subscription is a cursor, not a queue. While it is *behind*, its own task brings it on: pages from the
table, then the tail in memory, waiting for the reader whenever that has enough. Where the tail has nothing
newer it joins it, in one step without a wait, so nothing can fall between; from then on it is *live* and
every commit is sent to it by the publisher itself, without waking a task. A live reader that has enough falls
back. One who may not be told of every swarm never takes from the tail: each commit makes it read the table,
where it is also looked up which swarms those are.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

import trio

from dashd.store import events, reader, rows, swarms, tail
from dashd.wire import errors
from dashd.wire.events import Filter
from dashd.wire.methods import event as wire

from . import reach
from .core import Caller
from .events import filter_of

PAGE_EVENTS_MAX: Final = 256
"""Read from the table at once."""
LINE_BYTES_MAX: Final = 256 * 1024
"""One notification is ended here; only a single larger event makes it longer."""


class Sink(Protocol):
    """Where a subscription's notifications go."""

    def push(self, line: bytes) -> bool:
        """Take a whole line without waiting; False where it is the last that should come for now."""

    async def room(self) -> None:
        """Returns when there is room again."""


class Subscription:
    """One reader's place in the events."""

    def __init__(
        self, number: int, wanted: Filter, cursor: int, sink: Sink, caller: Caller | None = None
    ) -> None:
        self.number = number
        self.bounded_by = caller if caller is not None and reach.is_bounded(caller) else None
        self.wanted = wanted
        self.cursor = cursor
        """Everything up to here that is wanted has been pushed."""
        self.sink = sink
        self.behind = trio.Event()
        self._scope = trio.CancelScope()

    def end(self) -> None:
        """Push nothing more."""
        self._scope.cancel(reason="unsubscribed")

    def line(self, joined: bytes) -> bytes:
        """The notification that carries these bodies."""
        head = b'{"jsonrpc":"2.0","method":"$/events","params":{"subscription":%d,"events":[' % self.number
        return b"".join((head, joined, b"]}}\n"))

    @property
    def scope(self) -> trio.CancelScope:
        """What `Feed.run` runs in."""
        return self._scope


class Feed:
    """All subscriptions; made by `open_feed`."""

    def __init__(self, newest: tail.Tail, table: reader.Reader) -> None:
        self._tail = newest
        self._table = table
        self._live: dict[Subscription, None] = {}

    async def check(self, params: wire.SubscribeEvents) -> Filter:
        """The filter of a request; raises InvalidParams or UnknownSwarm where it cannot match anything."""
        wanted = filter_of(params)
        swarm = wanted.swarm
        if swarm is not None:
            await self._table.read(lambda db: swarms.get(db, swarm))
        if params.since and params.since > self._tail.last_seq:
            raise errors.InvalidParams(
                f"`since` is {params.since}, but the newest event is {self._tail.last_seq}.",
                path="since",
                hint="Use the cursor of an answer or of the last event seen, or leave it out.",
            )
        return wanted

    def subscribe(
        self,
        number: int,
        wanted: Filter,
        params: wire.SubscribeEvents,
        sink: Sink,
        caller: Caller | None = None,
    ) -> Subscription:
        """A subscription that starts where the request says; `run` serves it."""
        since = params.since
        cursor = since if isinstance(since, int) else self._tail.last_seq
        return Subscription(number, wanted, cursor, sink, caller)

    async def run(self, subscription: Subscription) -> None:
        """Push until the subscription is ended or the caller is cancelled."""
        with subscription.scope:
            try:
                while True:
                    await self._catch_up(subscription)
                    await subscription.behind.wait()
            finally:
                self._live.pop(subscription, None)

    def deliver(self, batch: tail.Batch) -> None:
        """Push one commit to every live subscription; never waits."""
        lines: dict[int, bytes] = {}
        whole = len(batch.joined) <= LINE_BYTES_MAX
        for subscription in list(self._live):
            if subscription.bounded_by is not None:
                more = False
            elif whole and subscription.wanted.everything:
                # Numbers count from 1 on each connection, so most subscribers share one line.
                number = subscription.number
                line = lines.get(number) or lines.setdefault(number, subscription.line(batch.joined))
                more = subscription.sink.push(line)
                subscription.cursor = batch.events[-1].seq
            else:
                more = _push(subscription, batch.events)
            if not more:
                del self._live[subscription]
                subscription.behind.set()

    async def _catch_up(self, subscription: Subscription) -> None:
        while True:
            await subscription.sink.room()
            newer = self._newer(subscription)
            if newer is None:
                await self._push_page(subscription)
            elif _push(subscription, newer):
                # No await since `since`: the next commit finds it live.
                subscription.behind = trio.Event()
                self._live[subscription] = None
                return

    def _newer(self, subscription: Subscription) -> Sequence[tail.Committed] | None:
        """What to push out of the tail; None where the table has to be read."""
        if subscription.bounded_by is None:
            return self._tail.since(subscription.cursor)
        return [] if subscription.cursor == self._tail.last_seq else None

    async def _push_page(self, subscription: Subscription) -> None:
        wanted, since, last = subscription.wanted, subscription.cursor, self._tail.last_seq
        caller = subscription.bounded_by

        def query(db: rows.Snapshot) -> tuple[list[bytes], int, bool]:
            told = wanted if caller is None else wanted.for_those(reach.seen(db, caller))
            return events.after(db, since, told, PAGE_EVENTS_MAX, last)

        bodies, cursor, _more = await self._table.read(query)
        for part in _parts(bodies):
            await subscription.sink.room()
            subscription.sink.push(subscription.line(b",".join(part)))
        subscription.cursor = cursor


@contextlib.contextmanager
def open_feed(newest: tail.Tail, table: reader.Reader) -> Iterator[Feed]:
    """A feed that follows the tail until it is left."""
    feed = Feed(newest, table)
    unfollow = newest.follow(feed.deliver)
    try:
        yield feed
    finally:
        unfollow()


def _push(subscription: Subscription, newer: Sequence[tail.Committed]) -> bool:
    """Push what is wanted of these; False where the reader had enough, with the cursor where that was."""
    wants = subscription.wanted.wants
    bodies: list[bytes] = []
    size = 0
    for event in newer:
        if wants(event.kind, event.swarm):
            bodies.append(event.body)
            size += len(event.body)
        subscription.cursor = event.seq
        if size >= LINE_BYTES_MAX:
            if not subscription.sink.push(subscription.line(b",".join(bodies))):
                return False
            bodies, size = [], 0
    return not bodies or subscription.sink.push(subscription.line(b",".join(bodies)))


def _parts(bodies: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The bodies in order, each part no longer than a line may be."""
    part: list[bytes] = []
    size = 0
    for body in bodies:
        part.append(body)
        size += len(body)
        if size >= LINE_BYTES_MAX:
            yield part
            part, size = [], 0
    if part:
        yield part
