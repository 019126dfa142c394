"""A subscriber that outlives daemons: it comes back with its last seq, misses nothing, sees nothing twice.

It runs in a thread of its own beside the story, and keeps every event that was pushed to it, in order.
"""

import threading
import time
from typing import Any, Self

from tests.crash.client import Client, Gone
from tests.crash.home import Home

SLICE_S = 0.2


class Watcher:
    """A context manager; afterwards `seen` is complete up to the last event it was told to wait for."""

    def __init__(self, home: Home) -> None:
        self.seen: list[dict[str, Any]] = []
        self.connections = 0
        self._home = home
        self._last: int | None = None
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._left.set()
        self._thread.join()

    def wait_for(self, seq: int, within_s: float = 10.0) -> None:
        """Returns when it has seen this event; the daemon must be serving."""
        self._last = seq
        self._thread.join(within_s)
        assert self.cursor >= seq, f"the subscriber is at {self.cursor}, the daemon at {seq}"

    @property
    def cursor(self) -> int:
        """The last seq it has seen."""
        return self.seen[-1]["seq"] if self.seen else 0

    def check(self, events: list[dict[str, Any]]) -> None:
        """What it saw is the table, event for event."""
        assert [event["seq"] for event in self.seen] == list(range(1, len(self.seen) + 1))
        assert self.seen == events[: len(self.seen)]

    def _run(self) -> None:
        while not self._done():
            if not self._home.serving.wait(SLICE_S):
                continue
            try:
                client = self._home.client()
            except Gone:
                continue
            try:
                self._follow(client)
            except Gone:
                pass
            finally:
                client.close()

    def _follow(self, client: Client) -> None:
        client.send("event.subscribe", since=self.cursor)
        self.connections += 1
        while not self._done():
            self.seen += client.pushed(time.monotonic() + SLICE_S)

    def _done(self) -> bool:
        return self._left.is_set() or (self._last is not None and self.cursor >= self._last)
