"""The scripted dashd of `fakes.daemon` in a thread of its own, for clients that block.

What it answers is checked against the method table there; here is only the way to steer it from outside.
"""

import threading
from collections.abc import Callable
from typing import Any, Self

import trio

from dashd.wire import errors
from dashd.wire.methods import table
from tests.fakes import daemon as fake

START_S = 10.0


class DaemonThread:
    """A context manager; inside it the daemon lives at `path`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,), name="fake dashd")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(START_S)
        return self

    def __exit__(self, *_: object) -> None:
        trio.from_thread.run_sync(self._over.set, trio_token=self._token)
        self._thread.join(START_S)
        assert not self._thread.is_alive()

    def on(self, method: str, answer: Callable[[Any], Any] | table.Result | errors.DashError) -> None:
        """As `fake.Daemon.on`; an answering function runs in the daemon's thread."""
        self._daemon.on(method, answer)

    def asked(self, method: str) -> list[dict[str, Any]]:
        """The parameters of every call of `method` so far."""
        return self._daemon.asked(method)

    def wait_asked(self, method: str, count: int = 1) -> None:
        """Returns once `method` has been asked for the `count`-th time."""
        trio.from_thread.run(self._waited, method, count, trio_token=self._token)

    def die(self) -> None:
        """Goes away like a killed process; the socket file stays."""
        trio.from_thread.run(self._daemon.die, trio_token=self._token)

    def live(self) -> None:
        """Lives again at the same path."""
        trio.from_thread.run(self._daemon.live, trio_token=self._token)

    async def _waited(self, method: str, count: int) -> None:
        with trio.fail_after(START_S):
            await self._daemon.wait_asked(method, count)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._over = trio.Event()
        async with fake.open_daemon(self.path) as self._daemon:
            self._ready.set()
            await self._over.wait()
