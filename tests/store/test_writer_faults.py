"""When the disk refuses: a clear error, nothing half-written, and the writer gives up where it must."""

from pathlib import Path

import apsw
import pytest
import trio

from dashd import store
from dashd.store import bells, database, migrations, tail, writer
from dashd.wire import errors
from tests.fakes.clock import FixedClock
from tests.fakes.disk import Disk, Fault
from tests.store.conftest import Note, keys, opened, reopened


def inline(path: Path, disk: Disk) -> writer.Writer:
    db = database.connect(path, vfs=disk.name)
    migrations.migrate(db, path, FixedClock(), vfs=disk.name)
    return writer.Writer(db, FixedClock(), tail.Tail(0), bells.Bells())


@pytest.mark.parametrize("at", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("failure", ["full", "short"])
def test_a_full_disk_refuses_the_whole_batch_and_passes(path: Path, disk: Disk, failure, at: int) -> None:
    ours = inline(path, disk)
    assert ours.commit_now([Note("before")]) == [1]
    disk.fault = Fault("wal", "write", failure, at=at)
    answers = ours.commit_now([Note("a"), Note("b", failure=ValueError()), Note("c")])
    assert [type(answer) for answer in answers] == [errors.StoreFull] * 3, "even the one that had raised"
    assert f"writing the database {path}" in answers[0].message
    assert disk.fault.hits == 1
    assert not ours.broken.is_set()
    assert keys(ours._db) == ["before"]
    assert ours._tail.last_seq == 1
    disk.fault = None
    assert ours.commit_now([Note("after")]) == [2], "the seqs of what was undone are used again"
    database.close(ours._db, checkpoint=True)
    assert reopened(path) == ["before", "after"]


def test_a_disk_that_fills_inside_an_operation_refuses_the_batch(path: Path, disk: Disk) -> None:
    ours = inline(path, disk)
    ours._db.execute("PRAGMA cache_size = 10")  # so that pages spill to the disk before COMMIT
    disk.fault = Fault("wal", "write", "full")
    reached = []

    def big(tx: store.Tx) -> None:
        tx.execute("INSERT INTO idempotency VALUES ('big', 'm', 'h', hex(zeroblob(1000000)), 0)")
        reached.append("the next statement")

    answers = ours.commit_now([Note("a"), big, Note("b")])
    assert [type(answer) for answer in answers] == [errors.StoreFull] * 3
    assert reached == []
    disk.fault = None
    assert ours.commit_now([Note("c")]) == [1]
    database.close(ours._db, checkpoint=True)
    assert reopened(path) == ["c"]


@pytest.mark.parametrize(("verb", "failure"), [("sync", "sync"), ("write", "eio")])
def test_a_failed_sync_or_write_breaks_the_writer_for_good(
    path: Path, disk: Disk, verb, failure: str
) -> None:
    ours = inline(path, disk)
    ours.commit_now([Note("before")])
    disk.fault = Fault("wal", verb, failure, times=1)
    answers = ours.commit_now([Note("a"), Note("b")])
    assert [type(answer) for answer in answers] == [errors.StoreBroken] * 2
    assert disk.fault.hits == 1
    assert ours.broken.is_set()
    with pytest.raises(errors.StoreBroken):
        ours.commit_now([Note("late")])
    database.close(ours._db, checkpoint=False)
    # Nobody knows whether the batch reached the disk, so it is all there or not at all.
    assert reopened(path) in (["before"], ["before", "a", "b"])


async def test_a_full_disk_is_answered_and_the_daemon_goes_on(path: Path, disk: Disk) -> None:
    async with opened(path, vfs=disk.name) as ours:
        await ours.writer.apply(Note("before"))
        disk.fault = Fault("wal", "write", "full")
        answers = []

        async def caller(key: str) -> None:
            try:
                await ours.writer.apply(Note(key))
            except errors.StoreFull as error:
                answers.append(error)

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(caller, str(number))
        assert len(answers) == len({id(error) for error in answers}) == 100
        disk.fault = None
        assert await ours.writer.apply(Note("after")) == 2
        assert await ours.reader.read(keys) == ["before", "after"]
        assert not ours.writer.broken.is_set()
    assert reopened(path) == ["before", "after"]


async def test_after_a_failed_sync_everybody_is_told_and_the_files_are_left_alone(
    path: Path, disk: Disk
) -> None:
    async with opened(path, vfs=disk.name) as ours:
        await ours.writer.apply(Note("before"))
        disk.fault = Fault("wal", "sync", "sync", times=1)
        refused = []

        async def caller(key: str) -> None:
            try:
                await ours.writer.apply(Note(key))
            except errors.StoreBroken as error:
                refused.append(error.message)

        async with trio.open_nursery() as nursery:
            for number in range(600):
                nursery.start_soon(caller, str(number))
        assert len(refused) == 600
        assert all("dash.db" in message for message in refused)
        await ours.writer.broken.wait()
        with pytest.raises(errors.StoreBroken):
            await ours.writer.apply(Note("late"))
        disk.calls.clear()
    assert ("db", "write") not in disk.calls, "no checkpoint of what is in doubt"
    found = reopened(path)
    assert found[0] == "before"
    assert len(found) - 1 <= writer.BATCH_OPERATIONS_MAX, "at most the one batch that is in doubt"


@pytest.mark.parametrize(("failure", "broken"), [("sync", True), ("full", False)])
async def test_a_checkpoint_that_fails_loses_nothing(path: Path, disk: Disk, failure, broken: bool) -> None:
    def big(tx: store.Tx) -> None:
        tx.execute("INSERT INTO idempotency VALUES (?, 'm', 'h', hex(zeroblob(3000000)), 0)", (str(tx.seq),))
        tx.emit("task.created")

    async with opened(path, vfs=disk.name) as ours:
        verb = "sync" if failure == "sync" else "write"
        disk.fault = Fault("db", verb, failure)
        await ours.writer.apply(big)
        if broken:
            await ours.writer.broken.wait()
            with pytest.raises(errors.StoreBroken, match="checkpointing"):
                await ours.writer.apply(big)
        else:
            await ours.writer.apply(big)
            assert not ours.writer.broken.is_set()
        assert disk.fault.hits
        disk.fault = None
    db = database.connect(path)
    assert db.execute("SELECT count(*) FROM idempotency").get == (1 if broken else 2)
    assert db.execute("PRAGMA integrity_check").get == "ok"
    db.close()


@pytest.mark.parametrize("checkpoint_every", [1000, 3])
def test_what_was_acknowledged_survives_power_loss(
    path: Path, disk: Disk, tmp_path: Path, checkpoint_every: int
) -> None:
    ours = inline(path, disk)
    acknowledged: list[str] = []
    for number in range(12):
        batch = [Note(f"{number}-{place}") for place in range(number % 4 + 1)]
        assert all(isinstance(seq, int) for seq in ours.commit_now(batch))
        acknowledged += [note.key for note in batch]
        if number % checkpoint_every == checkpoint_every - 1:
            ours._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        assert reopened(disk.after_power_loss(path, tmp_path / f"after-{number}")) == acknowledged
    database.close(ours._db, checkpoint=True)


def test_the_power_loss_of_these_tests_does_lose_what_was_not_synced(
    path: Path, disk: Disk, tmp_path: Path
) -> None:
    ours = inline(path, disk)
    ours.commit_now([Note("synced")])
    ours._db.execute("PRAGMA synchronous = NORMAL")
    ours.commit_now([Note("only written")])
    assert keys(ours._db) == ["synced", "only written"]
    assert reopened(disk.after_power_loss(path, tmp_path / "after")) == ["synced"]
    database.close(ours._db, checkpoint=True)
