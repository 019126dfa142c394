"""`swarm.costs`: parts that agree with their total, the top consumer marked, what is unconfirmed apart."""

import pytest

from dashd.store import holds
from dashd.store.holds import Settlement
from dashd.wire import errors
from tests.fakes.scene import SWARM
from tests.store.test_holds import opened, settled


async def test_costs(call, scene, clock) -> None:
    scene.swarm("a", "b", agents_made=2)
    for _ in range(10):
        settled(scene, 100_000_000)
    settled(scene, 3_000_000_000, agent_id=f"{SWARM}-002", model="n")
    lost = opened(scene, 500_000_000)
    scene.do(lambda tx: holds.settle(tx, lost, Settlement(500_000_000, 10, "worst-case")))
    opened(scene, 7_000_000_000)
    found = await call("swarm.costs", swarm=SWARM)
    assert (found.usd, found.unconfirmed_usd, found.held_usd, found.calls) == (4.5, 0.5, 7.0, 12)
    assert [(line.key, line.usd, line.top) for line in found.agents] == [
        (f"{SWARM}-002", 3.0, True), (f"{SWARM}-001", 1.5, False),
    ]  # fmt: skip
    assert [(line.key, line.unconfirmed_usd) for line in found.models] == [("n", 0.0), ("m", 0.5)]
    assert [line.usd for line in found.days] == [4.5]
    assert sum(line.share for line in found.agents) == pytest.approx(1)
    assert (found.input_tokens, found.output_tokens) == (33, 22)


async def test_a_swarm_that_spent_nothing(call, scene) -> None:
    scene.swarm("a")
    found = await call("swarm.costs", swarm=SWARM)
    assert (found.usd, found.agents, found.queue_waits, found.compute_s) == (0.0, [], [], 0.0)


async def test_waits_by_priority(call, scene, clock) -> None:
    scene.swarm("a", "b", agents_made=2, priority=1)
    clock.advance(3_000)
    scene.claim()
    (wait,) = (await call("swarm.costs", swarm=SWARM)).queue_waits
    assert (wait.priority, wait.tasks, wait.mean_s, wait.longest_s) == ("high", 2, 3.0, 3.0)


async def test_an_unknown_swarm(call) -> None:
    with pytest.raises(errors.UnknownSwarm):
        await call("swarm.costs", swarm="nope")


async def test_a_label_adds_up_over_swarms(call, scene) -> None:
    scene.swarm("a", label="build-7")
    scene.swarm("a", swarm_id="bbbbbb", label="build-7")
    scene.swarm("a", swarm_id="cccccc")
    settled(scene, 100_000_000)
    settled(scene, 200_000_000, swarm_id="bbbbbb", agent_id=None)
    settled(scene, 400_000_000, swarm_id="cccccc", agent_id=None)
    found = await call("swarm.costs", swarm=SWARM)
    assert [(line.key, line.usd, line.calls) for line in found.labels] == [("build-7", 0.3, 2)]
    assert (await call("swarm.costs", swarm="cccccc")).labels == []
