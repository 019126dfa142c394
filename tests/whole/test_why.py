"""`agent.why`: each reason for which an agent does not go on, as it comes about for real.

`slot` and `dependency` are in test_order, `pause` of a swarm in test_agents; `start` lasts for milliseconds
and is left to the tests of the rule itself.
"""

import pytest

from tests.whole.conftest import GATE

pytestmark = pytest.mark.slow


async def why(dash, agent):
    found = await dash.call("agent.why", agent=agent)
    assert found == (await dash.call("agent.get", agent=agent))["why"]
    return found


async def test_nothing_while_it_works_and_once_it_has_ended(dash, gate):
    created = await dash.swarm(GATE, gate.path)
    (started,) = await dash.events(created["id"], "agent.started")
    working = await why(dash, started["agent"])
    assert (working["waits_for"], working["text"]) == ("nothing", "it is working")
    assert working["on"] == [started["task"]]
    assert working["since"] is not None
    gate.let()
    await dash.ended(created["id"])
    ended = await why(dash, started["agent"])
    assert (ended["waits_for"], ended["text"]) == ("nothing", "it has ended: completed")


async def test_pause(dash, gate):
    created = await dash.swarm(GATE, gate.path)
    (started,) = await dash.events(created["id"], "agent.started")
    await dash.call("agent.pause", agent=started["agent"])
    await dash.events(created["id"], "agent.paused")
    found = await why(dash, started["agent"])
    assert (found["waits_for"], found["text"]) == ("pause", "it is paused in place; resume it to go on")


async def test_pause_of_an_agent_that_has_no_task(dash, gate):
    created = await dash.swarm(GATE, gate.path, agents=1)
    swarm = created["id"]
    await dash.events(swarm, "agent.started")
    await dash.call("swarm.pause", swarm=swarm)
    spawned = await dash.call("agent.spawn", swarm=swarm, task="t")
    await dash.call("agent.pause", agent=spawned["id"])
    await dash.call("swarm.resume", swarm=swarm)
    found = await why(dash, spawned["id"])
    assert (found["waits_for"], "takes no task" in found["text"]) == ("pause", True)
    await dash.call("agent.resume", agent=spawned["id"])
    await dash.events(swarm, "agent.started", 2)
    gate.let(2)
    assert (await dash.ended(swarm))["outcome"] == "complete"


async def test_retry_and_when_that_will_be(dash):
    created = await dash.swarm("exit 1", limits={"retries": 5})
    (retrying,) = await dash.events(created["id"], "task.retrying")
    found = await why(dash, f"{created['id']}-001")
    assert (found["waits_for"], found["on"]) == ("retry", [retrying["task"]])
    task = await dash.call("task.get", task=retrying["task"])
    assert found["until"] == task["retry_at"] > retrying["at"]


async def test_work_where_only_others_still_have_some(dash, gate):
    created = await dash.swarm(GATE, gate.path, agents=1)
    swarm = created["id"]
    await dash.events(swarm, "agent.started")
    await dash.call("swarm.scale", swarm=swarm, agents=2)
    found = await why(dash, f"{swarm}-002")
    assert (found["waits_for"], found["on"]) == ("work", [])


async def test_end_while_its_processes_take_their_time(dash, gate):
    created = await dash.swarm(
        f"trap '' TERM; echo up; {GATE}; {GATE}", gate.path, limits={"grace_s": 30, "retries": 0}
    )
    (started,) = await dash.events(created["id"], "agent.started")
    await dash.call("agent.logs", agent=started["agent"], wait_s=20, offset=0)
    await dash.call("agent.kill", agent=started["agent"])
    found = await why(dash, started["agent"])
    assert (found["waits_for"], found["on"]) == ("end", [started["task"]])
    gate.let(2)
    await dash.events(created["id"], "agent.killed")
