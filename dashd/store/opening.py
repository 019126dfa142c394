"""Entering and leaving the store's ring: open, migrate, serve; then drain, checkpoint, close.

The writer leaves last, so whatever still has something to write down while the other rings leave can do it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self, TypeVar

import apsw
import trio

from dashd import clock as clocks
from dashd import threads
from dashd.store import bells as bells_
from dashd.store import database, migrations
from dashd.store import reader as reader_
from dashd.store import tail as tail_
from dashd.store import writer as writer_
from dashd.store.transaction import Operation

T = TypeVar("T")


class Writes(Protocol):
    """What is asked of a writer: the store's own, or one that does something besides."""

    @property
    def broken(self) -> trio.Event:
        """Set when nothing can be written any more."""

    async def apply(self, operation: Operation[T]) -> T:
        """As `Writer.apply`."""


@dataclass(frozen=True)
class Store:
    """An open store; valid inside `open_store`."""

    path: Path
    writer: writer_.Writer
    reader: reader_.Reader
    own: reader_.Reader
    """For the daemon's own questions: callers, however many, neither delay them nor have them refused."""
    tail: tail_.Tail
    bells: bells_.Bells

    def with_writer(self, writer: Writes) -> Self:
        """The same store, for somebody whose operations go through another writer."""
        return replace(self, writer=writer)  # type: ignore[arg-type]  # what is asked of it is the same


@asynccontextmanager
async def open_store(
    path: Path,
    clock: clocks.Clock,
    *,
    vfs: str | None = None,
    at_point: writer_.AtPoint = writer_.nowhere,
) -> AsyncIterator[Store]:
    """The store at `path`, created or migrated as needed; closed on leaving, also when cancelled.

    The caller must hold the daemon's lock. Raises Unavailable with path and verb where the file cannot be
    opened, SchemaRefused where it belongs to another Dash, StoreFull and StoreBroken.
    """
    db, last_seq = await threads.run(_open, path, clock, vfs)
    bells = bells_.Bells()
    tail = tail_.Tail(last_seq)
    writer = writer_.Writer(db, clock, tail, bells, at_point=at_point)
    reader = reader_.Reader(path, vfs=vfs)
    own = reader_.OwnReader(path, vfs=vfs)
    try:
        writer.start()
        yield Store(path, writer, reader, own, tail, bells)
    finally:
        # Bounded by the reads that run and by the operations that are queued; none can be added.
        with trio.CancelScope(shield=True):
            await reader.aclose()
            await own.aclose()
            await writer.aclose()
            # After a failed sync nobody knows what the disk holds: leave the files to the next start.
            checkpoint = not writer.broken.is_set()
            await threads.or_here(lambda: database.close(db, checkpoint=checkpoint))


def _open(path: Path, clock: clocks.Clock, vfs: str | None) -> tuple[apsw.Connection, int]:
    db = database.connect(path, vfs=vfs)
    try:
        migrations.migrate(db, path, clock, vfs=vfs)
        # So `seq` never repeats, as long as whoever deletes old events keeps the newest one.
        return db, int(db.execute("SELECT coalesce(max(seq), 0) FROM event").get)
    except BaseException:
        database.close(db, checkpoint=False)
        raise
