"""Driver `openclaw` in gateway mode: a real dashd, real walls, and a stand-in for the gateway.

tests/live/test_gateway.py does the like with the real one.
"""

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest
import trio

from tests.fakes import openclaw_gateway as fake
from tests.jail import inside
from tests.whole import daemons
from tests.whole.door import Door, Refused, open_door

pytestmark = pytest.mark.slow

FAKE = str(Path(fake.__file__))
CONFIGURED = {"DASH_PROGRAMS_NODE": FAKE, "DASH_PROGRAMS_OPENCLAW": FAKE, "DASH_JAIL_REQUIRED": "true"}


@pytest.fixture(scope="module")
def with_gateways(tmp_path_factory):
    """A dashd that has the stand-in configured."""
    inside.of_grade("B")
    made = daemons.DaemonProcess(tmp_path_factory.mktemp("g"), **CONFIGURED)
    try:
        made.start()
        yield made
        assert made.stop() == 0
        assert made.processes() == []
    finally:
        made.end()


@pytest.fixture
async def dash(with_gateways):
    async with open_door(with_gateways.socket) as opened:
        yield opened
        await opened.destroy_all()


@pytest.fixture
def start_daemon_at(tmp_path_factory):
    """`start_daemon_at(POINT)`: a dashd that dies there, once."""
    inside.of_grade("B")
    made = daemons.DaemonProcess(tmp_path_factory.mktemp("c"), **CONFIGURED)

    def start(*arguments: str) -> daemons.DaemonProcess:
        made.start(*arguments)
        return made

    yield start
    made.end()


@pytest.fixture
def start_daemon(tmp_path_factory):
    """`start_daemon(NAME=...)`: a dashd of a test's own, with these settings."""
    inside.of_grade("B")
    started = []

    def start(**environ: str) -> daemons.DaemonProcess:
        made = daemons.DaemonProcess(tmp_path_factory.mktemp("s"), **(CONFIGURED | environ))
        started.append(made)
        made.start()
        return made

    yield start
    for each in started:
        each.end()


async def _swarm(dash: Door, task: str, folder: Path, **more) -> str:
    given = {"task": task, "cwd": str(folder), "driver": "openclaw", "mode": "gateway"} | more
    made = await dash.call("swarm.create", **given)
    dash.swarms.append(made["id"])
    return made["id"]


async def test_agents_work_in_one_gateway_and_return_their_results(dash, tmp_path) -> None:
    swarm = await _swarm(
        dash, "do `echo {item} > {item}; ls /etc/shadow`", tmp_path, agents=2, items=list("abc")
    )
    report = await dash.ended(swarm)
    assert report["outcome"] == "complete", report
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c"}
    assert (tmp_path / "b").read_text() == "b\n"
    said = [json.loads(each["result"])["summary"] for each in report["results"]]
    assert all("shadow" in each for each in said)
    seen = await dash.events(swarm, ["gateway.*", "swarm.completed"], 2)
    assert [event["kind"] for event in seen] == ["gateway.up", "swarm.completed"]  # its end is no news
    logs = await dash.call("agent.logs", agent=f"{swarm}-001")
    assert "step 1.\n[exec echo " in logs["text"], logs  # what it said, and what it called
    assert logs["text"].count('{"summary"') == 1
    tools = await dash.call("agent.logs", agent=f"{swarm}-001", stream="stderr")
    assert tools["text"].count("\n") == tools["text"].count("[exec echo ") == 1
    agents = [await dash.call("agent.get", agent=f"{swarm}-00{number}") for number in (1, 2)]
    assert {(each["mode"], each["identity"], each["grade"] in ("A", "B")) for each in agents} == {
        ("gateway", "key", True)
    }
    costs = await dash.call("swarm.costs", swarm=swarm)
    assert (costs["held_usd"], costs["calls"] >= 6) == (0.0, True)
    assert pids_of(f"{swarm}-g1") == []


async def test_calls_are_told_apart_by_key(dash, tmp_path) -> None:
    swarm = await _swarm(
        dash, "do `true`", tmp_path, agents=2, items=list("ab"), agent_budget="even", budget=4
    )
    assert (await dash.ended(swarm))["outcome"] == "complete"
    rows = (await dash.call("budget.export", swarm=swarm))["rows"]
    assert {row["agent"] for row in rows} == {f"{swarm}-001", f"{swarm}-002"}


