"""Conversations of the real Pi: read as trees, forked at a step, and gone on with from a copy."""

import json

import pytest
import trio

from dashd.drivers.line_conversation import RESUMED
from dashd.drivers.pi_conversation import COMPACTED
from tests.live.scenes import DONE, Act, Provider, acts, end_node, result, scene
from tests.live.test_pi import bash
from tests.whole.door import Refused

pytestmark = pytest.mark.live


def _roles(body: dict) -> list[str]:
    return [message["role"] for message in body["messages"]]


async def test_a_swarm_begins_with_what_another_agent_knew_up_to_a_step(start_daemon, tmp_path) -> None:
    script = acts(bash("echo one >> marks"), DONE, bash("echo two >> marks"), DONE)
    async with scene(start_daemon(), tmp_path, script) as on:
        first = await on.swarm("read all of it")
        assert result(await on.ended(first))["summary"] == "all done"
        tree = await on.dash.call("session.tree", session=f"{first}-001")
        assert [step["role"] for step in tree["steps"]] == ["user", "assistant", "tool", "assistant"]
        assert "I look." in tree["steps"][1]["text"]
        kept = await on.dash.call("session.checkpoint", session=f"{first}-001", at=tree["steps"][2]["id"])
        await on.dash.call("swarm.destroy", swarm=first)
        second = await on.swarm("now the other", begin_from=kept["id"])
        assert result(await on.ended(second))["summary"] == "all done"
        asked = on.provider.bodies[2]
        assert _roles(asked) == ["system", "user", "assistant", "tool", "user"]
        texts = [str(message["content"]) for message in asked["messages"]]
        assert "read all of it" in texts[1]
        assert "now the other" in texts[-1]
        assert (tmp_path / "marks").read_text() == "one\ntwo\n"
        mine = await on.dash.call("session.get", session=f"{second}-001")
        assert (mine["begun_from"], mine["state"]) == (kept["id"], "closed")


async def test_a_fork_works_beside_the_one_that_it_was_copied_from(start_daemon, tmp_path) -> None:
    script = acts(
        bash("echo one >> marks"), DONE, bash("touch there; until [ -e go ]; do sleep 0.05; done"), DONE
    )
    async with scene(start_daemon(), tmp_path, script) as on:
        swarm = await on.swarm("read all of it")
        (closed, *_) = await on.dash.events(swarm, "session.closed")
        await on.ended(swarm)
        # The swarm of one is over: its conversation goes on in another that waits.
        other = await on.swarm("wait")
        await on.dash.events(other, "agent.progress")
        forked = await on.dash.call(
            "session.fork", session=closed["data"]["session"], swarm=other, task="say what you saw"
        )
        await on.dash.events(other, "session.closed")
        (tmp_path / "go").touch()
        assert (await on.ended(other))["outcome"] == "complete"
        mine = await on.dash.call("session.get", session=forked["agent"])
        assert mine["begun_from"] == forked["checkpoint"]
        bodies = [body for body in on.provider.bodies if "say what you saw" in str(body["messages"])]
        assert _roles(bodies[0]) == ["system", "user", "assistant", "tool", "assistant", "user"]


READ_MAX = 7
"""Of the model's context there is no room for more."""


class Summing(Provider):
    """Reads long files, is asked for a summary, and knows afterwards what that said."""

    def __init__(self, *, waits: bool = True) -> None:
        super().__init__(self._act)
        self._waits = waits

    def _act(self, _number: int) -> Act:
        body = self.bodies[-1]
        texts = str(body["messages"])
        if COMPACTED in texts:
            return DONE
        if "Your item: b" in texts:
            return bash("until [ -e go ]; do sleep 0.05; done")
        if "tools" not in body:
            return Act(text="Three files were read.")
        read = _roles(body).count("tool")
        if read == 3 and not self._waits:
            return DONE
        if read == READ_MAX:
            return Act(text="It is never heard.")
        # Asked for right at the end of a turn, and broken off for the summary as soon as Pi is told of that.
        wait = "; touch there; until [ -e go ]; do sleep 0.05; done" if read == 2 and self._waits else ""
        wait += "; sleep 2" if read > 2 else ""
        return bash(f"seq -f %024.0f 1 1900{wait}")  # 12,000 tokens; Pi keeps the last 20,000


