"""The real OpenClaw in gateway mode: one process behind real walls for all agents of a swarm, on a scripted
model behind the real proxy.

Wherever no call is cut, what the ledger charged is what the model's own book says, to the token.
"""

import contextlib
import json
import os
import signal
import sqlite3

import pytest
import trio

from dashd.domain.speech import FormatName
from dashd.drivers import openclaw_gateway
from dashd.drivers.openclaw_conversation import RESUMED
from dashd.jail import holder_link
from tests.fakes import gateway_contract
from tests.fakes.provider import Act
from tests.live import scenes
from tests.live.scenes import DONE, Scene, acts, result, scene
from tests.live.stepping import item_of
from tests.live.test_openclaw import UNTIL_GO, run, tool_works
from tests.whole import door

pytestmark = pytest.mark.live

WITHIN_S = 500.0
"""A gateway is fifteen seconds of one core until it is ready, and others may work too."""


@pytest.fixture
def agent_environ(openclaw_environ):
    return openclaw_environ


def on(daemon, folder, *acts_: Act, form: FormatName = "openai-chat"):
    """A scene whose model does these things, the last one for ever."""
    return scene(daemon, folder, acts(*acts_), driver="openclaw", form=form, within_s=WITHIN_S)


async def test_a_tool_writes_a_file_while_dashd_is_killed_and_nobody_notices(start_daemon, tmp_path) -> None:
    """Before that the gateway keeps the contract of the stand-in that other tests have."""
    daemon = start_daemon()
    wrong = f"cat /etc/shadow; touch /usr/x; {UNTIL_GO}"
    script = run(f"echo hi > note.txt; {wrong}; echo ho >> note.txt"), Act(text="It is done."), DONE
    async with on(daemon, tmp_path, *script) as there:
        swarm = await there.swarm(mode="gateway")
        await tool_works(there, swarm)
        await keeps_the_contract(there, swarm)
        daemon.kill()
        (tmp_path / "go").touch()
        daemon.start()
        async with door.open_door(daemon.socket) as dash:
            there.dash, dash.wait_s = dash, WITHIN_S
            report = await there.ended(swarm)
            assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
            assert (tmp_path / "note.txt").read_text() == "hi\nho\n"
            told = json.dumps(there.provider.bodies[-1]["messages"])
            assert "Read-only file system" in told
            assert "root:" not in told
            await there.balanced(swarm)
            agent = await dash.call("agent.get", agent=f"{swarm}-001")
            assert (agent["mode"], agent["identity"], agent["pause"]) == ("gateway", "key", "soft")
            assert agent["grade"] in ("A", "B")
            (up,) = await dash.events(swarm, "gateway.up")
            assert up["data"]["version"] == "2026.9.6"
            assert pids_of(f"{swarm}-g1") == []


async def test_it_is_killed_in_a_tool_and_the_session_goes_on_in_the_next_one(start_daemon, tmp_path) -> None:
    async with on(start_daemon(), tmp_path, run(f"echo x >> marks; {UNTIL_GO}"), DONE) as there:
        swarm = await there.swarm(mode="gateway")
        while not (tmp_path / "marks").exists():  # noqa: ASYNC110  # a file rings no bell
            await trio.sleep(0.05)
        for pid in pids_of(f"{swarm}-g1"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        report = await there.ended(swarm)
        assert result(report)["summary"] == "all done"
        assert (report["attempts"]["total"], report["attempts"]["lost"]) == (2, 1)
        (down,) = await there.dash.events(swarm, "gateway.down")
        assert down["data"]["gateway"] == f"{swarm}-g1"
        assert (tmp_path / "marks").read_text() == "x\n"  # nothing was taken up again by itself
        assert there.provider.calls == 2
        seen = there.provider.bodies[-1]["messages"]
        assert [each["function"]["name"] for said in seen for each in said.get("tool_calls") or ()] == [
            "exec"
        ]
        assert "echo x >> marks" in json.dumps(seen)
        assert RESUMED in json.dumps(seen)
        await there.balanced(swarm)
        assert [*pids_of(f"{swarm}-g1"), *pids_of(f"{swarm}-g2")] == []


async def test_anthropics_format_a_budget_that_ends_and_another_agent_that_goes_on(
    start_daemon, tmp_path
) -> None:
    first, other = (run(f"echo hi >> {name}.txt; {UNTIL_GO.replace('go', name)}") for name in ("one", "two"))
    async with on(start_daemon(), tmp_path, first, other, DONE, form="anthropic") as there:
        for name, form in (("other", "anthropic"), ("chatty", "openai-chat")):
            given = {"name": name, "format": form, "url": there.provider.url, "models": [name]}
            await there.dash.call("provider.add", **given)
            await there.dash.call("model.set", model=name, input_usd_per_mtok=1.0, output_usd_per_mtok=4.0)
        swarm = await there.swarm("step {item}", mode="gateway", agents=2, items=["i1", "i2"])
        while not all((tmp_path / f"{name}.txt").exists() for name in ("one", "two")):  # noqa: ASYNC110
            await trio.sleep(0.05)
        item = item_of(there.provider.bodies[0])
        tasks = (await there.dash.call("task.list", swarm=swarm))["items"]
        poor = next(each["agent"] for each in tasks if each["item"] == item)
        rich = next(each["agent"] for each in tasks if each["item"] != item)
        with pytest.raises(door.Refused, match="its gateway speaks anthropic, and 'chatty' is served in the"):
            await there.dash.call("agent.set_model", agent=rich, model="chatty")
        await there.dash.call("agent.set_model", agent=rich, model="other")
        await there.dash.call("budget.set", budget=poor, limit_usd=0.0001, actions={"at_100": "notify"})
        (tmp_path / "one").touch()
        (failed,) = await there.dash.events(swarm, "task.failed")
        assert (failed["agent"], there.provider.calls) == (poor, 2)
        (tmp_path / "two").touch()
        report = await there.ended_with(swarm, "partial")
        assert report["failures"][0]["cause"] == "its budget did not cover the next call"
        assert (report["attempts"]["total"], there.provider.calls) == (2, 3)
        assert [body["model"] for body in there.provider.bodies] == [scenes.MODEL, scenes.MODEL, "other"]
        assert all("system" in body for body in there.provider.bodies)  # which is Anthropic's
        await there.balanced(swarm)


async def keeps_the_contract(there: Scene, swarm: str) -> None:
    """While an agent of it works."""
    launch = f"{swarm}-g1"
    with contextlib.closing(sqlite3.connect(there.daemon.state / "dash.db")) as db:
        ((token,),) = db.execute("SELECT token FROM gateway WHERE launch_id = ?", (launch,))

    async def dial() -> trio.SocketStream:
        sock = await holder_link.dial(there.daemon.state / "launches" / launch, openclaw_gateway.PORT)
        sock.setblocking(False)
        return trio.SocketStream(trio.socket.from_stdlib_socket(sock))

    await gateway_contract.check(dial, token, f"{swarm}-001")


def pids_of(launch: str) -> list[int]:
    return scenes.pids_of(launch, "DASH_LAUNCH")
