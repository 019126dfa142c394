"""What an attempt prints, on its way into rows."""

import errno

import pytest
import trio
import trio.testing

from dashd.drivers.command import ProgressReader
from dashd.jail import spool
from dashd.runtime.output import Output
from dashd.store import attempts
from tests.fakes.holders import FakeHolder
from tests.fakes.scene import SWARM

LAUNCH = f"{SWARM}-t1.1"


def _report(done: int, note: str = "") -> bytes:
    return b'@dash {"progress": [%d, 5], "note": "%s"}\n' % (done, note.encode())


@pytest.fixture
def spooled(bed):
    """A claimed attempt, its holder, and a fresh reader of its output."""
    bed.scene.swarm("a")
    claim = bed.claim()
    bed.scene.start(claim)
    holder = FakeHolder(bed.world.folder(LAUNCH), bed.nursery)
    bed.launcher.holders[LAUNCH] = holder
    return Spooled(bed, claim, holder)


class Spooled:
    def __init__(self, bed, claim, holder) -> None:
        self.bed, self.claim, self.holder = bed, claim, holder
        self.output = self.fresh()

    def fresh(self, offset: int = 0) -> Output:
        return Output(self.bed.world, self.claim, LAUNCH, ProgressReader(), offset)

    async def grew(self) -> None:
        await self.output.grew(self.holder._spool.file_bytes)

    @property
    def offset(self) -> int:
        return attempts.launch(self.bed.store.db, LAUNCH).spool_offset

    @property
    def progress(self) -> list[dict]:
        return [event["data"] for event in self.bed.scene.events() if event["kind"] == "agent.progress"]


async def test_progress_is_written_with_the_offset_it_was_read_to(bed, autojump_clock, spooled) -> None:
    spooled.holder.prints(b"noise\n" + _report(2, "half"))
    await spooled.grew()
    await spooled.output.finish()
    task = bed.scene.task()
    assert (task.progress_done, task.progress_total, task.note) == (2, 5, "half")
    assert spooled.progress == [{"note": "half", "done": 2, "total": 5}]
    assert spooled.offset == spooled.holder._spool.file_bytes


async def test_at_most_one_progress_a_second_and_the_newest_wins(bed, autojump_clock, spooled) -> None:
    bed.nursery.start_soon(spooled.output.publish)
    for done in (1, 2, 3, 4):
        spooled.holder.prints(_report(done))
        await spooled.grew()
        await trio.sleep(0.3)
    await trio.sleep(5)
    assert [data["done"] for data in spooled.progress] == [1, 4]


async def test_a_note_alone_is_progress_too(bed, autojump_clock, spooled) -> None:
    spooled.holder.prints(b'@dash {"note": "thinking"}\n')
    await spooled.grew()
    await spooled.output.finish()
    assert spooled.progress == [{"note": "thinking"}]
    assert (bed.scene.task().progress_done, bed.scene.task().note) == (None, "thinking")


async def test_nothing_new_writes_nothing(bed, autojump_clock, spooled) -> None:
    since = bed.scene.seq
    await spooled.grew()
    await spooled.output.finish()
    spooled.holder.prints(b"plain\n")
    await spooled.grew()
    await spooled.output.finish()
    assert bed.scene.seq == since


async def test_the_offset_never_stands_inside_a_message(bed, autojump_clock, spooled) -> None:
    spooled.holder.prints(_report(1))
    first = spooled.holder._spool.file_bytes
    await spooled.grew()
    spooled.holder.prints(b'@dash {"progress": [2')
    await spooled.grew()
    await spooled.output.finish()
    assert spooled.offset == first
    # The next daemon starts there and hears the whole message.
    spooled.holder.prints(b", 5]}\n")
    spooled.output = spooled.fresh(spooled.offset)
    await spooled.grew()
    await spooled.output.finish()
    assert [data["done"] for data in spooled.progress] == [1, 2]
    assert spooled.offset == spooled.holder._spool.file_bytes


async def test_what_was_said_last_is_written_though_the_end_came_with_it(
    bed, autojump_clock, spooled
) -> None:
    """The end of an attempt cancels `publish` between its waking up and its write."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spooled.output.publish)
        await trio.testing.wait_all_tasks_blocked()
        spooled.holder.prints(_report(5))
        await spooled.grew()
        nursery.cancel_scope.cancel(reason="the attempt has ended")
    await spooled.output.finish()
    assert [data["done"] for data in spooled.progress] == [5]
    await spooled.output.finish()
    assert len(spooled.progress) == 1


async def test_more_than_a_piece_is_read_to_its_end(bed, autojump_clock, spooled, monkeypatch) -> None:
    monkeypatch.setattr("dashd.runtime.output.PIECE_BYTES_MAX", 10)
    for done in range(6):
        spooled.holder.prints(b"x" * 50 + b"\n" + _report(done))
    await spooled.grew()
    await spooled.output.finish()
    assert [data["done"] for data in spooled.progress] == [5]


async def test_whoever_waits_for_output_hears_of_it(bed, autojump_clock, spooled) -> None:
    ticket = bed.world.growth.ticket(LAUNCH)
    spooled.holder.prints(b"x")
    await spooled.grew()
    assert ticket.is_set()


async def test_a_damaged_file_is_read_no_further(bed, autojump_clock, spooled) -> None:
    spooled.holder.prints(_report(1))
    await spooled.grew()
    with (spooled.holder.folder / "spool").open("ab") as file:
        file.write(b"\xff" * 50)
    await spooled.output.grew(10_000)
    await spooled.output.finish()
    assert [data["done"] for data in spooled.progress] == [1]


async def test_what_cannot_be_read_now_is_read_with_what_comes_next(
    bed, autojump_clock, spooled, monkeypatch
) -> None:
    read = spool.read

    def scarce(*_asked):
        raise OSError(errno.EMFILE, "Too many open files")

    spooled.holder.prints(_report(1))
    monkeypatch.setattr(spool, "read", scarce)
    await spooled.grew()
    assert not spooled.output.has_read(1)
    monkeypatch.setattr(spool, "read", read)
    spooled.holder.prints(_report(2))
    await spooled.grew()
    await spooled.output.finish()
    assert bed.scene.task().progress_done == 2
    assert spooled.offset == spooled.holder._spool.file_bytes
    assert spooled.output.has_read(spooled.offset)
    assert not spooled.output.has_read(spooled.offset + 1)


async def test_what_no_thread_is_left_to_read_is_read_when_there_is(
    bed, autojump_clock, spooled, scarce
) -> None:
    tries = scarce(1)
    spooled.holder.prints(_report(1))
    await spooled.grew()
    assert len(tries) > 1
    assert spooled.output.has_read(spooled.holder._spool.file_bytes)
