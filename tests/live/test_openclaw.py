"""The real OpenClaw behind real walls, on a scripted model behind the real proxy: what it does, how it fails.

Wherever no call is cut, what the ledger charged is what the model's own book says, to the token.
"""

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest
import trio

from dashd.drivers.line_conversation import RESUMED
from tests.fakes.provider import Act
from tests.live.scenes import BUSY, DONE, HASTY, Scene, acts, result, scene
from tests.whole import door

pytestmark = pytest.mark.live

TOOLS = {"read", "write", "edit", "exec", "process", "apply_patch"}
UNTIL_GO = "until [ -e go ]; do sleep 0.1; done"
WITHIN_S = 400.0
"""A turn is ten seconds of one core, and others may work too."""


@pytest.fixture
def agent_environ(openclaw_environ):
    return openclaw_environ


def run(command: str) -> Act:
    """The model calls the tool and waits: after ten seconds OpenClaw would make it a background job."""
    return Act(text="I look.", tool=("exec", {"command": command, "yieldMs": 120_000}))


def on(daemon, folder, *acts_: Act):
    """A scene whose model does these things, the last one for ever."""
    return scene(daemon, folder, acts(*acts_), driver="openclaw", within_s=WITHIN_S)


async def test_text_and_the_result_asked_for_once_more(start_daemon, tmp_path) -> None:
    async with on(start_daemon(), tmp_path, Act(text="It is done."), DONE) as there:
        swarm = await there.swarm()
        report = await there.ended(swarm)
        assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
        await there.balanced(swarm)
        assert there.provider.calls == 2
        told = [message["role"] for message in there.provider.bodies[-1]["messages"]]
        assert told.count("assistant") == 1  # the second turn knows the first
        costs = await there.dash.call("swarm.costs", swarm=swarm)
        assert (costs["calls"], costs["unconfirmed_usd"]) == (2, 0.0)


async def test_a_tool_writes_a_file_in_the_jail(start_daemon, tmp_path) -> None:
    script = run("echo hi > note.txt; cat /etc/shadow; touch /usr/x; ls ~/.ssh; env | grep -c dk_"), DONE
    async with on(start_daemon(), tmp_path, *script) as there:
        swarm = await there.swarm()
        (progress, *_) = await there.dash.events(swarm, "agent.progress", 2)
        assert progress["data"]["note"] == "turn 1"
        report = await there.ended(swarm)
        assert result(report)["files_changed"] == ["note.txt"]
        assert report["attempts"]["total"] == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["note.txt"]
        assert (tmp_path / "note.txt").read_text() == "hi\n"
        told = json.dumps(there.provider.bodies[-1]["messages"])
        assert "Read-only file system" in told
        assert "root:" not in told
        await there.balanced(swarm)
        body = there.provider.bodies[0]
        assert {tool["function"]["name"] for tool in body["tools"]} <= TOOLS
        agent = await there.dash.call("agent.get", agent=f"{swarm}-001")
        assert agent["pause"] == "soft"


async def test_faults_of_the_provider_are_the_proxys_affair(start_daemon, tmp_path) -> None:
    """429 and 500; each start of OpenClaw is ten seconds of a core, so one has both."""
    failing = Act(status=500, bills=False)
    async with on(start_daemon(HASTY), tmp_path, BUSY, run("echo x >> marks"), failing, DONE) as there:
        report = await there.ended(await there.swarm())
        assert result(report)["summary"] == "all done"
        assert (report["attempts"]["total"], there.provider.calls) == (1, 4)
        assert (tmp_path / "marks").read_text() == "x\n"
        told = [message["role"] for message in there.provider.bodies[-1]["messages"]]
        assert (told.count("assistant"), told.count("tool")) == (1, 1)  # OpenClaw saw none of it


async def test_a_model_that_is_down_for_good_fails_the_attempt(start_daemon, tmp_path) -> None:
    async with on(start_daemon(HASTY), tmp_path, Act(status=500, bills=False)) as there:
        (failure,) = (await there.ended(await there.swarm(limits={"retries": 0})))["failures"]
        assert failure["cause"].startswith("no model answered: 5")


async def test_a_broken_stream_goes_on_in_the_same_session(start_daemon, tmp_path) -> None:
    """Hung, cut and stalled, one after the other."""
    broken = Act(stall_at=0), Act(cut_at=400), Act(stall_at=400)
    async with on(start_daemon(HASTY), tmp_path, run("echo x >> marks"), *broken, DONE) as there:
        report = await there.ended(await there.swarm())
        assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
        assert (tmp_path / "marks").read_text() == "x\n"
        told = [message["role"] for message in there.provider.bodies[-1]["messages"]]
        assert told.count("tool") == 1  # the session knows what was done before
        assert there.provider.calls == 5


