"""The real OpenClaw behind real walls: its money ends, it is killed, and the dashd above it is.

Wherever no call is cut, what the ledger charged is what the model's own book says, to the token.
"""

import json
import os
import signal

import pytest
import trio

from dashd.drivers.line_conversation import RESUMED
from tests.fakes.provider import Act
from tests.live.scenes import DONE, pids_of, result
from tests.live.test_openclaw import UNTIL_GO, WITHIN_S, on, run, tool_works
from tests.whole import door

pytestmark = pytest.mark.live


@pytest.fixture
def agent_environ(openclaw_environ):
    return openclaw_environ


@pytest.mark.parametrize("form", ["openai-chat", "anthropic"])
async def test_a_refused_budget_is_one_call_and_a_clean_end(start_daemon, tmp_path, form) -> None:
    async with on(start_daemon(), tmp_path, run(f"echo hi > note.txt; {UNTIL_GO}"), DONE, form=form) as there:
        swarm = await there.swarm()
        await tool_works(there, swarm)
        given = {"limit_usd": 0.0001, "actions": {"at_100": "notify"}}
        await there.dash.call("budget.set", budget=swarm, **given)
        (tmp_path / "go").touch()
        report = await there.ended(swarm)
        assert report["failures"][0]["cause"] == "its budget did not cover the next call"
        assert (report["attempts"]["total"], there.provider.calls) == (1, 1)
        there.first_call_is_as_said()
        assert (tmp_path / "note.txt").read_text() == "hi\n"
        await there.balanced(swarm)
        again = await there.ended(await there.swarm())
        assert result(again)["summary"] == "all done"  # the next one works at once
        assert all(("system" in body) == (form == "anthropic") for body in there.provider.bodies)


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


async def test_killed_in_a_tool_it_goes_on_in_its_session(start_daemon, tmp_path) -> None:
    """All of it: its program alone is killed in test_torture."""
    async with on(start_daemon(), tmp_path, run(f"echo x >> marks; {UNTIL_GO}"), DONE) as there:
        swarm = await there.swarm()
        await tool_works(there, swarm)
        while not (tmp_path / "marks").exists():  # noqa: ASYNC110  # a file rings no bell
            await trio.sleep(0.02)
        agent = f"{swarm}-001"
        os.kill((await there.dash.call("agent.get", agent=agent))["pid"], signal.SIGKILL)
        report = await there.ended(swarm)
        assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 2)
        assert len(await there.dash.events(swarm, "task.failed")) == 1
        assert (tmp_path / "marks").read_text() == "x\n"
        messages = there.provider.bodies[-1]["messages"]
        assert [message["role"] for message in messages].count("tool") == 1  # it sees what it had begun
        assert any(RESUMED in json.dumps(each) for each in messages if each["role"] == "user")
        (session,) = (await there.dash.call("session.list", agent=agent))["items"]
        assert session["id"] == f"{swarm}-t1.1"
        await there.balanced(swarm)
