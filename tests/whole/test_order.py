"""In which order work is done: strict priority over all swarms, queues, pipelines, map-reduce."""

import pytest
import trio

from tests.whole import door
from tests.whole.conftest import GATE

pytestmark = pytest.mark.slow


@pytest.fixture
async def narrow(start_daemon):
    """A connection to a dashd with a single slot."""
    dashd = await trio.to_thread.run_sync(lambda: start_daemon(DASH_MAX_AGENTS="1"))
    async with door.open_door(dashd.socket) as dash:
        yield dash


async def test_the_highest_level_goes_first_over_all_swarms_oldest_first_within_it(narrow, gate):
    holds = await narrow.swarm(GATE, gate.path, priority="low")
    await narrow.events(holds["id"], "agent.started")
    made = {}
    for level in ("low", "medium", "critical", "high"):
        for number in (1, 2):
            created = await narrow.swarm("echo done", agents=2, items=["x", "y"], priority=level)
            made[created["id"]] = (level, number)
    why = await narrow.call("agent.why", agent=f"{created['id']}-001")
    assert (why["waits_for"], "all 1 slots" in why["text"]) == ("slot", True)
    gate.let()
    for swarm in made:
        await narrow.ended(swarm)
    listed = await narrow.call("event.list", kinds=["task.assigned"], limit=1_000)
    order = [made[event["swarm"]] for event in listed["events"] if event["swarm"] in made]
    wanted = [(level, number) for level in ("critical", "high", "medium", "low") for number in (1, 1, 2, 2)]
    assert order == wanted


async def test_one_agents_task_may_be_more_urgent_than_its_swarm(narrow, gate):
    created = await narrow.swarm(GATE, gate.path, agents=1, items=["x", "y"], priority="low")
    await narrow.events(created["id"], "agent.started")
    other = await narrow.swarm("echo done", priority="medium")
    urgent = await narrow.call("agent.spawn", swarm=created["id"], task="now", priority="critical")
    gate.let(3)
    await narrow.ended(other["id"])
    await narrow.ended(created["id"])
    listed = await narrow.call("event.list", kinds=["task.assigned"])
    order = [event["task"] for event in listed["events"]]
    assert order[1] == urgent["task"]
    assert order[2].startswith(other["id"])


async def test_more_items_than_agents_queue_and_no_agent_runs_two_at_once(dash):
    items = [f"item-{number}" for number in range(12)]
    created = await dash.swarm('echo "$1"', "{item}", agents=3, items=items)
    report = await dash.ended(created["id"])
    assert report["tasks"] == {"total": 12, "completed": 12}
    assert report["agents"] == {"total": 3, "completed": 3}
    assert [result["result"].strip() for result in report["results"]] == items
    listed = await dash.call(
        "event.list", swarm=created["id"], kinds=["task.assigned", "task.completed"], limit=100
    )
    working: set[str] = set()
    for event in listed["events"]:
        if event["kind"] == "task.assigned":
            assert event["agent"] not in working
            working.add(event["agent"])
        else:
            working.remove(event["agent"])
        assert len(working) <= 3
    assert {event["agent"] for event in listed["events"]} == {f"{created['id']}-00{n}" for n in (1, 2, 3)}


async def test_without_items_every_agent_has_one_task(dash):
    created = await dash.swarm('echo "$1/$2/$DASH_AGENT"', "{task}", "{item}", agents=3, task="mend it")
    report = await dash.ended(created["id"])
    assert sorted(result["result"] for result in report["results"]) == [
        f"mend it/{number}/{created['id']}-00{number}\n" for number in (1, 2, 3)
    ]


async def test_a_pipeline_goes_item_by_item(dash, tmp_path):
    items = ["first", "second", "third", "fourth"]
    created = await dash.swarm(
        'echo "$1" >> "$2"', "{item}", str(tmp_path / "j"), agents=4, items=items, strategy="pipeline"
    )
    report = await dash.ended(created["id"])
    assert report["outcome"] == "complete"
    assert (tmp_path / "j").read_text().split() == items


async def test_a_pipeline_that_breaks_cancels_what_needed_the_broken_step(dash):
    created = await dash.swarm(
        'test "$1" != second', "{item}", items=["first", "second", "third", "fourth"], strategy="pipeline",
        limits={"retries": 0},
    )  # fmt: skip
    report = await dash.ended(created["id"])
    assert report["tasks"] == {"total": 4, "completed": 1, "dead": 1, "cancelled": 2}
    tasks = {failure["item"]: failure["task"] for failure in report["failures"]}
    causes = {failure["item"]: failure["cause"] for failure in report["failures"]}
    assert causes["third"] == f"it needs task {tasks['second']}, which is dead"
    assert causes["fourth"] == f"it needs task {tasks['third']}, which is cancelled"


async def test_map_reduce_runs_the_last_item_after_all_others(dash, gate, tmp_path):
    created = await dash.swarm(
        f'[ "$2" = sum ] || {GATE}; echo "$2" >> "$3"', gate.path, "{item}", str(tmp_path / "j"),
        agents=4, items=["a", "b", "c", "sum"], strategy="map-reduce",
    )  # fmt: skip
    swarm = created["id"]
    started = await dash.events(swarm, "agent.started", 3)
    (idle,) = {f"{swarm}-00{number}" for number in (1, 2, 3, 4)} - {event["agent"] for event in started}
    why = await dash.call("agent.why", agent=idle)
    assert why["waits_for"] == "dependency"
    assert set(why["on"]) == {event["task"] for event in started}
    (waiting,) = (await dash.call("task.list", swarm=swarm, states=["waiting"]))["items"]
    task = await dash.call("task.get", task=waiting["id"])
    assert (task["item"], set(task["after"])) == ("sum", set(why["on"]))
    gate.let(3)
    assert (await dash.ended(swarm))["outcome"] == "complete"
    *mapped, reduced = (tmp_path / "j").read_text().split()
    assert (sorted(mapped), reduced) == (["a", "b", "c"], "sum")