async def test_what_was_said_is_summed_up_between_two_turns(start_daemon, tmp_path) -> None:
    async with scene(start_daemon(), tmp_path, Summing()) as on:
        swarm = await on.swarm("read all of it")
        while not (tmp_path / "there").exists():  # noqa: ASYNC110  # a file rings no bell
            await trio.sleep(0.05)
        assert (await on.dash.call("session.compact", session=f"{swarm}-001", keep="the names"))["changed"]
        (tmp_path / "go").touch()
        report = await on.ended(swarm)
        assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
        last = on.provider.bodies[-1]
        assert "Three files were read." in str(last["messages"])
        assert _roles(last).count("tool") < 3
        asked = next(body for body in on.provider.bodies if "tools" not in body)
        assert "the names" in str(asked["messages"])
        tree = await on.dash.call("session.tree", session=f"{swarm}-001")
        assert "summary" in [step["role"] for step in tree["steps"]]
        await on.not_below(swarm)


async def test_of_one_that_rests_a_copy_is_summed_up_and_gone_on_with(start_daemon, tmp_path) -> None:
    async with scene(start_daemon(), tmp_path, Summing(waits=False)) as on:
        keeps_open = await on.swarm("read", agents=1, items=["a", "b"])
        (closed, *_) = await on.dash.events(keeps_open, "session.closed")
        copied = await on.dash.call("session.compact", session=closed["data"]["session"])
        while (found := await on.dash.call("task.get", task=copied["task"]))["state"] != "completed":
            assert found["state"] not in ("failed", "dead"), found
            await trio.sleep(0.05)
        assert "summed up: " in json.loads(found["result"])["summary"]
        tree = await on.dash.call("session.tree", session=copied["agent"])
        assert tree["steps"][-1]["role"] == "summary"
        assert "Three files were read." in tree["steps"][-1]["text"]


async def test_killed_in_a_tool_it_is_forked_with_what_came_after(start_daemon, tmp_path) -> None:
    def script(number: int) -> Act:
        said = str(provider.bodies[-1]["messages"])
        if "what do you know" in said:
            return DONE
        if "Your item: b" in said:
            return DONE if (tmp_path / "go").exists() else bash("until [ -e go ]; do sleep 0.05; done")
        steps.append(number)
        return [bash("echo one >> marks; sleep 60"), bash("echo two >> more"), DONE][min(len(steps), 3) - 1]

    steps: list[int] = []
    provider = Provider(script)
    async with scene(start_daemon(), tmp_path, provider) as on:
        swarm = await on.swarm("do it", agents=2, items=["a", "b"], limits={"retries": 3})
        agent = f"{swarm}-001"
        await _there(tmp_path / "marks")
        end_node(agent)
        (closed, *_) = await on.dash.events(swarm, "session.closed")
        tree = await on.dash.call("session.tree", session=agent)
        assert closed["agent"] == agent
        assert len(tree["steps"]) > 4
        forked = await on.dash.call("session.fork", session=agent, task="what do you know?")
        assert forked["step"] == tree["leaf"]
        await on.dash.events(swarm, "session.closed", count=2)
        (asked, *_) = [body for body in provider.bodies if "what do you know" in str(body["messages"])]
        assert "two >> more" in str(asked["messages"])
        (tmp_path / "go").touch()
        await on.ended(swarm)


async def test_migrated_the_old_one_ends_before_the_new_one_begins(start_daemon, tmp_path) -> None:
    def script(number: int) -> Act:
        messages = provider.bodies[-1]["messages"]
        if "Your item: w" in str(messages):
            return DONE if (tmp_path / "go").exists() else bash("until [ -e go ]; do sleep 0.05; done")
        if any(message["role"] == "assistant" for message in messages):
            return DONE
        return bash("echo one >> marks; sleep 60")

    provider = Provider(script)
    async with scene(start_daemon(), tmp_path, provider) as on:
        other = await on.swarm("wait", items=["w"])
        swarm = await on.swarm("do it")
        await _there(tmp_path / "marks")
        moved = await on.dash.call("session.migrate", session=f"{swarm}-001", swarm=other)
        assert (await on.dash.call("agent.get", agent=f"{swarm}-001"))["state"] == "killed"
        await on.dash.events(other, "session.closed")
        (tmp_path / "go").touch()
        assert (await on.ended(other))["outcome"] == "complete"
        assert (tmp_path / "marks").read_text() == "one\n"
        (asked, *_) = [body for body in provider.bodies if RESUMED[:40] in str(body["messages"])]
        assert "echo one >> marks" in str(asked["messages"]), "it knows of the call that was open"
        with pytest.raises(Refused, match="was migrated"):
            await on.dash.call("session.migrate", session=f"{swarm}-001", swarm=other)
        assert moved["checkpoint"]


async def _there(path) -> None:
    with trio.fail_after(60):
        while not path.exists():  # noqa: ASYNC110  # a file rings no bell
            await trio.sleep(0.05)