@pytest.mark.parametrize("broken", [Act(cut_at=400), Act(stall_at=0)], ids=["cut", "hung"])
async def test_after_a_first_call_that_broke_the_task_is_known(start_daemon, tmp_path, broken) -> None:
    async with on(start_daemon(HASTY), tmp_path, broken, DONE) as there:
        swarm = await there.swarm()
        report = await there.ended(swarm)
        assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
        said = [json.dumps(message) for message in there.provider.bodies[-1]["messages"]]
        assert any("Task: " in each for each in said if '"role": "user"' in each)


async def test_a_refused_budget_is_one_call_and_a_clean_end(start_daemon, tmp_path) -> None:
    async with on(start_daemon(), tmp_path, run(UNTIL_GO), DONE) as there:
        swarm = await there.swarm()
        await tool_works(there, swarm)
        given = {"limit_usd": 0.0001, "actions": {"at_100": "notify"}}
        await there.dash.call("budget.set", budget=swarm, **given)
        (tmp_path / "go").touch()
        report = await there.ended(swarm)
        assert report["failures"][0]["cause"] == "its budget did not cover the next call"
        assert (report["attempts"]["total"], there.provider.calls) == (1, 1)
        again = await there.ended(await there.swarm())
        assert result(again)["summary"] == "all done"  # the next one works at once


async def test_dashd_is_killed_while_a_tool_works_and_nobody_notices(start_daemon, tmp_path) -> None:
    daemon = start_daemon()
    script = run(f"echo x >> marks; {UNTIL_GO}; echo y >> marks"), DONE
    async with on(daemon, tmp_path, *script) as there:
        swarm = await there.swarm()
        await tool_works(there, swarm)
        daemon.kill()
        (tmp_path / "go").touch()
        daemon.start()
        async with door.open_door(daemon.socket) as dash:
            there.dash, dash.wait_s = dash, WITHIN_S
            report = await there.ended(swarm)
            assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
            assert (tmp_path / "marks").read_text() == "x\ny\n"
            await there.balanced(swarm)


async def test_dashd_is_killed_in_a_model_call_and_the_session_goes_on(start_daemon, tmp_path) -> None:
    daemon = start_daemon()
    script = run("echo x >> marks"), Act(delay_s=60.0), DONE
    async with on(daemon, tmp_path, *script) as there:
        called = trio.Event()

        async def note() -> None:
            if there.provider.calls == 2:
                called.set()

        there.provider.on_call = note
        swarm = await there.swarm()
        await called.wait()
        daemon.kill()
        daemon.start()
        async with door.open_door(daemon.socket) as dash:
            there.dash, dash.wait_s = dash, WITHIN_S
            report = await there.ended(swarm)
            assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
            assert (tmp_path / "marks").read_text() == "x\n"
            node = (await dash.call("budget.status", budget=swarm))["budget"]
            assert round(node["spent_usd"] * 1e9) >= there.provider.bill_nusd  # the cut call in full
            assert node["unconfirmed_usd"] > 0
            told = [message["role"] for message in there.provider.bodies[-1]["messages"]]
            assert told.count("tool") == 1


async def test_a_kill_in_a_tool_leaves_nothing_running(start_daemon, tmp_path) -> None:
    async with on(start_daemon(), tmp_path, run(f"{UNTIL_GO}; echo y > ended")) as there:
        swarm = await there.swarm()
        await tool_works(there, swarm)
        before = trio.current_time()
        await there.dash.call("agent.kill", agent=f"{swarm}-001")
        await there.dash.events(swarm, "agent.killed")
        assert trio.current_time() - before < 20
        (tmp_path / "go").touch()
        assert pids_of(f"{swarm}-001") == []
        assert not (tmp_path / "ended").exists()
        await there.balanced(swarm)


async def test_a_kill_in_a_call_leaves_nothing_running_and_its_cost_is_shown_apart(
    start_daemon, tmp_path
) -> None:
    async with on(start_daemon(), tmp_path, Act(delay_s=WITHIN_S)) as there:
        called = trio.Event()

        async def note() -> None:
            called.set()

        there.provider.on_call = note
        swarm = await there.swarm()
        await called.wait()
        await there.dash.call("agent.kill", agent=f"{swarm}-001")
        await there.dash.events(swarm, "agent.killed")
        assert pids_of(f"{swarm}-001") == []
        await there.not_below(swarm)
        (cut,) = await there.calls(swarm)
        assert (cut["confirmed"], cut["agent"]) == (False, f"{swarm}-001")


