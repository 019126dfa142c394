"""Folders of destroyed swarms go at once, others once they have been kept long enough."""

import dataclasses

import pytest
import trio
import trio.testing

from dashd.runtime import sweeper
from dashd.store import attempts, gateways, sessions, swarms
from dashd.store.sessions import CheckpointRow
from tests.fakes.scene import SWARM


async def test_a_destroyed_swarms_folders_go_and_others_stay(tmp_path) -> None:
    gone, kept = tmp_path / "a.1", tmp_path / "b.1"
    for folder in (gone, kept):
        folder.mkdir()
        (folder / "spool").write_bytes(b"")
    assert await trio.to_thread.run_sync(sweeper._remove, [gone, tmp_path / "never-was"]) == [
        "a.1",
        "never-was",
    ]
    assert not gone.exists()
    assert kept.exists()


HOUR_MS, DAY_MS = 3_600_000, 86_400_000


def removable(db) -> list[str]:
    return attempts.removable_launches(db, "", 10)


def drop(scene, swarm: str = SWARM) -> None:
    scene.do(lambda tx: swarms.drop_output(tx, swarm))


def test_only_ended_launches_of_swarms_whose_output_goes_are_removable(scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    scene.run("succeeded")
    scene.claim()
    assert removable(scene.db) == []
    drop(scene)
    (launch,) = removable(scene.db)
    assert launch == f"{SWARM}-t1.1"
    assert attempts.removable_launches(scene.db, launch, 10) == []
    scene.do(lambda tx: attempts.set_removed(tx, [launch]))
    assert removable(scene.db) == []
    assert swarms.swept(scene.db) == []  # one still runs


def test_a_destroyed_swarms_output_goes(scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    first, second = scene.claim()
    scene.do(lambda tx: swarms.want_destroyed(tx, SWARM))
    scene.end(first)
    assert scene.row().output == "kept"  # its last process has not gone
    scene.end(second)
    assert (scene.row().state, scene.row().output) == ("destroyed", "going")
    assert len(removable(scene.db)) == 2


async def test_it_sweeps_at_the_start_and_when_output_is_to_go(bed, autojump_clock) -> None:
    bed.scene.swarm("a", "b", retries=0)
    bed.launcher.script = lambda holder: holder.exits(1)
    bed.go()
    await bed.until("swarm.failed")
    folder = bed.world.folder(f"{SWARM}-t1.1")
    bed.nursery.start_soon(sweeper.run, bed.world, 7)
    await trio.testing.wait_all_tasks_blocked()
    assert folder.exists()
    assert bed.scene.row().output == "kept"
    drop(bed.scene)
    await trio.testing.wait_all_tasks_blocked()
    assert not folder.exists()
    assert removable(bed.store.db) == []
    assert bed.scene.row().output == "gone"


async def test_output_is_kept_for_its_time_then_goes_in_one_wake_up(bed, autojump_clock) -> None:
    bed.launcher.script = lambda holder: holder.exits(0)
    bed.go()
    for count, swarm in enumerate(("aaaaaa", "bbbbbb"), 1):
        bed.scene.swarm("a", swarm_id=swarm)
        bed.scene.do(lambda tx: tx.ring("queue"))
        await bed.until("swarm.completed", count)
        await trio.sleep(60)
    bed.nursery.start_soon(sweeper.run, bed.world, 7)
    await trio.testing.wait_all_tasks_blocked()
    reads = bed.store.own.reads
    await trio.sleep(7 * 24 * 3_600 - 300)
    assert bed.store.own.reads == reads  # nothing woke it
    assert bed.world.folder("aaaaaa-t1.1").exists()
    await trio.sleep(3_600 + 300)
    assert not bed.world.folder("aaaaaa-t1.1").exists()
    assert not bed.world.folder("bbbbbb-t1.1").exists()
    assert [bed.scene.row(swarm).output for swarm in ("aaaaaa", "bbbbbb")] == ["gone", "gone"]
    assert bed.scene.kinds().count("swarm.swept") == 2
    reads = bed.store.own.reads
    await trio.sleep(30 * 24 * 3_600)
    assert bed.store.own.reads == reads  # nothing is kept, so there is no deadline


@pytest.mark.parametrize(("ended_ms", "left_ms"), [(0, 7 * DAY_MS), (1, 7 * DAY_MS + HOUR_MS), (None, None)])
async def test_the_deadline_is_absolute_and_rounded_up(bed, clock, autojump_clock, ended_ms, left_ms) -> None:
    begun_ms = (clock.at_ms // HOUR_MS + 1) * HOUR_MS
    clock.at_ms = begun_ms
    deadline = sweeper._deadline(bed.world, None if ended_ms is None else begun_ms + ended_ms, 7 * DAY_MS)
    assert deadline == (float("inf") if left_ms is None else trio.current_time() + left_ms / 1_000)


async def test_with_no_time_at_all_output_goes_when_its_swarm_ends(bed, autojump_clock) -> None:
    bed.launcher.script = lambda holder: holder.exits(0)
    bed.nursery.start_soon(sweeper.run, bed.world, 0)
    bed.scene.swarm("a")
    bed.go()
    await bed.until("swarm.completed")
    await trio.testing.wait_all_tasks_blocked()
    assert bed.scene.row().output == "gone"
    assert not bed.world.folder(f"{SWARM}-t1.1").exists()


def talked(bed):
    """The swarm's first attempt has a conversation."""
    bed.scene.swarm("a")
    claim = bed.claim()
    attempt = attempts.get(bed.store.db, claim.attempt_id)
    bed.scene.do(lambda tx: sessions.opened(tx, attempt.launch_id, attempt, SWARM, "pi"))
    return claim


async def copied(bed, number: int, size: int, name: str = "") -> None:
    """A copy of that: `c-NUMBER`."""
    kind = "named" if name else "automatic"
    made_ms = bed.world.clock.now_ms()
    row = CheckpointRow(f"c-{number}", f"{SWARM}-t1.1", kind, name, "s", 1, size, made_ms)
    await bed.world.transcripts.keep(row.id, b"{}")
    if name:
        bed.scene.do(lambda tx: sessions.keep(tx, row, 1_000))
    else:
        bed.scene.do(lambda tx: sessions.keep_newest(tx, row, 1_000, needed=False))


async def test_automatic_checkpoints_are_kept_for_their_time(bed, autojump_clock) -> None:
    talked(bed)
    await copied(bed, 0, 1)
    await copied(bed, 9, 1, "asked for")
    bed.nursery.start_soon(sweeper.forget, bed.world, 30)
    await trio.sleep(30 * 24 * 3_600 - 300)
    assert await bed.world.transcripts.kept("c-0") == b"{}"
    await trio.sleep(3_600 + 300)
    with pytest.raises(FileNotFoundError):
        await bed.world.transcripts.kept("c-0")
    assert sessions.kept(bed.store.db) == {"c-9"}
    assert await bed.world.transcripts.kept("c-9") == b"{}"


async def test_copies_outlive_a_swarm_that_is_destroyed_the_automatic_ones_for_their_time(
    bed, autojump_clock
) -> None:
    claim = talked(bed)
    await copied(bed, 0, 1)
    await copied(bed, 9, 1, "asked for")
    bed.nursery.start_soon(sweeper.run, bed.world, 7)
    bed.nursery.start_soon(sweeper.forget, bed.world, 30)
    bed.scene.do(lambda tx: swarms.want_destroyed(tx, SWARM))
    bed.scene.end(claim)
    await trio.testing.wait_all_tasks_blocked()
    assert (bed.scene.row().state, bed.scene.row().output) == ("destroyed", "gone")
    await trio.sleep(29 * 24 * 3_600)
    assert sessions.kept(bed.store.db) == {"c-0", "c-9"}
    assert await bed.world.transcripts.kept("c-0") == b"{}"
    await trio.sleep(24 * 3_600 + 3_600)
    assert sessions.kept(bed.store.db) == {"c-9"}
    assert await bed.world.transcripts.kept("c-9") == b"{}"


async def test_those_that_are_too_many_go_at_the_start(bed, autojump_clock) -> None:
    talked(bed)
    await copied(bed, 0, 60)
    await copied(bed, 9, 60, "asked for")
    bed.world = dataclasses.replace(bed.world, checkpoints_bytes_max=100)  # it was more before
    bed.nursery.start_soon(sweeper.forget, bed.world, 30)
    await trio.testing.wait_all_tasks_blocked()
    assert sessions.kept(bed.store.db) == {"c-9"}
    with pytest.raises(FileNotFoundError):
        await bed.world.transcripts.kept("c-0")
    assert bed.scene.kinds()[-1] == "session.state"


async def test_many_folders_go_in_steps(bed, autojump_clock, monkeypatch) -> None:
    monkeypatch.setattr(sweeper, "AT_ONCE_MAX", 2)
    bed.scene.swarm(*"abcde")
    bed.scene.run(*["succeeded"] * 5)
    stuck = bed.world.folder(f"{SWARM}-t2.1")
    stuck.write_text("no folder")  # rmtree refuses it
    drop(bed.scene)
    bed.nursery.start_soon(sweeper.run, bed.world, 7)
    await trio.testing.wait_all_tasks_blocked()
    assert removable(bed.store.db) == [stuck.name]
    assert bed.scene.row().output == "going"
    stuck.unlink()
    bed.scene.do(lambda tx: tx.ring("swarms"))
    await trio.testing.wait_all_tasks_blocked()
    assert bed.scene.row().output == "gone"


async def test_what_cannot_be_removed_now_stays_for_the_next_time(bed, autojump_clock) -> None:
    bed.scene.swarm("a")
    claim = bed.claim()
    bed.supervisor.start(claim)
    holder = await bed.running(claim.attempt_id)
    assert sweeper._remove([holder.folder]) == []
    holder.exits(0)
    await bed.until("swarm.completed")
    assert sweeper._remove([holder.folder]) == [claim.attempt_id]


async def test_of_gateways_that_do_not_start_few_folders_are_left(bed, autojump_clock) -> None:
    bed.scene.swarm("a", mode="gateway", driver="openclaw")
    bed.nursery.start_soon(sweeper.run, bed.world, 7)
    left = set()
    for _ in range(20):
        row = bed.scene.do(lambda tx: gateways.insert(tx, SWARM, "t"))
        bed.world.folder(row.launch_id).mkdir()

        def ended(tx, row=row) -> None:
            gateways.set_ended(tx, row, "it did not start")
            tx.ring("swarms")

        bed.scene.do(ended)
        await trio.testing.wait_all_tasks_blocked()
        left = {path.name for path in bed.world.launches.iterdir()}
        assert len(left) <= 1 + gateways.FAILURES_KEPT_MAX
    assert left == {f"{SWARM}-g{number}" for number in (1, 18, 19, 20)}
    kept = [each for (each,) in bed.scene.db.execute("SELECT launch_id FROM gateway ORDER BY number")]
    assert set(kept) == left
