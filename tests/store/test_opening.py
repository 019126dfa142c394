"""A store is entered whole and left whole, and what stops it from opening is said."""

import os
import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from dashd import store
from dashd.store import migrations
from dashd.wire import errors
from tests.store.conftest import Note, keys, opened, reopened


async def test_what_was_written_is_read_followed_and_found_again(path: Path) -> None:
    async with opened(path) as ours:
        ticket = ours.bells.events.ticket()
        assert ours.path == path
        assert ours.tail.last_seq == 0
        assert await ours.writer.apply(Note("a")) == 1
        await ticket.wait()
        assert await ours.reader.read(keys) == ["a"]
        assert [event.seq for event in ours.tail.since(0) or []] == [1]
    assert os.listdir(path.parent) == ["dash.db"], "checkpointed and closed"
    async with opened(path) as again:
        assert again.tail.last_seq == 1
        assert again.tail.since(0) is None, "that one is in the table"
        assert await again.writer.apply(Note("b")) == 2
        assert await again.reader.read(keys) == ["a", "b"]


async def test_leaving_drains_even_when_cancelled(path: Path) -> None:
    with trio.CancelScope() as scope:
        async with opened(path) as ours, trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(ours.writer.apply, Note(str(number)))
            await trio.lowlevel.checkpoint()
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert os.listdir(path.parent) == ["dash.db"]
    reopened(path)


async def test_after_leaving_everything_is_closed(path: Path) -> None:
    async with opened(path) as ours:
        pass
    with pytest.raises(errors.StoreClosed):
        await ours.writer.apply(Note("a"))
    with pytest.raises(errors.StoreClosed):
        await ours.reader.read(keys)


async def test_an_error_inside_still_closes(path: Path) -> None:
    async def daemon() -> None:
        async with opened(path) as ours:
            await ours.writer.apply(Note("a"))
            raise ValueError("a bug of the daemon")

    with pytest.raises(ValueError, match="of the daemon"):
        await daemon()
    assert os.listdir(path.parent) == ["dash.db"]
    assert reopened(path) == ["a"]


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.Unavailable, match=r"opening the database .*/state/dash.db: No such file"):
        async with opened(tmp_path / "state" / "dash.db"):
            pytest.fail("it cannot open")


async def test_a_refused_schema_is_left_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(path):
        pass
    changed = [migrations.Migration(1, "spine", "SELECT 1;")]
    monkeypatch.setattr(migrations, "load", lambda: changed)
    with pytest.raises(store.SchemaRefused):
        async with opened(path):
            pytest.fail("it cannot open")
    monkeypatch.undo()
    assert reopened(path) == []


async def test_callers_without_number_neither_refuse_nor_delay_the_daemons_own_questions(path: Path) -> None:
    """A crowd that has both connections and every place in the queue."""
    free = threading.Event()
    async with opened(path) as ours, trio.open_nursery() as nursery:
        for _ in range(1024):
            nursery.start_soon(ours.reader.read, lambda db: free.wait(15))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(errors.RateLimited):
            await ours.reader.read(keys)
        assert await ours.own.read(keys) == []
        free.set()