@pytest.mark.parametrize("whole", [False, True], ids=["its process", "all of it"])
async def test_killed_in_a_tool_it_goes_on_in_its_session(start_daemon, tmp_path, whole) -> None:
    async with on(start_daemon(), tmp_path, run(f"echo x >> marks; {UNTIL_GO}"), DONE) as there:
        swarm = await there.swarm()
        await tool_works(there, swarm)
        while not (tmp_path / "marks").exists():  # noqa: ASYNC110  # a file rings no bell
            await trio.sleep(0.02)
        agent = f"{swarm}-001"
        if whole:
            os.kill((await there.dash.call("agent.get", agent=agent))["pid"], signal.SIGKILL)
        else:
            kill_openclaw(agent)
        report = await there.ended(swarm)
        assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 2)
        (failed,) = await there.dash.events(swarm, "task.failed")
        assert whole or failed["data"]["reason"] == "openclaw ended (signal 9) while working"
        assert (tmp_path / "marks").read_text() == "x\n"
        messages = there.provider.bodies[-1]["messages"]
        assert [message["role"] for message in messages].count("tool") == 1  # it sees what it had begun
        assert any(RESUMED in json.dumps(each) for each in messages if each["role"] == "user")
        (session,) = (await there.dash.call("session.list", agent=agent))["items"]
        assert session["id"] == f"{swarm}-t1.1"
        await there.balanced(swarm)


async def test_a_message_is_the_next_turn(start_daemon, tmp_path) -> None:
    async with on(start_daemon(), tmp_path, run(UNTIL_GO), DONE) as there:
        swarm = await there.swarm()
        await tool_works(there, swarm)
        await there.dash.call("agent.message", agent=f"{swarm}-001", text="mind the gap")
        (tmp_path / "go").touch()
        assert result(await there.ended(swarm))["summary"] == "all done"
        assert "mind the gap" in json.dumps(there.provider.bodies[-1]["messages"])
        assert there.provider.calls == 3


async def test_paused_it_calls_no_model_until_it_is_resumed(start_daemon, tmp_path) -> None:
    async with on(start_daemon(), tmp_path, run(f"{UNTIL_GO}; touch went"), DONE) as there:
        swarm = await there.swarm()
        await tool_works(there, swarm)
        await there.dash.call("agent.pause", agent=f"{swarm}-001")
        await there.dash.events(swarm, "agent.paused")
        (tmp_path / "go").touch()
        while not (tmp_path / "went").exists():  # noqa: ASYNC110  # a file rings no bell
            await trio.sleep(0.05)
        await trio.sleep(3.0)  # it calls now, and its call is held
        assert there.provider.calls == 1
        await there.dash.call("agent.resume", agent=f"{swarm}-001")
        assert result(await there.ended(swarm))["summary"] == "all done"
        await there.balanced(swarm)


async def test_gates_are_asked_before_a_tool_works(start_daemon, tmp_path) -> None:
    script = run("echo no > denied"), run("echo yes > allowed"), DONE
    async with on(start_daemon(), tmp_path, *script) as there:
        await there.dash.call("gate.set", name="no", kind="command", pattern="*denied*", verdict="deny")
        await there.dash.call("gate.set", name="maybe", kind="command", pattern="*allowed*", verdict="ask")
        swarm = await there.swarm()
        (asked,) = await there.dash.events(swarm, "approval.requested")
        assert asked["data"]["what"] == "run `echo yes > allowed`"
        assert not (tmp_path / "allowed").exists()
        await there.dash.call("approval.resolve", approvals=[asked["data"]["approval"]], decision="allow")
        assert result(await there.ended(swarm))["summary"] == "all done"
        assert ((tmp_path / "allowed").exists(), (tmp_path / "denied").exists()) == (True, False)
        assert "Dash did not allow this" in json.dumps(there.provider.bodies[-1]["messages"])


async def tool_works(there: Scene, swarm: str) -> None:
    """Until the model's tool runs."""
    since = 0
    while True:
        found = await there.dash.events(swarm, "agent.progress", since=since)
        if any(event["data"]["note"] == "exec" for event in found):
            return
        since = found[-1]["seq"]


def kill_openclaw(agent: str) -> None:
    """Its process, not the runner."""
    found = [
        pid
        for pid in pids_of(agent)
        if b"openclaw" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    ]
    assert found
    for pid in found:
        os.kill(pid, signal.SIGKILL)


def pids_of(agent: str) -> list[int]:
    """The processes of an agent, by the environment that each of them was started with."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"DASH_AGENT={agent}\0".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found
