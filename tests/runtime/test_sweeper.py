"""Folders of destroyed swarms go, all others stay."""

import trio

from dashd.runtime import sweeper
from dashd.store import attempts, swarms


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
