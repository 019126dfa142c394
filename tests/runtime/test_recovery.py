"""Before READY: every attempt that an earlier daemon left open is looked at."""

import dataclasses
import fcntl
import os

import pytest
import trio
import trio.testing

from dashd.jail import cgroup_tree, launch_folder, launcher, processes
from dashd.jail.holder_link import EpochRefused, HolderLink
from dashd.jail.launcher import LaunchSpec
from dashd.runtime import recovery
from dashd.store import attempts


async def _left_open(bed, *, started: bool = True):
    """What an earlier daemon left: a claim whose launch has begun, and which was perhaps seen to run."""
    claim = bed.claim()
    await bed.launcher.launch(LaunchSpec(claim.attempt_id, ("true",), {}, "/"))
    if started:
        bed.scene.start(claim)
    bed.scene.do(lambda tx: tx.execute("UPDATE agent SET liveness = 'unknown' WHERE state != 'idle'"))
    return claim, bed.launcher.holders[claim.attempt_id]


async def test_nothing_to_recover(bed, autojump_clock) -> None:
    assert await recovery.recover(bed.world) == []


async def test_an_epoch_is_raised_once_and_every_life_doubted(bed, autojump_clock) -> None:
    bed.scene.swarm("a")
    await _left_open(bed)
    bed.scene.do(lambda tx: tx.execute("UPDATE agent SET liveness = 'alive'"))
    points: list[str] = []
    assert await recovery.begin_epoch(bed.store, bed.world.launches, points.append) == 1
    assert bed.scene.agent().liveness == "unknown"
    assert await recovery.begin_epoch(bed.store, bed.world.launches, points.append) == 2
    assert points[:3] == [
        "recovery.before_epoch",
        "recovery.after_epoch",
        "recovery.after_fork_server_ended",
    ]


async def test_the_old_fork_server_is_ended_before_anything_is_looked_at(
    bed, autojump_clock, monkeypatch
) -> None:
    ended = []
    monkeypatch.setattr(launcher, "end_previous_fork_server", ended.append)
    await recovery.begin_epoch(bed.store, bed.world.launches, lambda point: None)
    assert ended == [bed.world.launches]


async def test_what_lives_is_adopted_and_known_to_live_when_recovery_returns(bed, autojump_clock) -> None:
    bed.scene.swarm("a", "b", agents_made=2)
    seen, _ = await _left_open(bed)
    await _left_open(bed, started=False)
    since = bed.scene.seq
    found = await recovery.recover(bed.world)
    assert [each.live for each in found] == [True, True]
    assert [bed.scene.agent(number).liveness for number in (1, 2)] == ["alive", "alive"]
    assert bed.scene.seat_states() == ["running", "running"]
    kinds = bed.scene.kinds(since)
    assert kinds.count("agent.adopted") == 2
    assert kinds.count("agent.started") == 1  # the one that nobody had seen run
    for each in found:
        assert isinstance(each.attached, HolderLink)
        await each.attached.aclose()
    assert attempts.get(bed.store.db, seen.attempt_id).state == "running"


async def test_an_adopted_attempt_goes_on_to_its_end(bed, autojump_clock) -> None:
    bed.scene.swarm("a")
    _, holder = await _left_open(bed)
    holder.prints(b"42\n", quietly=True)
    (found,) = await recovery.recover(bed.world)
    bed.supervisor.resume(found.run, found.attached)
    await trio.testing.wait_all_tasks_blocked()
    holder.exits(0)
    await bed.until("swarm.completed")
    assert bed.scene.task().result == "42\n"


async def test_one_that_was_paused_meanwhile_is_paused_in_its_row_and_the_other_way_round(
    bed, autojump_clock
) -> None:
    bed.scene.swarm("a", "b", agents_made=2)
    first, holder = await _left_open(bed)
    second, _ = await _left_open(bed)
    holder.state = "paused"
    bed.scene.paused(second)
    found = await recovery.recover(bed.world)
    assert bed.scene.seat_states() == ["paused", "running"]
    assert attempts.get(bed.store.db, first.attempt_id).active_since_ms is None
    assert attempts.get(bed.store.db, second.attempt_id).active_since_ms is not None
    for each in found:
        await each.attached.aclose()


@pytest.mark.parametrize(
    ("what", "states"),
    [("never", ["ready"]), ("ended", ["completed"]), ("failed", ["retrying"]), ("lost", ["retrying"])],
)
async def test_what_does_not_live_has_one_answer_for_ever(bed, autojump_clock, what, states) -> None:
    bed.scene.swarm("a")
    if what == "never":
        claim = bed.claim()
    else:
        claim, holder = await _left_open(bed)
        {"ended": holder.exits, "failed": lambda: holder.exits(3), "lost": holder.dies}[what]()
    first = await recovery.recover(bed.world)
    (again,) = await recovery.recover(bed.world)  # killed in between, it finds the same
    assert [each.attached for each in first] == [again.attached]
    assert not again.live
    bed.supervisor.resume(again.run, again.attached)
    await trio.testing.wait_all_tasks_blocked()
    assert bed.scene.states() == states
    assert attempts.open_count(bed.store.db) == 0
    assert not isinstance(launch_folder.examine(bed.world.folder(claim.attempt_id)), launch_folder.Alive)


