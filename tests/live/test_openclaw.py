"""The real OpenClaw behind real walls, on a scripted model behind the real proxy: what it does, how it fails.

Wherever no call is cut, what the ledger charged is what the model's own book says, to the token.
"""

import json

import pytest
import trio

from dashd.domain.speech import FormatName
from tests.fakes.provider import Act
from tests.live.scenes import BUSY, DONE, HASTY, Scene, acts, result, scene

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


def on(daemon, folder, *acts_: Act, form: FormatName = "openai-chat"):
    """A scene whose model does these things, the last one for ever."""
    return scene(daemon, folder, acts(*acts_), driver="openclaw", form=form, within_s=WITHIN_S)


async def test_text_a_message_and_the_result_asked_for_once_more(start_daemon, tmp_path) -> None:
    said = Act(text="It is done.")
    async with on(start_daemon(), tmp_path, run(UNTIL_GO), said, said, DONE) as there:
        swarm = await there.swarm()
        await tool_works(there, swarm)
        await there.dash.call("agent.message", agent=f"{swarm}-001", text="mind the gap")
        (tmp_path / "go").touch()
        report = await there.ended(swarm)
        assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
        await there.balanced(swarm)
        assert there.provider.calls == 4
        assert "mind the gap" in json.dumps(there.provider.bodies[2]["messages"])  # the next turn
        there.first_call_is_as_said()
        told = [message["role"] for message in there.provider.bodies[-1]["messages"]]
        assert told.count("assistant") == 3  # a turn knows those before it
        costs = await there.dash.call("swarm.costs", swarm=swarm)
        assert (costs["calls"], costs["unconfirmed_usd"]) == (4, 0.0)


async def test_a_tool_writes_a_file_in_the_jail_whatever_the_provider_says(start_daemon, tmp_path) -> None:
    """429 and 500 are the proxy's affair; each start of OpenClaw is ten seconds of a core, so one has all."""
    failing = Act(status=500, bills=False)
    wrong = run("echo x >> note.txt; cat /etc/shadow; touch /usr/x; ls ~/.ssh; env | grep -c dk_")
    async with on(start_daemon(HASTY), tmp_path, BUSY, wrong, failing, DONE) as there:
        swarm = await there.swarm()
        (progress, *_) = await there.dash.events(swarm, "agent.progress", 2)
        assert progress["data"]["note"] == "turn 1"
        report = await there.ended(swarm)
        assert result(report)["files_changed"] == ["note.txt"]
        assert (report["attempts"]["total"], there.provider.calls) == (1, 4)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["note.txt"]
        assert (tmp_path / "note.txt").read_text() == "x\n"
        messages = there.provider.bodies[-1]["messages"]
        told = [message["role"] for message in messages]
        assert (told.count("assistant"), told.count("tool")) == (1, 1)  # OpenClaw saw no fault
        assert "Read-only file system" in json.dumps(messages)
        assert "root:" not in json.dumps(messages)
        await there.not_below(swarm)
        body = there.provider.bodies[0]
        assert {tool["function"]["name"] for tool in body["tools"]} <= TOOLS
        agent = await there.dash.call("agent.get", agent=f"{swarm}-001")
        assert agent["pause"] == "soft"


async def test_a_model_that_is_down_for_good_fails_the_attempt(start_daemon, tmp_path) -> None:
    async with on(start_daemon(HASTY), tmp_path, Act(status=500, bills=False)) as there:
        (failure,) = (await there.ended(await there.swarm(limits={"retries": 0})))["failures"]
        assert failure["cause"].startswith("no model answered: 5")


@pytest.mark.parametrize("form", ["openai-chat", "anthropic"])
async def test_a_broken_stream_goes_on_in_the_same_session(start_daemon, tmp_path, form) -> None:
    """Cut in its first call, then hung, and stalled."""
    first, *later = Act(cut_at=400), Act(stall_at=0), Act(stall_at=400)
    script = first, run("echo x >> marks"), *later, DONE
    async with on(start_daemon(HASTY), tmp_path, *script, form=form) as there:
        report = await there.ended(await there.swarm())
        assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
        assert (tmp_path / "marks").read_text() == "x\n"
        said = [json.dumps(message) for message in there.provider.bodies[1]["messages"]]
        assert any("Task: " in each for each in said if '"role": "user"' in each)
        told = json.dumps(there.provider.bodies[-1]["messages"])
        result_of_tool = '"role": "tool"' if form == "openai-chat" else '"type": "tool_result"'
        assert told.count(result_of_tool) == 1  # the session knows what was done before
        assert there.provider.calls == 5


async def test_gates_are_asked_before_a_tool_works_and_a_pause_holds_its_call(start_daemon, tmp_path) -> None:
    held = run(f"{UNTIL_GO}; touch went")
    script = run("echo no > denied"), run("echo yes > allowed"), held, DONE
    async with on(start_daemon(), tmp_path, *script) as there:
        await there.dash.call("gate.set", name="no", kind="command", pattern="*denied*", verdict="deny")
        await there.dash.call("gate.set", name="maybe", kind="command", pattern="*allowed*", verdict="ask")
        swarm = await there.swarm()
        (asked,) = await there.dash.events(swarm, "approval.requested")
        assert asked["data"]["what"] == "run `echo yes > allowed`"
        assert not (tmp_path / "allowed").exists()
        await there.dash.call("approval.resolve", approvals=[asked["data"]["approval"]], decision="allow")
        while there.provider.calls < 3:  # noqa: ASYNC110  # its next step
            await trio.sleep(0.05)
        await there.dash.call("agent.pause", agent=f"{swarm}-001")
        await there.dash.events(swarm, "agent.paused")
        (tmp_path / "go").touch()
        while not (tmp_path / "went").exists():  # noqa: ASYNC110  # a file rings no bell
            await trio.sleep(0.05)
        await trio.sleep(3.0)  # it calls now, and its call is held
        assert there.provider.calls == 3
        await there.dash.call("agent.resume", agent=f"{swarm}-001")
        assert result(await there.ended(swarm))["summary"] == "all done"
        assert ((tmp_path / "allowed").exists(), (tmp_path / "denied").exists()) == (True, False)
        assert "Dash did not allow this" in json.dumps(there.provider.bodies[-1]["messages"])
        await there.balanced(swarm)


async def tool_works(there: Scene, swarm: str) -> None:
    """Until the model's tool runs."""
    since = 0
    while True:
        found = await there.dash.events(swarm, "agent.progress", since=since)
        if any(event["data"]["note"] == "exec" for event in found):
            return
        since = found[-1]["seq"]
