"""A store without threads: real SQLite and the real writer's core, but every call runs where it is made.

For tests with a clock that jumps while a thread works. tests/store/test_inline.py holds it to what the real
store does.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import apsw
import trio

from dashd.store import bells, database, tail, transaction, writer
from tests.fakes.clock import FixedClock

if TYPE_CHECKING:
    from dashd.wire import errors

T = TypeVar("T")


class InlineWriter:
    """`refusal` is raised by `apply` as long as it is set."""

    def __init__(self, core: writer.Writer) -> None:
        self._core = core
        self.refusal: errors.DashError | None = None
        self.broken = core.broken

    def do(self, operation: transaction.Operation[T]) -> T:
        """What the operation returns, or raises; nothing of it stays where it raises."""
        (found,) = self._core.commit_now([operation])
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]

    async def apply(self, operation: transaction.Operation[T]) -> T:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.refusal is not None:
            raise self.refusal
        found = self.do(operation)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return found


class InlineReader:
    """Counts its reads."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self.reads = 0

    async def read(self, query: Callable[[apsw.Connection], T]) -> T:
        self.reads += 1
        await trio.lowlevel.checkpoint()
        self._db.execute("BEGIN")
        try:
            return query(self._db)
        finally:
            self._db.execute("ROLLBACK")


class InlineStore:
    """Stands for `dashd.store.Store`; `do` commits without an event loop."""

    def __init__(self, path: Path, clock: FixedClock) -> None:
        self.path = path
        self.db = database.connect(path)
        # Nobody cuts the power in a unit test, and fsync is most of a commit.
        self.db.execute("PRAGMA synchronous = OFF")
        self.bells = bells.Bells()
        self.tail = tail.Tail(int(self.db.execute("SELECT coalesce(max(seq), 0) FROM event").get))
        self.writer = InlineWriter(writer.Writer(self.db, clock, self.tail, self.bells))
        self.reader = InlineReader(self.db)
        self.own = InlineReader(self.db)

    def do(self, operation: transaction.Operation[T]) -> T:
        return self.writer.do(operation)

    def with_writer(self, writer: Any) -> "InlineStore":
        other = copy.copy(self)
        other.writer = writer
        return other

    def close(self) -> None:
        database.close(self.db, checkpoint=False)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"an inline store has no {name}")
