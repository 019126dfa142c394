"""The newest events in memory, so that a follower who is up to date never reads the table.

The tail holds a dense run of events that ends at `last_seq`; what has fallen out of it is in the table.
It keeps no list per follower: each has a cursor, and a slow one simply reads the table. Trio thread only.
"""

from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import Final

import msgspec

TAIL_EVENTS_MAX: Final = 8192
TAIL_BYTES_MAX: Final = 8 * 1024 * 1024


class Committed(msgspec.Struct, frozen=True, gc=False):
    """One durable event: what a filter needs, and the body exactly as it goes over the wire."""

    seq: int
    kind: str
    swarm: str | None
    body: bytes


class Batch:
    """The events of one COMMIT, `seq` ascending; never empty."""

    def __init__(self, events: tuple[Committed, ...]) -> None:
        assert events, "a batch without events is not published"
        self.events = events

    @cached_property
    def joined(self) -> bytes:
        """All bodies joined by commas, made at most once whatever the number of followers."""
        return b",".join([event.body for event in self.events])


Listener = Callable[[Batch], None]


class Tail:
    """A bounded run of the newest events, and the functions that are called with each new batch."""

    def __init__(
        self, last_seq: int, *, events_max: int = TAIL_EVENTS_MAX, bytes_max: int = TAIL_BYTES_MAX
    ) -> None:
        """`last_seq` is the highest seq in the table, 0 where there is none."""
        self.last_seq = last_seq
        self._floor = last_seq
        self._events: deque[Committed] = deque()
        self._bytes = 0
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._listeners: dict[object, Listener] = {}

    def since(self, seq: int) -> list[Committed] | None:
        """The events after `seq`, ascending; None where some of them are only in the table."""
        if seq < self._floor:
            return None
        # From the newest backwards: a follower is rarely more than a few events behind.
        newer: list[Committed] = []
        for event in reversed(self._events):
            if event.seq <= seq:
                break
            newer.append(event)
        newer.reverse()
        return newer

    def follow(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each batch from now on; the function returned ends that (twice is fine).

        The listener runs inside the answer to a commit, so it must not block; one that raises is a bug
        and ends the daemon.
        """
        key = object()
        self._listeners[key] = listener

        def unfollow() -> None:
            self._listeners.pop(key, None)

        return unfollow

    def publish(self, batch: Batch) -> None:
        """Append what has just been committed and tell every follower."""
        assert batch.events[0].seq == self.last_seq + 1, "the tail must stay dense"
        self.last_seq = batch.events[-1].seq
        self._events.extend(batch.events)
        self._bytes += sum([len(event.body) for event in batch.events])
        while len(self._events) > self._events_max or self._bytes > self._bytes_max:
            oldest = self._events.popleft()
            self._bytes -= len(oldest.body)
            self._floor = oldest.seq
        for key, listener in list(self._listeners.items()):
            if key in self._listeners:  # an earlier listener may have ended this one
                listener(batch)
