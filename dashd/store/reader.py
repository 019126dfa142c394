"""Reads: a few read-only connections in worker threads, each query inside one consistent snapshot.

Nothing read here may decide a mutation (that is what operations are for). A query never holds up the event
loop or the writer; a cancelled caller never leaves a connection in use behind.
"""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import apsw
import trio

from dashd import threads
from dashd.store import database
from dashd.wire import errors

T = TypeVar("T")
log = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 2
WAITING_MAX: Final = 1024
STEPS_PER_LOOK: Final = 20_000
"""SQLite instructions between two looks at whether the caller has been cancelled: below a millisecond."""
AGAIN_S: Final = 1.0

_FAULTS: Final = (
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.NoMemError,
    apsw.CantOpenError,
    apsw.BusyError,
)


class Reader:
    """Runs queries side by side, at most as many as it has connections; opened when first needed."""

    def __init__(
        self,
        path: Path,
        *,
        vfs: str | None = None,
        connections_max: int = CONNECTIONS_MAX,
        waiting_max: int = WAITING_MAX,
    ) -> None:
        self._path = path
        self._vfs = vfs
        self._connections_max = connections_max
        self._waiting_max = waiting_max
        self._room = trio.CapacityLimiter(connections_max)
        self._waiting = 0
        self._idle: list[apsw.Connection] = []
        self._closing = False

    async def read(self, query: Callable[[apsw.Connection], T]) -> T:
        """What `query` returns; it must have read all its rows by then, and must not write.

        Cancellable at any time: while it waits for a connection and, between two steps of SQLite, while it
        runs. Raises what the query raised; RateLimited when too many wait; StoreClosed; Unavailable or
        StoreBroken where the file cannot be read.
        """
        if self._closing:
            raise errors.StoreClosed
        if self._waiting >= self._waiting_max:
            raise errors.RateLimited(
                f"{self._waiting} reads are waiting already", hint="wait for answers before asking again"
            )
        self._waiting += 1
        try:
            # Not abandoned on cancel: the thread notices by itself and gives its connection back first.
            return await threads.at_once(self._read, query, limiter=self._room)
        except threads.NoThread as error:
            raise errors.Unavailable(
                f"reading the database {self._path}: {error}",
                hint=f"the processes of uid {os.geteuid()} are used up, by agents perhaps; try again",
            ) from None
        finally:
            self._waiting -= 1

    async def aclose(self) -> None:
        """Refuse new reads, wait for the running ones, close the connections. Twice is fine.

        Not cancellable; bounded by the reads under way, as those that only wait are refused.
        """
        self._closing = True
        with trio.CancelScope(shield=True):
            for place in range(self._connections_max):
                await self._room.acquire_on_behalf_of((self, place))
            await threads.or_here(self._close)
            for place in range(self._connections_max):
                self._room.release_on_behalf_of((self, place))

    def _close(self) -> None:
        while self._idle:
            self._idle.pop().close(True)

    def _read(self, query: Callable[[apsw.Connection], T]) -> T:
        if self._closing:
            raise errors.StoreClosed
        # The limiter admits no more threads than there are connections; list.pop and append are atomic.
        connection = self._idle.pop() if self._idle else self._open()
        try:
            connection.execute("BEGIN")
            try:
                return query(connection)
            finally:
                connection.execute("ROLLBACK")
        except _FAULTS as error:
            raise database.refusal(error, "reading", self._path) from error
        finally:
            self._idle.append(connection)

    def _open(self) -> apsw.Connection:
        connection = database.connect(self._path, readonly=True, vfs=self._vfs)
        connection.set_progress_handler(_look, STEPS_PER_LOOK)
        return connection


class OwnReader(Reader):
    """For the daemon's own questions, of which none is refused: what passes by itself is waited for."""

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        super().__init__(path, vfs=vfs, waiting_max=sys.maxsize)

    async def read(self, query: Callable[[apsw.Connection], T]) -> T:
        """See Reader; where the file cannot be read for now (no descriptor or thread is left for it, another
        program has it locked) it is asked again.
        """
        while True:
            try:
                return await super().read(query)
            except errors.StoreClosed:
                raise
            except errors.Unavailable as error:
                log.warning("a question waits: %s", error.message)
            await trio.sleep(AGAIN_S)


def _look() -> bool:
    trio.from_thread.check_cancelled()
    return False
