"""Folders of destroyed swarms go, all others stay."""

import trio
import trio.testing

from dashd.runtime import sweeper
from dashd.store import attempts, swarms
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


def test_only_ended_launches_of_destroyed_swarms_are_removable(scene) -> None:
    scene.swarm("a")
    scene.run("succeeded")
    assert attempts.removable_launches(scene.db) == []
    scene.db.execute("UPDATE swarm SET state = 'destroyed'")
    (launch,) = attempts.removable_launches(scene.db)
    scene.do(lambda tx: attempts.set_removed(tx, [launch]))
    assert attempts.removable_launches(scene.db) == []
    assert swarms.counts(scene.db) == {"destroyed": 1}


async def test_it_sweeps_at_the_start_and_when_a_swarm_was_destroyed(bed, autojump_clock) -> None:
    bed.scene.swarm("a", "b", retries=0)
    bed.launcher.script = lambda holder: holder.exits(1)
    bed.go()
    await bed.until("swarm.failed")
    folder = bed.world.folder(f"{SWARM}-t1.1")
    bed.nursery.start_soon(sweeper.run, bed.world)
    await trio.testing.wait_all_tasks_blocked()
    assert folder.exists()
    bed.store.db.execute("UPDATE swarm SET state = 'destroyed'")
    bed.scene.do(lambda tx: tx.ring("swarms"))
    await trio.testing.wait_all_tasks_blocked()
    assert not folder.exists()
    assert attempts.removable_launches(bed.store.db) == []


async def test_what_cannot_be_removed_now_stays_for_the_next_time(bed, autojump_clock) -> None:
    bed.scene.swarm("a")
    claim = bed.claim()
    bed.supervisor.start(claim)
    holder = await bed.running(claim.attempt_id)
    assert sweeper._remove([holder.folder]) == []
    holder.exits(0)
    await bed.until("swarm.completed")
    assert sweeper._remove([holder.folder]) == [claim.attempt_id]
