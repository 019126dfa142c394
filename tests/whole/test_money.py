"""Embedded agents, their money and their way to a model, through the socket, with real processes."""

import json
import os
import sqlite3

import pytest
import trio

from tests.whole import daemons, door

pytestmark = pytest.mark.slow


async def _embedded(dash, folder, task, **params):
    """A swarm of one embedded agent that works in `folder`."""
    given = {"task": task, "cwd": str(folder), "driver": "embedded", "budget": 1} | params
    created = await dash.call("swarm.create", **given)
    dash.swarms.append(created["id"])
    return created["id"]


@pytest.fixture
def bell(tmp_path):
    """`echo > bell` in a script is heard by `await bell()`."""
    path = tmp_path / "bell"
    os.mkfifo(path)

    async def heard():
        with trio.fail_after(door.WAIT_S_MAX):
            await trio.to_thread.run_sync(path.read_bytes, abandon_on_cancel=True)

    return heard


async def _node(dash, swarm):
    return (await dash.call("budget.status", budget=swarm))["budget"]


def _result(report):
    (found,) = report["results"]
    return json.loads(found["result"])


async def test_an_embedded_agent_works_reports_and_pays(dash, tmp_path):
    swarm = await _embedded(dash, tmp_path, "`echo one > out.txt`, then `cat out.txt`")
    report = await dash.ended(swarm)
    assert report["outcome"] == "complete"
    assert _result(report)["files_changed"] == ["out.txt"]
    assert "stand-in" in _result(report)["summary"]
    assert (tmp_path / "out.txt").read_text() == "one\n"
    node = await _node(dash, swarm)
    calls = (await dash.call("budget.export", swarm=swarm))["rows"]
    assert [call["confirmed"] for call in calls] == [True] * 3
    assert node["spent_usd"] == pytest.approx(sum(call["usd"] for call in calls))
    assert 0 < node["spent_usd"] < 1
    assert (node["held_usd"], node["unconfirmed_usd"]) == (0, 0)


async def test_a_command_of_an_agent_sees_no_key_and_no_secret_of_the_daemon(start_daemon, tmp_path):
    daemon = start_daemon(OPENAI_API_KEY="canary", SOME_TOKEN="canary")
    async with door.open_door(daemon.socket) as dash:
        swarm = await _embedded(
            dash, tmp_path, "`env > env.txt; tr '\\0' '\\n' < /proc/$PPID/environ > own.txt`"
        )
        assert (await dash.ended(swarm))["outcome"] == "complete"
    seen = (tmp_path / "env.txt").read_text()
    assert "DASH_AGENT=" in seen
    assert "DASH_MODEL" not in seen
    assert "DASH_MODEL_KEY=dk_" in (tmp_path / "own.txt").read_text()  # until agents have walls
    assert "canary" not in seen + (tmp_path / "own.txt").read_text()


async def test_a_refused_budget_is_final_and_says_so(dash, tmp_path, gate, bell):
    swarm = await _embedded(dash, tmp_path, f"`echo > bell; read -r _ < {gate.path}`, then `true`")
    await bell()
    await dash.call("budget.set", budget=swarm, limit_usd=0.0001, actions={"at_100": "notify"})
    gate.let()
    report = await dash.ended(swarm)
    assert (report["outcome"], report["attempts"]["total"]) == ("none", 1)
    assert "budget" in json.dumps(report["failures"])


async def test_at_its_end_a_budget_pauses_says_what_can_be_done_and_goes_on_when_extended(
    dash, tmp_path, gate, bell
):
    swarm = await _embedded(dash, tmp_path, f"`echo > bell; read -r _ < {gate.path}`, then `touch second`")
    await bell()
    spent = (await _node(dash, swarm))["spent_usd"]
    await dash.call("budget.set", budget=swarm, limit_usd=spent + 0.000_001)
    gate.let()
    told = await dash.events(swarm, "budget.threshold")
    # The pause is in the transaction of the event: whoever has heard of the one sees the other.
    assert (await dash.call("swarm.get", swarm=swarm))["state"] == "paused"
    data = told[-1]["data"]
    assert (data["threshold"], data["action"], data["projected"]) == (100, "pause", None)
    assert [each.split()[0] for each in data["options"]] == ["budget.extend", "swarm.report", "swarm.destroy"]
    await dash.events(swarm, "agent.paused")
    assert (await _node(dash, swarm))["spent_usd"] == spent
    report = await dash.call("swarm.report", swarm=swarm)
    assert (
        "nothing is left" in report["money"]
        or " left of " in report["money"]
        or "pass the limit" in report["money"]
    )
    assert any(each.startswith(f"budget.extend {swarm}") for each in report["follow_ups"])
    await dash.call("budget.extend", budget=swarm, usd=1)
    report = await dash.ended(swarm)
    assert (report["outcome"], report["attempts"]["total"]) == ("complete", 1)
    assert (tmp_path / "second").exists()


async def test_a_paused_agent_calls_no_model_until_it_is_resumed(dash, tmp_path, gate, bell):
    swarm = await _embedded(
        dash, tmp_path, f"`echo > bell; read -r _ < {gate.path}; echo > bell`, then `touch second`"
    )
    await bell()
    with trio.fail_after(1):
        await dash.call("agent.pause", agent=f"{swarm}-001")
        await dash.events(swarm, "agent.paused")
    assert (await dash.call("agent.get", agent=f"{swarm}-001"))["state"] == "paused"
    gate.let()
    await bell()
    await dash.call("agent.resume", agent=f"{swarm}-001")
    (resumed,) = await dash.events(swarm, "agent.resumed")
    assert (await dash.ended(swarm))["outcome"] == "complete"
    assert (tmp_path / "second").exists()
    calls = (await dash.call("budget.export", swarm=swarm))["rows"]
    assert calls[0]["at"] < resumed["at"] <= calls[1]["at"]


