"""The connection to dashd: opened on first use, opened again when it broke, and patient while dashd restarts.

A call that broke is repeated where doing it twice is the same as doing it once; any other is answered by an
error that says what to check. Before dashd has answered once, its absence is an error at once.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import trio

from dashd import client
from dashd.wire import errors, methods

RECONNECT_S_MAX = 15.0
"""How long a call waits for dashd to come back, counted from the moment it went away."""
TRIES_MAX = 6
"""A dashd that goes away at every try of a call may be going away because of it."""
_PAUSE_S = 0.05
_PAUSE_S_MAX = 0.5
_LEAVING = (errors.ShuttingDown, errors.StoreClosed)
"""Refusals of a daemon that is going away: nothing was done, so the next one may be asked."""

Params = Mapping[str, Any]


class Unconfirmed(errors.DaemonUnreachable):
    """The connection to dashd broke during this call; whether it was carried out is not known."""

    retryable = False


class Link:
    """Calls to whichever dashd listens at `path`. Made by `open_link`, which owns it."""

    def __init__(self, path: str, nursery: trio.Nursery, noted: Callable[[], str], key: str) -> None:
        self.path = path
        self._key = key
        self._noted = noted
        self._nursery = nursery
        self._opening = trio.Lock()
        self._client: client.Client | None = None
        self._away_since: float | None = None
        """When a dashd that had answered went away."""

    async def call(self, method: str, params: Params | Callable[[], Params]) -> Any:  # noqa: ANN401
        """Calls a method and returns its result struct; a callable makes the parameters anew for each try.

        Raises Unconfirmed, DaemonUnreachable, and every DashError of dashd's.
        """
        for tries_left in reversed(range(TRIES_MAX)):
            dash = await self._connected()
            now = params() if callable(params) else params
            try:
                return await dash.call(method, now)
            except _LEAVING as error:
                failure: errors.DashError = error
            except errors.DaemonUnreachable as error:
                if not repeatable(method, now):
                    raise Unconfirmed(hint="Look with swarm_get before you call this again") from error
                failure = error
            # A daemon that leaves closes its connections within its own grace; the next try must not meet it.
            with trio.move_on_after(RECONNECT_S_MAX):
                await dash.lost.wait()
            if not tries_left or not dash.lost.is_set():
                raise failure
        raise AssertionError("the last try returns or raises")

    async def _connected(self) -> client.Client:
        pause_s = _PAUSE_S
        while True:
            try:
                return await self._open()
            except errors.DaemonUnreachable:
                if self._away_since is None or trio.current_time() > self._away_since + RECONNECT_S_MAX:
                    raise
            await trio.sleep(pause_s)
            pause_s = min(_PAUSE_S_MAX, pause_s * 2)

    async def _open(self) -> client.Client:
        async with self._opening:
            if self._client and self._client.lost.is_set():
                self._client = None
                if self._away_since is None:  # `_hold` did not run yet
                    self._away_since = trio.current_time()
            if self._client is None:
                opened: client.Client = await self._nursery.start(self._hold)
                self._client, self._away_since = opened, None
            return self._client

    async def _hold(self, *, task_status: trio.TaskStatus[client.Client]) -> None:
        """Lives as long as one connection does."""
        async with client.open_client(self._noted() or self.path) as opened:
            if self._key:
                await opened.call("rpc.hello", {"client": "dash-mcp", "key": self._key})
            task_status.started(opened)
            await opened.lost.wait()
        self._away_since = trio.current_time()


def repeatable(method: str, params: Params) -> bool:
    """Whether a call that may have been carried out can be sent again without a second effect."""
    row = methods.METHODS[method]
    return not row.changes or row.idempotent or "idempotency_key" in params


@contextlib.asynccontextmanager
async def open_link(path: str, noted: Callable[[], str] = lambda: "", key: str = "") -> AsyncIterator[Link]:
    """A Link that is closed, with its connection, at the end of the block. It does not connect yet.

    `noted` is asked before each connection and gives the socket that dashd itself named, or "". A `key` says
    who speaks, before anything else is said; dashd then enforces what that one may.
    """
    async with trio.open_nursery() as nursery:
        yield Link(path, nursery, noted, key)
        nursery.cancel_scope.cancel(reason="the link is closed")
