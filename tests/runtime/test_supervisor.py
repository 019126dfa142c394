"""Every live attempt in one nursery: started, told what is wanted, and ended without touching another."""

import pytest
import trio
import trio.testing

from dashd.domain.attempt import Ending
from dashd.runtime.run import Run
from dashd.runtime.supervisor import Supervisor
from dashd.store import agents, attempts, stops
from dashd.wire import errors
from tests.fakes.scene import SWARM


async def test_one_end_touches_nobody_else(bed, autojump_clock) -> None:
    bed.scene.swarm("a", "b", "c", agents_made=3)
    bed.go()
    holders = [await bed.running(f"{SWARM}-t{number}.1") for number in (1, 2, 3)]
    holders[0].dies()
    holders[1].exits(1)
    await bed.until("task.retrying", 2)
    assert bed.scene.states() == ["retrying", "retrying", "running"]
    holders[2].exits(0)
    await bed.until("task.completed")


async def test_wishes_reach_their_own_runs_alone(bed, autojump_clock) -> None:
    bed.scene.swarm("a", "b", agents_made=2)
    bed.go()
    first, second = [await bed.running(f"{SWARM}-t{number}.1") for number in (1, 2)]

    def pause(tx) -> None:
        agents.set_wanted(tx, f"{SWARM}-002", "pause")
        tx.ring("agents")

    bed.scene.do(pause)
    await second.asked("pause")
    bed.scene.do(lambda tx: stops.kill(tx, bed.scene.agent(1), requeue=False))
    await first.asked("stop")
    await bed.until("agent.killed")
    assert second.verbs() == ["adopt", "pause"]


async def test_a_stop_that_comes_while_the_program_is_being_started_is_carried_out(
    bed, autojump_clock
) -> None:
    bed.scene.swarm("a")
    # As soon as the launch has begun, and before anybody has adopted it.
    bed.launcher.script = lambda holder: bed.scene.do(
        lambda tx: stops.cancel(tx, bed.scene.task(), "on request")
    )
    bed.go()
    holder = await bed.launcher.launched(f"{SWARM}-t1.1")
    await holder.asked("stop")
    await bed.until("task.cancelled")


async def test_what_recovery_found_ended_is_written_down(bed, autojump_clock) -> None:
    bed.scene.swarm("a")
    run = Run(bed.world, bed.claim())
    await run.prepare()
    bed.supervisor.resume(run, Ending("never", "dashd went away before it started"))
    await bed.until("task.retrying")
    assert bed.scene.task().state == "ready"


async def test_what_recovery_found_alive_is_followed(bed, autojump_clock) -> None:
    bed.scene.swarm("a")
    claim = bed.claim()
    await bed.launcher.launch(type("Spec", (), {"launch_id": claim.attempt_id, "lease_s": 1.0})())
    run = Run(bed.world, claim)
    await run.prepare()
    bed.supervisor.resume(run, await run.attach())
    holder = await bed.running(claim.attempt_id)
    holder.exits(0)
    await bed.until("swarm.completed")


async def test_leaving_detaches(bed, autojump_clock) -> None:
    bed.scene.swarm("a", "b", agents_made=2)
    async with trio.open_nursery() as ring:
        supervisor = Supervisor(bed.world, ring)
        for claim in bed.scene.claim():
            supervisor.start(claim)
        holders = [await bed.running(f"{SWARM}-t{number}.1") for number in (1, 2)]
        ring.cancel_scope.cancel(reason="dashd is stopping")
    assert [holder.verbs() for holder in holders] == [["adopt"], ["adopt"]]
    assert attempts.open_count(bed.store.db) == 2
    assert supervisor._runs == {}


async def test_a_bug_is_not_swallowed(bed, autojump_clock) -> None:
    bed.scene.swarm("a", driver="a driver of a newer build")
    with pytest.RaisesGroup(KeyError, flatten_subgroups=True):
        async with trio.open_nursery() as ring:
            supervisor = Supervisor(bed.world, ring)
            supervisor.start(bed.claim())
    assert supervisor._runs == {}


async def test_callers_without_number_refuse_the_runtime_nothing(bed, autojump_clock, monkeypatch) -> None:
    async def refused(query) -> None:
        raise errors.RateLimited

    monkeypatch.setattr(bed.store.reader, "read", refused)
    bed.scene.swarm("a")
    bed.go()
    holder = await bed.running(f"{SWARM}-t1.1")
    bed.scene.do(lambda tx: stops.kill(tx, bed.scene.agent(), requeue=False))
    await holder.asked("stop")
    await bed.until("agent.killed")
