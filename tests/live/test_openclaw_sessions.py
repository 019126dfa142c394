"""Conversations of the real OpenClaw: read as trees, and forked at a step into a new seat."""

import json

import pytest

from tests.live.scenes import DONE, Act, Provider, acts, result, scene
from tests.live.test_openclaw import UNTIL_GO, WITHIN_S, run, tool_works

pytestmark = pytest.mark.live

THANKS = Act(text=json.dumps({"summary": "it was seen"}))


@pytest.fixture
def agent_environ(openclaw_environ):
    return openclaw_environ


async def test_forked_at_a_step_it_knows_what_was_said_up_to_there(start_daemon, tmp_path) -> None:
    """And nothing of what came after; what it says then stands in a session of its own, that goes on too."""
    script = acts(run("echo one >> marks"), run("echo two >> marks; seq 999"), DONE, THANKS)
    async with scene(start_daemon(), tmp_path, script, driver="openclaw", within_s=WITHIN_S) as on:
        first = await on.swarm("read all of it")
        assert result(await on.ended(first))["summary"] == "all done"
        tree = await on.dash.call("session.tree", session=f"{first}-001")
        roles = [step["role"] for step in tree["steps"]]
        assert roles == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
        assert "I look." in tree["steps"][1]["text"]
        forked = await on.dash.call(
            "session.fork", session=f"{first}-001", at=tree["steps"][2]["id"], task="say what you saw"
        )
        assert forked["step"] == tree["steps"][2]["id"]
        assert result(await on.ended(forked["swarm"]))["summary"] == "it was seen"
        told = [message for message in on.provider.bodies[-1]["messages"] if message["role"] != "system"]
        assert "read all of it" in str(told)
        assert "echo one" in str(told)
        assert "echo two" not in str(told)
        assert "all done" not in str(told)
        assert "say what you saw" in str(told[-1] if "say what" in str(told[-1]) else told[-2])
        mine = await on.dash.call("session.tree", session=forked["agent"])
        assert [step["id"] for step in mine["steps"][:3]] == [step["id"] for step in tree["steps"][:3]]
        assert [step["role"] for step in mine["steps"][3:]] == ["user", "assistant"]


async def test_while_it_works_it_is_forked_before_the_call_that_is_open(start_daemon, tmp_path) -> None:
    """There nothing stands but its task, which the new one knows too."""

    def script(_number: int) -> Act:
        if "say what you saw" in str(provider.bodies[-1]["messages"]):
            return THANKS
        return DONE if (tmp_path / "go").exists() else run(f"echo one; {UNTIL_GO}")

    provider = Provider(script)
    async with scene(start_daemon(), tmp_path, provider, driver="openclaw", within_s=WITHIN_S) as on:
        swarm = await on.swarm("read all of it")
        await tool_works(on, swarm)
        forked = await on.dash.call("session.fork", session=f"{swarm}-001", task="say what you saw")
        (step,) = (await on.dash.call("session.show", session=f"{swarm}-001", step=forked["step"]))["steps"]
        assert step["role"] == "user"
        await on.dash.events(swarm, "session.closed")
        told = next(str(body) for body in provider.bodies if "say what you saw" in str(body["messages"]))
        assert "read all of it" in told
        assert "echo one" not in told
        (tmp_path / "go").touch()
        await on.ended(swarm)
