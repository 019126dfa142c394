"""What must not be dropped waits for the disk, and says so."""

import pytest
import trio

from dashd.store import database, insist
from dashd.wire import errors
from tests.store.conftest import opened


class _Writer:
    """Full for the first `refusals` tries."""

    def __init__(self, refusals: int, error: type[errors.DashError] = errors.StoreFull) -> None:
        self.refusals = refusals
        self.error = error
        self.at: list[float] = []

    async def apply(self, operation):
        await trio.lowlevel.checkpoint()
        self.at.append(trio.current_time())
        if len(self.at) <= self.refusals:
            raise self.error
        return operation(None)


async def test_a_full_disk_only_delays_it(autojump_clock) -> None:
    writer, told = _Writer(2), []
    began = trio.current_time()
    assert await insist.apply(writer, lambda tx: "done", told.append) == "done"
    assert [at - began for at in writer.at] == [0, 1, 2]
    assert told == [errors.StoreFull().message] * 2


async def test_so_does_another_program_s_lock(path, monkeypatch) -> None:
    """A backup, say, or somebody's sqlite3 that was left open in a transaction."""
    told = []
    monkeypatch.setattr(insist, "RETRY_S", 0)
    async with opened(path) as ours:
        ours.writer._db.set_busy_timeout(0)
        other = database.connect(path)
        other.execute("BEGIN IMMEDIATE")

        def locked(text: str) -> None:
            told.append(text)
            other.execute("ROLLBACK")

        assert await insist.apply(ours.writer, lambda tx: "done", locked) == "done"
        other.close()
    assert len(told) == 1
    assert "locked" in told[0]


@pytest.mark.parametrize("end", [errors.StoreBroken, errors.StoreClosed])
async def test_a_broken_store_is_not_waited_for_nor_one_that_was_left(autojump_clock, end) -> None:
    with pytest.raises(end):
        await insist.apply(_Writer(1, end), lambda tx: None, lambda text: None)