async def test_a_call_that_dashd_died_in_is_made_again_by_the_same_attempt(tmp_path_factory, tmp_path):
    daemon = daemons.DaemonProcess(tmp_path_factory.mktemp("k"))
    try:
        daemon.start("--crash-at", "proxy.billed:2")
        async with door.open_door(daemon.socket) as dash:
            swarm = await _embedded(dash, tmp_path, "`echo one >> out.txt`, then `echo two >> out.txt`")
        assert await trio.to_thread.run_sync(daemon.process.wait, 30) == -9
        daemon.start()
        async with door.open_door(daemon.socket) as dash:
            report = await dash.ended(swarm)
            assert report["outcome"] == "complete", report
            assert report["attempts"] | {"total": 1, "retried": 0, "lost": 0} == report["attempts"]
            assert len(await dash.events(swarm, "agent.adopted")) == 1
            calls = (await dash.call("budget.export", swarm=swarm))["rows"]
            assert [(call["basis"], call["confirmed"]) for call in calls] == [
                ("usage", True), ("crash", False), ("usage", True), ("usage", True),
            ]  # fmt: skip
            node = await _node(dash, swarm)
            assert node["unconfirmed_usd"] == pytest.approx(calls[1]["usd"])
            assert node["held_usd"] == 0
        assert (tmp_path / "out.txt").read_text() == "one\ntwo\n"
        assert daemon.stop("stop") == 0
        (path,) = daemon.state.rglob("*.db")
        with sqlite3.connect(path) as db:
            keys = db.execute("SELECT count(*), count(revoked_at_ms) FROM proxy_key").fetchone()
        db.close()
        assert keys == (1, 1)
        assert daemon.processes() == []
    finally:
        daemon.end()


async def test_a_paused_agent_is_still_paused_after_dashd_was_killed(start_daemon, tmp_path, gate, bell):
    daemon = start_daemon()
    async with door.open_door(daemon.socket) as dash:
        swarm = await _embedded(
            dash, tmp_path, f"`echo > bell; read -r _ < {gate.path}`, then `touch second`, then `touch third`"
        )
        await bell()
        await dash.call("agent.pause", agent=f"{swarm}-001")
        await dash.events(swarm, "agent.paused")
    daemon.kill()
    gate.let()  # its next call waits in the backlog
    daemon.start()
    async with door.open_door(daemon.socket) as dash:
        await dash.events(swarm, "agent.adopted")
        seat = await dash.call("agent.get", agent=f"{swarm}-001")
        assert (seat["state"], seat["liveness"]) == ("paused", "alive")
        assert len((await dash.call("budget.export", swarm=swarm))["rows"]) == 1
        await dash.call("agent.resume", agent=f"{swarm}-001")
        report = await dash.ended(swarm)
        assert (report["outcome"], report["attempts"]["total"]) == ("complete", 1)
        rows = (await dash.call("budget.export", swarm=swarm))["rows"]
        assert [row["basis"] for row in rows] == ["usage"] * 4


async def test_twenty_agents_finish_on_a_budget_that_covers_what_they_cost(dash, tmp_path):
    """Each call's worst case is many times what it costs, and all twenty start at once."""
    task = "`echo a > {item}`, then " + ", ".join(["`cat {item}`"] * 5)
    one = await _embedded(dash, tmp_path, task, items=["f00"], model="offline")
    assert (await dash.ended(one))["outcome"] == "complete"
    limit = (await _node(dash, one))["spent_usd"] * 20 * 1.3
    items = [f"f{number:02}" for number in range(20)]
    swarm = await _embedded(dash, tmp_path, task, items=items, agents=20, model="offline", budget=limit)
    report = await dash.ended(swarm)
    assert (report["outcome"], report["tasks"]) == ("complete", {"total": 20, "completed": 20})
    assert (await _node(dash, swarm))["spent_usd"] <= limit


async def test_a_task_of_its_own_limit_stops_its_seat_and_not_the_others(dash, tmp_path, gate):
    folder = tmp_path / "w"
    folder.mkdir()
    made = await dash.call(
        "swarm.create", task=f"`read -r _ < {gate.path}`, then `true`", cwd=str(folder), driver="embedded",
        budget=1, agents=1, unsafe_no_jail=True,
    )  # fmt: skip
    dash.swarms.append(made["id"])
    swarm, task = made["id"], f"{made['id']}-t1"
    await dash.events(swarm, "model.call")
    spent = (await _node(dash, f"{swarm}-001"))["spent_usd"]
    limited = await dash.call("budget.set", budget=task, limit_usd=spent * 1.05)
    assert limited["budget"]["spent_usd"] == spent
    gate.let()
    (told,) = [
        each for each in await dash.events(swarm, "budget.threshold") if each["data"]["threshold"] == 100
    ]
    assert (told["task"], told["data"]["budget"]) == (task, task)
    await dash.events(swarm, "agent.paused")
    assert (await dash.call("swarm.get", swarm=swarm))["state"] == "active"
    assert (await _node(dash, task))["spent_usd"] <= spent * 1.05
    assert (await dash.call("budget.extend", budget=task, usd=0.5))["resumed"] == 1
    assert (await dash.ended(swarm))["outcome"] == "complete"
    assert (await _node(dash, task))["spent_usd"] == (await _node(dash, swarm))["spent_usd"]
