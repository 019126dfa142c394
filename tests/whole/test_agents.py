"""Every verb on agents and swarms, against real process trees; the kernel is asked whether it came true."""

import os
import signal

import pytest
import trio

from tests.whole import door, trees
from tests.whole.conftest import GATE

pytestmark = pytest.mark.slow

FAMILY = """
(setsid sh -c 'read -r _ < "$1"' sh "$1" &)
sh -c 'read -r _ < "$1"; echo child' sh "$1" &
read -r _ < "$1"
wait
echo parent
"""
"""An agent with a child and a grandchild that left its session and lost its parent; all wait at the gate."""
FAMILY_PROCESSES = 3


async def the_family(dash, gate, **params):
    """A running family: the agent's id, and the pids."""
    created = await dash.swarm(FAMILY, gate.path, **params)
    (started,) = await dash.events(created["id"], "agent.started")
    return started["agent"], await trees.grown(started["data"]["pid"], FAMILY_PROCESSES)


async def test_pause_stops_the_whole_tree_and_resume_lets_it_go_on(dash, gate):
    agent, pids = await the_family(dash, gate)
    swarm = agent.partition("-")[0]
    changed = await dash.call("agent.pause", agent=agent)
    assert (changed["changed"], changed["wanted"]) == (True, "pause")
    await dash.events(swarm, "agent.paused")
    await trees.settled(pids, "T")
    found = await dash.call("agent.get", agent=agent)
    assert (found["state"], found["liveness"], found["pause"]) == ("paused", "alive", "hard")
    assert (await dash.call("agent.pause", agent=agent))["changed"] is False
    # Although the gate is open, nobody passes it.
    gate.let(FAMILY_PROCESSES)
    await trees.settled(pids, "T")
    await dash.call("agent.resume", agent=agent)
    await dash.events(swarm, "agent.resumed")
    report = await dash.ended(swarm)
    assert report["results"][0]["result"] == "child\nparent\n"
    await trees.settled(pids, "")


async def test_kill_ends_the_whole_tree_and_cancels_the_task(dash, gate):
    agent, pids = await the_family(dash, gate)
    await dash.call("agent.kill", agent=agent)
    await dash.events(agent.partition("-")[0], "agent.killed")
    assert [trees.state(pid) for pid in pids] == ["", "", ""]
    found = await dash.call("agent.get", agent=agent)
    assert (found["state"], found["task_state"], found["pid"]) == ("killed", "cancelled", None)
    report = await dash.call("swarm.report", swarm=found["swarm"])
    assert (report["state"], report["outcome"], report["final"]) == ("failed", "none", True)


async def test_what_is_paused_can_be_killed(dash, gate):
    agent, pids = await the_family(dash, gate)
    swarm = agent.partition("-")[0]
    await dash.call("agent.pause", agent=agent)
    await dash.events(swarm, "agent.paused")
    await dash.call("agent.kill", agent=agent)
    await dash.events(swarm, "agent.killed")
    assert [trees.state(pid) for pid in pids] == ["", "", ""]


async def test_who_ignores_the_polite_end_is_killed_after_the_grace(dash, gate):
    created = await dash.swarm(
        f"trap '' TERM; echo up; {GATE}; {GATE}", gate.path, limits={"grace_s": 0.3, "retries": 0}
    )
    (started,) = await dash.events(created["id"], "agent.started")
    await dash.call("agent.logs", agent=started["agent"], wait_s=20, offset=0)
    await dash.call("agent.kill", agent=started["agent"])
    why = await dash.call("agent.why", agent=started["agent"])
    await dash.events(created["id"], "agent.killed")
    assert why["waits_for"] in ("end", "nothing")
    found = await dash.call("agent.get", agent=started["agent"])
    assert found["attempts"][0]["exit_signal"] == signal.SIGKILL


async def test_a_kill_with_requeue_gives_the_task_to_another(dash, gate, tmp_path):
    created = await dash.swarm(
        f'echo "$DASH_AGENT $2" >> "$3"; {GATE}', gate.path, "{item}", str(tmp_path / "journal"),
        agents=2, items=["x", "y", "z"],
    )  # fmt: skip
    swarm = created["id"]
    first, _ = await dash.events(swarm, "agent.started", 2)
    await dash.call("agent.kill", agent=first["agent"], requeue=True)
    await dash.events(swarm, "agent.killed")
    task = await dash.call("task.get", task=first["task"])
    assert task["state"] == "ready"
    assert task["attempts"][0]["state"] == "cancelled"
    gate.let(3)
    report = await dash.ended(swarm)
    assert report["tasks"] == {"total": 3, "completed": 3}
    assert report["agents"] == {"total": 2, "completed": 1, "killed": 1}
    runs = [line.split() for line in (tmp_path / "journal").read_text().splitlines()]
    other = f"{swarm}-002" if first["agent"].endswith("-001") else f"{swarm}-001"
    assert sum(agent == first["agent"] for agent, _ in runs) == 1
    assert sum(agent == other for agent, _ in runs) == 3


