"""A store on a real disk, and the small operation with which most tests here write."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest
import trio

from dashd import store
from dashd.store import bells, database, migrations, tail, writer
from tests.fakes.clock import FixedClock
from tests.fakes.disk import Disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dash.db"


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk()
    yield made
    made.unregister()


@pytest.fixture
def db(path: Path) -> Iterator[apsw.Connection]:
    """A migrated database on disk."""
    connection = database.connect(path)
    migrations.migrate(connection, path, FixedClock())
    yield connection
    database.close(connection, checkpoint=True)


@pytest.fixture
def inline(db: apsw.Connection) -> writer.Writer:
    """A writer without a thread: `commit_now` runs here."""
    return writer.Writer(db, FixedClock(), tail.Tail(0), bells.Bells())


class Note:
    """An operation: one row, one event, and the daemon's epoch raised by one; then perhaps a failure."""

    def __init__(self, key: str, *, failure: Exception | None = None) -> None:
        self.key = key
        self.failure = failure

    def __call__(self, tx: store.Tx) -> int:
        tx.execute(
            "INSERT INTO idempotency (key, method, params_hash, answer, at_ms) VALUES (?, 'm', 'h', '{}', ?)",
            (self.key, tx.now_ms),
        )
        tx.execute("UPDATE daemon SET epoch = epoch + 1")
        seq = tx.emit("task.created", swarm="s", data={"key": self.key})
        if self.failure is not None:
            raise self.failure
        return seq


def keys(db: apsw.Connection) -> list[str]:
    """The keys of all notes that stand, by age; asserts that rows, events and the counter agree."""
    noted = [key for (key,) in db.execute("SELECT key FROM idempotency ORDER BY rowid")]
    told = [key for (key,) in db.execute("SELECT json_extract(body, '$.data.key') FROM event ORDER BY seq")]
    assert noted == told
    assert db.execute("SELECT epoch FROM daemon").get == len(noted)
    seqs = [seq for (seq,) in db.execute("SELECT seq FROM event ORDER BY seq")]
    assert seqs == list(range(1, len(seqs) + 1))
    return noted


def reopened(path: Path) -> list[str]:
    """What a fresh start finds; asserts that the file is sound."""
    connection = database.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").get == "ok"
        return keys(connection)
    finally:
        connection.close()


@asynccontextmanager
async def opened(path: Path, *, vfs: str | None = None) -> AsyncIterator[store.Store]:
    """The store, for at most 20 s."""
    with trio.fail_after(20):
        async with store.open_store(path, FixedClock(), vfs=vfs) as ours:
            yield ours