async def test_an_agent_that_joins_works_in_the_same_gateway(dash, tmp_path, gate) -> None:
    swarm = await _swarm(dash, f"do `read -r _ < {gate.path}`", tmp_path)
    await dash.events(swarm, "agent.progress", 2)
    added = await dash.call("agent.spawn", swarm=swarm, task="do `echo joined > joined`")
    await dash.events(swarm, "task.completed")
    assert (tmp_path / "joined").exists()
    assert added["id"] == f"{swarm}-002"
    gate.let()
    assert (await dash.ended(swarm))["outcome"] == "complete"
    assert len(await dash.events(swarm, "gateway.up")) == 1


async def test_an_agent_without_a_task_is_warmed_for_nothing(dash, with_gateways, tmp_path, gate) -> None:
    """A run that the proxy refuses: no call reaches a model, and no attempt waits for more than that."""
    tasks = [f"`read -r _ < {gate.path}`", "`echo warm > warm`"]
    swarm = await _swarm(dash, "do {item}", tmp_path, agents=2, items=tasks)
    await dash.call("task.cancel", task=f"{swarm}-t2")  # before its gateway is up
    kept = with_gateways.state / "launches" / f"{swarm}-g1" / "state" / "sessions.json"
    with trio.fail_after(60):
        while f"agent:{swarm}-002:warm" not in (kept.read_text() if kept.exists() else ""):  # noqa: ASYNC110
            await trio.sleep(0.05)
    await dash.call("task.retry", task=f"{swarm}-t2")
    await dash.events(swarm, "task.completed")
    gate.let()
    assert (await dash.ended(swarm))["tasks"]["completed"] == 2
    calls = (await dash.call("budget.export", swarm=swarm))["rows"]
    made = [row["task"] for row in calls if row["basis"] != "unsent"]  # one that begins anew
    assert sorted(made) == [*[f"{swarm}-t1"] * 2, *[f"{swarm}-t2"] * 2]
    sessions, working = json.loads(kept.read_text())
    assert (f"agent:{swarm}-002:warm" in sessions, working) == (True, {})


async def test_a_refused_budget_is_final(dash, tmp_path, gate) -> None:
    swarm = await _swarm(dash, f"do `read -r _ < {gate.path}`", tmp_path, budget=1.0)
    await dash.events(swarm, "agent.progress", 2)
    await dash.call("budget.set", budget=swarm, limit_usd=0.0001, actions={"at_100": "notify"})
    gate.let()
    report = await dash.ended(swarm)
    (failure,) = report["failures"]
    assert failure["cause"] == "its budget did not cover the next call"
    assert report["attempts"]["total"] == 1


async def test_a_message_is_the_next_turn(dash, tmp_path, gate) -> None:
    swarm = await _swarm(dash, f"do `read -r _ < {gate.path}`", tmp_path)
    await dash.events(swarm, "agent.progress", 2)
    await dash.call("agent.message", agent=f"{swarm}-001", text="mind the gap")
    gate.let()
    assert (await dash.ended(swarm))["outcome"] == "complete"
    notes = [event["data"]["note"] for event in await dash.events(swarm, "agent.progress", 3)]
    assert notes == ["turn 1", "exec", "turn 2"]


async def test_paused_it_calls_no_model_until_it_is_resumed(dash, tmp_path, gate) -> None:
    swarm = await _swarm(dash, f"do `read -r _ < {gate.path}`", tmp_path)
    await dash.events(swarm, "agent.progress", 2)
    await dash.call("agent.pause", agent=f"{swarm}-001")
    await dash.events(swarm, "agent.paused")
    gate.let()
    assert len(await dash.events(swarm, "model.call")) == 1
    await dash.call("agent.resume", agent=f"{swarm}-001")
    assert (await dash.ended(swarm))["outcome"] == "complete"
    assert len(await dash.events(swarm, "model.call", 2)) == 2