async def test_retry_runs_a_dead_task_again_in_its_own_seat(dash, gate, tmp_path):
    flag = tmp_path / "mended"
    created = await dash.swarm(
        f'if [ "$2" = good ]; then {GATE}; else test -e "$3"; fi', gate.path, "{item}", str(flag),
        agents=2, items=["bad", "good"], limits={"retries": 0},
    )  # fmt: skip
    swarm = created["id"]
    (dead,) = await dash.events(swarm, "task.dead")
    agent = dead["agent"]
    other = f"{swarm}-002" if agent == f"{swarm}-001" else f"{swarm}-001"
    await dash.events(swarm, "task.assigned", 2)
    with pytest.raises(door.Refused, match=r"IllegalTransition.*is running; only a dead"):
        await dash.call("agent.retry", agent=other)
    flag.touch()
    assert (await dash.call("agent.retry", agent=agent))["changed"] is True
    (completed,) = await dash.events(swarm, "task.completed", since=dead["seq"])
    assert (completed["task"], completed["agent"]) == (dead["task"], agent)
    gate.let()
    report = await dash.ended(swarm)
    assert report["outcome"] == "complete"
    with pytest.raises(door.Refused, match="SwarmEnded"):
        await dash.call("task.retry", task=dead["task"])


async def test_failures_are_retried_with_a_delay_and_then_are_dead(dash, tmp_path):
    journal = tmp_path / "journal"
    created = await dash.swarm('echo run >> "$1"; echo bad >&2; exit 7', str(journal), limits={"retries": 1})
    (retrying,) = await dash.events(created["id"], "task.retrying")
    assert 0.5 <= retrying["data"]["delay_s"] <= 2
    report = await dash.ended(created["id"])
    assert journal.read_text() == "run\nrun\n"
    assert report["attempts"] == {"total": 2, "retried": 1, "lost": 0, "late": 0, "cut": 0}
    (failure,) = report["failures"]
    assert (failure["cause"], failure["attempts"], failure["last_lines"]) == (
        "exit code 7 (attempt 2 of 2)",
        2,
        "bad\n",
    )


async def test_scale_adds_agents_at_once_and_takes_them_away_after_their_tasks(dash, gate):
    created = await dash.swarm(GATE, gate.path, agents=1, items=[str(number) for number in range(6)])
    swarm = created["id"]
    assert created["notes"] == ["6 tasks queue for 1 agents"]
    await dash.events(swarm, "agent.started")
    scaled = await dash.call("swarm.scale", swarm=swarm, agents=3)
    assert (scaled["agents"], scaled["added"]) == (3, 2)
    *_, third = await dash.events(swarm, "agent.started", 3)
    scaled = await dash.call("swarm.scale", swarm=swarm, agents=1)
    assert (scaled["agents"], scaled["removed"], scaled["leaving"]) == (3, 0, 2)
    gate.let(3)
    await dash.events(swarm, "agent.completed", 2)
    await dash.events(swarm, "agent.started", 1, since=third["seq"])
    found = await dash.call("swarm.get", swarm=swarm)
    assert found["agents"] == {"completed": 2, "running": 1}
    gate.let(3)
    report = await dash.ended(swarm)
    assert report["tasks"] == {"total": 6, "completed": 6}
    assert report["agents"] == {"total": 3, "completed": 3}


async def test_a_paused_swarm_holds_what_runs_and_starts_nothing(dash, gate):
    created = await dash.swarm(FAMILY, gate.path, agents=1, items=["x", "y"])
    swarm = created["id"]
    (started,) = await dash.events(swarm, "agent.started")
    pids = await trees.grown(started["data"]["pid"], FAMILY_PROCESSES)
    assert await dash.call("swarm.pause", swarm=swarm) == {"id": swarm, "state": "paused", "changed": True}
    (paused,) = await dash.events(swarm, "agent.paused")
    await trees.settled(pids, "T")
    assert (await dash.call("swarm.scale", swarm=swarm, agents=2))["added"] == 1
    why = await dash.call("agent.why", agent=f"{swarm}-002")
    assert (why["waits_for"], why["text"]) == ("pause", "its swarm is paused; resume it to go on")
    await dash.call("swarm.resume", swarm=swarm)
    await dash.events(swarm, "agent.started", since=paused["seq"])
    gate.let(2 * FAMILY_PROCESSES)
    report = await dash.ended(swarm)
    assert report["tasks"] == {"total": 2, "completed": 2}


