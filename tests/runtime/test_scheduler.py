"""What can start is started: in order, up to the limits, woken by bells and by retries that come due."""

import dataclasses

import pytest
import trio
import trio.testing

from dashd.runtime import scheduler
from dashd.runtime.placing import Placing
from dashd.store.queue import Claim
from dashd.wire import errors
from tests.fakes.scene import SWARM


@pytest.fixture
def started(bed):
    """Task ids in the order in which the scheduler started them; nothing else happens to them."""
    found: list[str] = []

    def run(agents_max: int = 100) -> list[str]:
        world = dataclasses.replace(bed.world, agents_max=agents_max)
        placing = Placing({}, dict, world.gateways.up)
        bed.nursery.start_soon(scheduler.run, world, lambda claim: found.append(claim.task_id), placing)
        return found

    return run


async def test_what_is_ready_starts_in_order_up_to_the_limit(bed, autojump_clock, started) -> None:
    bed.scene.swarm("a", "b", agents_made=2, priority=3)
    bed.scene.swarm("c", "d", swarm_id="bbbbbb", agents_made=1, priority=0)
    found = started(2)
    await trio.testing.wait_all_tasks_blocked()
    assert found == ["bbbbbb-t1", f"{SWARM}-t1"]


async def test_the_bell_wakes_it_and_nothing_else_does(bed, autojump_clock, started) -> None:
    found = started()
    await trio.sleep(3_600)
    assert found == []
    bed.scene.swarm("a")
    await trio.testing.wait_all_tasks_blocked()
    assert found == [f"{SWARM}-t1"]


async def test_a_free_slot_goes_to_the_next(bed, autojump_clock, started) -> None:
    bed.scene.swarm("a", "b", agents_made=2)
    found = started(1)
    await trio.testing.wait_all_tasks_blocked()
    bed.scene.end(Claim(f"{SWARM}-t1.1", f"{SWARM}-001", f"{SWARM}-t1", SWARM))
    await trio.testing.wait_all_tasks_blocked()
    assert found == [f"{SWARM}-t1", f"{SWARM}-t2"]


async def test_a_paused_swarm_starts_nothing_until_it_is_resumed(bed, autojump_clock, started) -> None:
    bed.scene.swarm("a", state="paused")
    found = started()
    await trio.testing.wait_all_tasks_blocked()
    assert found == []

    def resume(tx) -> None:
        tx.execute("UPDATE swarm SET state = 'active'")
        tx.ring("queue")

    bed.scene.do(resume)
    await trio.testing.wait_all_tasks_blocked()
    assert found == [f"{SWARM}-t1"]


async def test_retries_start_when_they_are_due(bed, autojump_clock) -> None:
    bed.scene.swarm("a", retries=3)
    bed.launcher.script = lambda holder: holder.exits(1)
    bed.go()
    await bed.until("swarm.failed")
    # Delays of 1, 2 and 4 s, at full jitter.
    assert [round(at, 1) for at in bed.launcher.at] == [0.0, 1.0, 3.0, 7.0]
    assert bed.scene.task().cause == "exit code 1 (attempt 4 of 4)"


async def test_a_retry_that_is_due_does_not_make_it_spin_while_no_slot_is_free(
    bed, autojump_clock, started
) -> None:
    bed.scene.swarm("a", "b", agents_made=2)
    bed.scene.run("failed")
    found = started(1)
    await trio.testing.wait_all_tasks_blocked()
    assert found == [f"{SWARM}-t2"]
    await trio.sleep(60)
    assert bed.scene.task(1).state == "ready"
    assert found == [f"{SWARM}-t2"]


async def test_a_full_disk_delays_the_start(bed, autojump_clock, started) -> None:
    bed.store.writer.refusal = errors.StoreFull()
    bed.scene.swarm("a")
    found = started()
    await trio.sleep(10.5)
    assert found == []
    bed.store.writer.refusal = None
    await trio.sleep(1)
    assert found == [f"{SWARM}-t1"]
