"""Reads see one snapshot, wait in a bounded line, stop when cancelled, and leave no connection in use."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest
import trio
import trio.testing

from dashd.store import database, reader
from dashd.wire import errors

ENDLESS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"


def epoch(db: apsw.Connection) -> object:
    return db.execute("SELECT epoch FROM daemon").get


@asynccontextmanager
async def opened(path: Path, **limits: int) -> AsyncIterator[reader.Reader]:
    ours = reader.Reader(path, **limits)
    with trio.fail_after(20):
        try:
            yield ours
        finally:
            await ours.aclose()


async def test_a_query_gives_what_it_returns_or_raises(db: apsw.Connection, path: Path) -> None:
    async with opened(path) as ours:
        assert await ours.read(epoch) == 0
        with pytest.raises(apsw.SQLError, match="no such table: missing"):
            await ours.read(lambda db: db.execute("SELECT * FROM missing").get)
        with pytest.raises(apsw.ReadOnlyError):
            await ours.read(lambda db: db.execute("UPDATE daemon SET epoch = 9").get)
        db.execute("UPDATE daemon SET epoch = 5")
        assert await ours.read(epoch) == 5


async def test_one_query_sees_one_snapshot(db: apsw.Connection, path: Path) -> None:
    def twice(reading: apsw.Connection) -> tuple[object, object]:
        before = epoch(reading)
        db.execute("UPDATE daemon SET epoch = epoch + 1")
        return before, epoch(reading)

    async with opened(path) as ours:
        assert await ours.read(twice) == (0, 0)
        assert await ours.read(twice) == (1, 1)


async def test_connections_are_few_lazy_and_kept(db: apsw.Connection, path: Path) -> None:
    used: list[int] = []
    gate = threading.Barrier(2, timeout=10)

    def together(reading: apsw.Connection) -> None:
        gate.wait()
        used.append(id(reading))

    async with opened(path) as ours:
        assert ours._idle == []
        for _ in range(3):
            await ours.read(lambda reading: used.append(id(reading)))
        assert len(set(used)) == len(ours._idle) == 1
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ours.read, together)
        assert len(set(used)) == len(ours._idle) == 2


async def test_a_running_query_is_cancelled_and_gives_its_connection_back(
    db: apsw.Connection, path: Path
) -> None:
    async with opened(path, connections_max=1) as ours:
        with trio.move_on_after(0.05) as patience:
            await ours.read(lambda reading: reading.execute(ENDLESS).get)
        assert patience.cancelled_caught
        (idle,) = ours._idle
        assert not idle.in_transaction
        assert await ours.read(epoch) == 0


async def test_a_waiting_query_is_cancelled_without_having_run(db: apsw.Connection, path: Path) -> None:
    gate, ran = threading.Event(), []
    async with opened(path, connections_max=1) as ours, trio.open_nursery() as nursery:
        nursery.start_soon(ours.read, lambda _: gate.wait(10))
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_when_blocked, scope)
            await ours.read(lambda _: ran.append(1))
        assert scope.cancelled_caught
        gate.set()
    assert ran == []


async def cancel_when_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


async def test_the_line_is_bounded(db: apsw.Connection, path: Path) -> None:
    gate = threading.Event()
    async with opened(path, connections_max=1, waiting_max=3) as ours, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ours.read, lambda _: gate.wait(10))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(errors.RateLimited, match="3 reads are waiting"):
            await ours.read(epoch)
        gate.set()
        while ours._waiting:
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert await ours.read(epoch) == 0


async def test_closing_waits_for_the_running_and_refuses_the_waiting(db: apsw.Connection, path: Path) -> None:
    gate, begun, done, answers = threading.Event(), trio.Event(), [], []

    def running(reading: apsw.Connection) -> None:
        trio.from_thread.run_sync(begun.set)
        gate.wait(10)
        done.append(epoch(reading))

    async def waiting() -> None:
        try:
            await ours.read(epoch)
        except errors.StoreClosed as error:
            answers.append(error)

    async with opened(path, connections_max=1) as ours, trio.open_nursery() as nursery:
        nursery.start_soon(ours.read, running)
        await begun.wait()
        nursery.start_soon(waiting)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ours.aclose)
        await trio.testing.wait_all_tasks_blocked()
        assert done == []
        gate.set()
    assert done == [0]
    assert len(answers) == 1
    assert ours._idle == []
    await ours.aclose()
    with pytest.raises(errors.StoreClosed):
        await ours.read(epoch)


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    async with opened(tmp_path / "none.db") as ours:
        with pytest.raises(errors.Unavailable, match=r"opening the database .*/none.db"):
            await ours.read(epoch)


async def test_damage_is_said_with_the_path(db: apsw.Connection, path: Path) -> None:
    def damaged(_reading: apsw.Connection) -> None:
        raise apsw.CorruptError("database disk image is malformed")

    async with opened(path) as ours:
        with pytest.raises(errors.StoreBroken, match=r"reading the database .*dash.db: database disk image"):
            await ours.read(damaged)
        assert await ours.read(epoch) == 0


async def test_the_daemon_s_own_questions_wait_for_what_passes(
    db: apsw.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No descriptor is left for another connection, say: that must end no task of the daemon's."""
    connect, tries = database.connect, []

    def scarce(*arguments: object, **options: object) -> apsw.Connection:
        tries.append(path)
        if len(tries) < 3:
            raise errors.Unavailable("opening the database: unable to open database file")
        return connect(*arguments, **options)

    monkeypatch.setattr(database, "connect", scarce)
    monkeypatch.setattr(reader, "AGAIN_S", 0)
    own = reader.OwnReader(path)
    assert await own.read(epoch) == 0
    assert len(tries) == 3
    await own.aclose()
    with pytest.raises(errors.StoreClosed):
        await own.read(epoch)


async def test_the_daemon_s_own_questions_are_never_too_many(db: apsw.Connection, path: Path) -> None:
    own = reader.OwnReader(path)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(reader.WAITING_MAX + 1):
                nursery.start_soon(own.read, epoch)
    await own.aclose()


async def test_so_they_do_where_no_thread_is_left(
    db: apsw.Connection, path: Path, scarce: Callable[[int], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Agents of the same user may have used up all processes that it may have."""
    tries = scarce(2)
    monkeypatch.setattr(reader, "AGAIN_S", 0)
    own = reader.OwnReader(path)
    assert await own.read(epoch) == 0
    assert len(tries) == 3
    await own.aclose()


async def test_and_a_caller_is_told_that_there_is_none(
    db: apsw.Connection, path: Path, scarce: Callable[[int], list[str]]
) -> None:
    scarce(1)
    asked = reader.Reader(path)
    with pytest.raises(errors.Unavailable, match="can't start new thread"):
        await asked.read(epoch)
    assert await asked.read(epoch) == 0
    await asked.aclose()