async def test_destroy_leaves_no_process_and_cancels_what_is_open(dash, gate):
    created = await dash.swarm(FAMILY, gate.path, agents=3, items=[str(number) for number in range(5)])
    swarm = created["id"]
    started = await dash.events(swarm, "agent.started", 3)
    pids = set()
    for event in started:
        pids |= await trees.grown(event["data"]["pid"], FAMILY_PROCESSES)
    assert len(pids) == 9
    await dash.call("swarm.destroy", swarm=swarm)
    await dash.events(swarm, "swarm.destroyed")
    assert {trees.state(pid) for pid in pids} == {""}
    report = await dash.call("swarm.report", swarm=swarm)
    assert (report["state"], report["final"]) == ("destroyed", True)
    assert report["tasks"] == {"total": 5, "cancelled": 5}
    assert report["agents"] == {"total": 3, "killed": 3}
    with pytest.raises(door.Refused, match=r"SwarmEnded.*swarm.report"):
        await dash.call("swarm.scale", swarm=swarm, agents=4)


async def test_spawn_adds_an_agent_with_a_task_of_its_own(dash, gate):
    created = await dash.swarm('echo "$2"; ' + GATE, gate.path, "{task} {item}")
    swarm = created["id"]
    spawned = await dash.call("agent.spawn", swarm=swarm, task="look at", item="this", name="ada")
    await dash.events(swarm, "agent.started", 2)
    found = await dash.call("agent.get", agent=spawned["id"])
    assert (found["name"], found["task"], found["item"]) == ("ada", spawned["task"], "this")
    gate.let(2)
    await dash.ended(swarm)
    result = await dash.call("agent.result", agent=spawned["id"])
    assert (result["result"], result["task_state"]) == ("look at this\n", "completed")


async def test_spawn_without_a_swarm_makes_a_swarm_of_one(dash):
    spawned = await dash.call("agent.spawn", task="t", argv=["echo", "alone"], cwd="/")
    report = await dash.ended(spawned["swarm"])
    assert report["results"][0]["result"] == "alone\n"
    assert report["agents"]["total"] == 1


async def test_cancelling_a_task_ends_its_run_but_not_its_agent(dash, gate):
    created = await dash.swarm(FAMILY, gate.path, agents=1, items=["x", "y"])
    swarm = created["id"]
    (started,) = await dash.events(swarm, "agent.started")
    pids = await trees.grown(started["data"]["pid"], FAMILY_PROCESSES)
    await dash.call("task.cancel", task=started["task"])
    await dash.events(swarm, "task.cancelled")
    await trees.settled(pids, "")
    (second,) = await dash.events(swarm, "agent.started", since=started["seq"])
    assert second["agent"] == started["agent"]
    gate.let(FAMILY_PROCESSES)
    report = await dash.ended(swarm)
    assert (report["outcome"], report["tasks"]) == ("partial", {"total": 2, "completed": 1, "cancelled": 1})


async def test_an_attempt_over_its_time_is_ended_with_its_tree(dash, gate):
    agent, pids = await the_family(dash, gate, limits={"timeout_s": 1, "retries": 0})
    report = await dash.ended(agent.partition("-")[0])
    assert report["failures"][0]["cause"] == "ran longer than 1 s"
    await trees.settled(pids, "")


async def test_paused_time_does_not_count(dash, gate):
    agent, _ = await the_family(dash, gate, limits={"timeout_s": 1, "retries": 0})
    swarm = agent.partition("-")[0]
    await dash.call("agent.pause", agent=agent)
    (paused,) = await dash.events(swarm, "agent.paused")
    # Longer than it may run, and nothing happens meanwhile.
    waited = await dash.call("event.wait", swarm=swarm, since=paused["seq"], timeout_s=1.2)
    assert waited["timed_out"] is True
    gate.let(FAMILY_PROCESSES)
    await dash.call("agent.resume", agent=agent)
    assert (await dash.ended(swarm))["outcome"] == "complete"


async def test_an_agent_killed_from_outside_failed_by_that_signal(dash, gate):
    agent, pids = await the_family(dash, gate, limits={"retries": 0})
    os.kill((await dash.call("agent.get", agent=agent))["pid"], signal.SIGKILL)
    report = await dash.ended(agent.partition("-")[0])
    assert report["failures"][0]["cause"] == "ended by signal 9"
    await trees.settled(pids, "")


async def test_fifty_agents_at_once(dash, gate):
    created = await dash.swarm(f"{GATE}; echo $2", gate.path, "{item}", agents=50)
    await dash.events(created["id"], "agent.started", 50)
    with trio.fail_after(30):
        gate.let(50)
        report = await dash.ended(created["id"])
    assert report["tasks"] == {"total": 50, "completed": 50}