async def test_a_kill_ends_the_run_and_its_tool_and_spares_the_others(dash, tmp_path, gate) -> None:
    task = f"do `read -r _ < {gate.path}; echo {{item}} > {{item}}`"
    swarm = await _swarm(dash, task, tmp_path, agents=2, items=list("ab"))
    await dash.events(swarm, "agent.progress", 4)
    agent = (await dash.call("task.get", task=f"{swarm}-t1"))["agent"]
    await dash.call("agent.kill", agent=agent)
    await dash.events(swarm, "agent.killed")
    gate.let()
    report = await dash.ended(swarm)
    assert (report["outcome"], (tmp_path / "a").exists(), (tmp_path / "b").exists()) == (
        "partial",
        False,
        True,
    )


async def test_what_is_lost_with_a_gateway_goes_on_in_the_next_one(dash, tmp_path, gate) -> None:
    task = f"do `echo x >> marks; read -r _ < {gate.path}; echo never > never`, then `echo y >> marks`"
    swarm = await _swarm(dash, task, tmp_path)
    await dash.events(swarm, "agent.progress", 2)
    for pid in pids_of(f"{swarm}-g1"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    (down,) = await dash.events(swarm, "gateway.down")
    assert down["data"]["gateway"] == f"{swarm}-g1"
    report = await dash.ended(swarm)
    assert (report["outcome"], report["attempts"]["lost"]) == ("complete", 1), report
    assert (tmp_path / "marks").read_text() == "x\ny\n"  # its model saw that the first had been tried
    assert not (tmp_path / "never").exists()
    assert len(await dash.events(swarm, "gateway.up", 2)) == 2
    assert (
        len((await dash.call("budget.export", swarm=swarm))["rows"]) == 3
    )  # what it took up itself is refused
    assert pids_of(f"{swarm}-g2") == []


async def test_a_task_lost_with_its_gateway_waits_for_the_seat_whose_session_it_is(
    dash, tmp_path, gate
) -> None:
    """Else a task that waits would take the seat, and the lost one would begin afresh in another."""
    tasks = [f"`echo {each} >> {each}; read -r _ < {gate.path}`" for each in "ab"] + ["`echo c >> c`"]
    swarm = await _swarm(dash, "do {item}", tmp_path, agents=2, items=tasks)
    await dash.events(swarm, "agent.progress", 4)
    for pid in pids_of(f"{swarm}-g1"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    report = await dash.ended(swarm)
    assert (report["outcome"], report["attempts"]["lost"]) == ("complete", 2), report
    assert [(tmp_path / each).read_text() for each in "abc"] == ["a\n", "b\n", "c\n"]


async def test_a_gateway_that_begins_anew_by_itself_is_ended(dash, tmp_path) -> None:
    """What it took up by itself is refused at the proxy, and goes with it."""
    swarm = await _swarm(dash, "do `echo x >> marks`. FAKE-AGAIN", tmp_path, limits={"retries": 0})
    (down,) = await dash.events(swarm, "gateway.down")
    assert down["data"]["reason"] == "it began again by itself"
    await dash.call("swarm.destroy", swarm=swarm)
    await dash.ended(swarm)
    assert not (tmp_path / "marks").exists()


@pytest.mark.parametrize(
    "point",
    [
        *("talk.before_commit:1", "talk.after_commit:1", "talk.after_send:1", "talk.after_send:2"),
        *("gateway.before_launch:1", "gateway.after_launch:1", "gateway.after_told:1"),
    ],
)
async def test_dashd_dies_and_no_turn_is_lost_or_given_twice(start_daemon_at, tmp_path, point) -> None:
    daemon = start_daemon_at("--crash-at", point)
    async with open_door(daemon.socket) as dash:
        swarm = await _swarm(dash, "do `echo x >> marks`", tmp_path)
    with trio.fail_after(30):
        assert await trio.to_thread.run_sync(daemon.process.wait) == -9
    daemon.start()
    async with open_door(daemon.socket) as dash:
        report = await dash.ended(swarm)
    assert (report["outcome"], report["attempts"]["total"], report["attempts"]["lost"]) == (
        "complete",
        1,
        0,
    ), report
    assert (tmp_path / "marks").read_text() == "x\n"


async def test_dashd_is_killed_while_a_tool_works_and_nobody_notices(start_daemon_at, tmp_path, gate) -> None:
    daemon = start_daemon_at()
    task = f"do `echo x >> marks; read -r _ < {gate.path}; echo y >> marks`"
    async with open_door(daemon.socket) as dash:
        swarm = await _swarm(dash, task, tmp_path)
        await dash.events(swarm, "agent.progress", 2)
    daemon.kill()
    gate.let()
    daemon.start()
    async with open_door(daemon.socket) as dash:
        report = await dash.ended(swarm)
        assert (report["outcome"], report["attempts"]["total"]) == ("complete", 1), report
        assert (tmp_path / "marks").read_text() == "x\ny\n"
        assert len(await dash.events(swarm, "gateway.up")) == 1


@pytest.fixture
def lame(tmp_path: Path) -> Path:
    """A program that is a gateway once a file is beside it, and until then ends at once."""
    program = tmp_path / "programs" / "lame"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ -e {program}.mended ] || exit 3\nexec {FAKE} "$@"\n')
    program.chmod(0o755)
    return program


async def test_a_gateway_that_does_not_start_costs_no_attempt(start_daemon, tmp_path, lame) -> None:
    daemon = start_daemon(DASH_PROGRAMS_OPENCLAW=str(lame))
    (tmp_path / "w").mkdir()
    async with open_door(daemon.socket) as dash:
        swarm = await _swarm(dash, "do `echo x >> marks`", tmp_path / "w")
        agent = f"{swarm}-001"
        with trio.fail_after(60):
            while "try 1 of 10" not in (why := await dash.call("agent.why", agent=agent))["text"]:  # noqa: ASYNC110
                await trio.sleep(0.05)
        assert (why["waits_for"], "exit code 3" in why["text"]) == ("place", True)
        assert (await dash.call("task.get", task=f"{swarm}-t1"))["state"] == "ready"
        lame.with_suffix(".mended").touch()
        assert (await dash.call("swarm.resume", swarm=swarm))["changed"] is False
        report = await dash.ended(swarm)
        assert (report["outcome"], report["attempts"]["total"]) == ("complete", 1)
        seen = await dash.events(swarm, ["gateway.*", "swarm.completed"], 2)
        assert [event["kind"] for event in seen] == ["gateway.up", "swarm.completed"]
        assert (tmp_path / "w" / "marks").read_text() == "x\n"


async def test_with_all_agents_their_gateway_ends_and_no_other_one_begins(
    start_daemon, tmp_path, gate
) -> None:
    daemon = start_daemon()
    async with open_door(daemon.socket) as dash:
        swarm = await _swarm(dash, f"do `read -r _ < {gate.path}`", tmp_path)
        await dash.events(swarm, "agent.progress", 2)
    assert await trio.to_thread.run_sync(daemon.stop, "stop") == 0
    assert daemon.processes() == []
    assert [launch.name for launch in (daemon.state / "launches").glob(f"{swarm}-g*")] == [f"{swarm}-g1"]


async def test_where_none_is_started_tasks_wait_and_say_what_to_run(start_daemon, tmp_path) -> None:
    daemon = start_daemon(DASH_OPENCLAW_DAEMON_ENABLED="false")
    async with open_door(daemon.socket) as dash:
        swarm = await _swarm(dash, "do `echo x >> marks`", tmp_path)
        why = await dash.call("agent.why", agent=f"{swarm}-001")
        assert (why["waits_for"], "programs.openclaw_autostart" in why["text"]) == ("place", True)
        assert (await dash.call("gateway.list"))["gateways"] == []
        await dash.call("swarm.destroy", swarm=swarm)
        assert (await dash.ended(swarm))["attempts"]["total"] == 0


async def test_what_would_have_to_be_asked_about_is_refused_and_nothing_is_made(dash, tmp_path) -> None:
    async def known() -> list[str]:
        return [each["id"] for each in (await dash.call("swarm.list"))["items"]]

    before = await known()
    with pytest.raises(Refused, match="nobody is asked before an agent acts") as refused:
        await _swarm(dash, "t", tmp_path, deny_commands=["rm *"])
    assert (refused.value.path, "mode: jailed" in refused.value.hint) == ("mode", True)
    assert await known() == before


def pids_of(launch: str) -> list[int]:
    """The processes of a launch, by the environment that each of them was started with."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"DASH_LAUNCH={launch}\0".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found