async def test_a_wish_from_before_the_restart_is_carried_out(bed, autojump_clock) -> None:
    bed.scene.swarm("a")
    claim, holder = await _left_open(bed)
    bed.scene.do(lambda tx: attempts.ask_stop(tx, claim.attempt_id, "cancel"))
    (found,) = await recovery.recover(bed.world)
    bed.supervisor.resume(found.run, found.attached)
    await holder.asked("stop")
    await bed.until("task.cancelled")


async def test_time_went_on_while_no_daemon_was_there(bed, autojump_clock) -> None:
    bed.scene.swarm("a", timeout_s=300.0, retries=0)
    _, holder = await _left_open(bed)
    await trio.sleep(250)
    (found,) = await recovery.recover(bed.world)
    bed.supervisor.resume(found.run, found.attached)
    await holder.asked("stop")
    assert trio.current_time() == pytest.approx(300)
    await bed.until("swarm.failed")


async def test_a_holder_that_does_not_answer_keeps_nobody_waiting(bed, autojump_clock) -> None:
    bed.scene.swarm("a", "b", agents_made=2)
    _, frozen = await _left_open(bed)
    await _left_open(bed)
    frozen.freezes()
    await trio.testing.wait_all_tasks_blocked()
    found = await recovery.recover(bed.world)
    assert trio.current_time() == pytest.approx(recovery.LOOK_S_MAX)
    assert sorted(each.live for each in found) == [False, True]
    assert {each.attached is None for each in found} == {True, False}
    assert bed.scene.agent(1).liveness == "unknown"
    for each in found:
        if each.attached is not None:
            await each.attached.aclose()


async def test_a_holder_of_a_later_daemon_is_left_alone(bed, autojump_clock) -> None:
    bed.scene.swarm("a")
    _, holder = await _left_open(bed)
    later = dataclasses.replace(bed.world, epoch=5)
    (found,) = await recovery.recover(later)
    assert found.live
    with pytest.RaisesGroup(EpochRefused, flatten_subgroups=True):
        await recovery.recover(bed.world)
    assert holder.epoch == 5
    await found.attached.aclose()


async def test_a_holder_that_answers_later_is_adopted_then(bed, autojump_clock) -> None:
    bed.scene.swarm("a")
    _, holder = await _left_open(bed)
    holder.freezes()
    await trio.testing.wait_all_tasks_blocked()
    (found,) = await recovery.recover(bed.world)
    bed.supervisor.resume(found.run, found.attached)
    await trio.sleep(10)
    assert bed.scene.agent().liveness == "unknown"
    holder.thaws()
    await bed.until("agent.adopted")
    assert bed.scene.agent().liveness == "alive"
    holder.exits(0)
    await bed.until("swarm.completed")


async def test_cgroups_of_launches_that_nobody_holds_are_swept(
    bed, autojump_clock, monkeypatch, tmp_path
) -> None:
    asked: list[tuple[object, list[bool]]] = []
    launches = bed.world.launches
    for name in ("held", "ended", "never"):
        (launches / name).mkdir(parents=True)
    held = os.open(launches / "held" / "begin", os.O_CREAT | os.O_RDWR)
    (launches / "ended" / "begin").write_text("{}")

    def sweep(folder, alive) -> None:
        asked.append((folder, [alive(name) for name in ("held", "ended", "never", "removed")]))

    monkeypatch.setattr(cgroup_tree, "sweep", sweep)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        await recovery.recover(bed.world)
    finally:
        os.close(held)
    assert asked == [(launches, [True, False, False, False])]
    assert not (launches / "removed").exists(), "looking makes no folder"


async def test_what_cannot_be_looked_at_may_be_alive(monkeypatch, tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "begin").touch()

    def refuse(_) -> None:
        raise PermissionError

    monkeypatch.setattr(launch_folder, "examine", refuse)
    assert recovery._is_alive(tmp_path, "a")


async def test_what_survives_sigkill_keeps_no_daemon_from_starting(monkeypatch, tmp_path) -> None:
    def stuck(*_) -> None:
        raise TimeoutError("pids [7] survive SIGKILL")

    monkeypatch.setattr(launch_folder, "examine", lambda folder: launch_folder.Lost((7, 7)))
    monkeypatch.setattr(processes, "end_all_marked", stuck)
    recovery._end_lost(tmp_path, ["a"])  # the run waits for it, and says so
