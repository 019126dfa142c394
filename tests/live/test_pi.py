"""The real Pi behind real walls, on a scripted model behind the real proxy: what it does, and how it fails.

Wherever no call is cut, what the ledger charged is what the model's own book says, to the token.
"""

import contextlib
import json
from pathlib import Path

import pytest
import trio

from dashd import client_blocking
from dashd.drivers.pi_conversation import RESUMED
from tests.fakes import pi as fake_pi
from tests.fakes.provider import MODEL, Act
from tests.live.scenes import BUSY, DONE, HASTY, acts, end_node, pids_of, result, scene
from tests.whole import door
from tests.workspace.world import World

pytestmark = pytest.mark.live


def bash(command: str) -> Act:
    """The model calls the tool."""
    return Act(text="I look.", tool=("bash", {"command": command}))


async def test_text_and_the_result_asked_for_once_more(start_daemon, tmp_path) -> None:
    async with scene(start_daemon(), tmp_path, acts(Act(text="It is done."), DONE)) as on:
        swarm = await on.swarm()
        assert result(await on.ended(swarm))["summary"] == "all done"
        await on.balanced(swarm)
        on.first_call_is_as_said()
        assert on.provider.calls == 2
        costs = await on.dash.call("swarm.costs", swarm=swarm)
        assert (costs["calls"], costs["unconfirmed_usd"]) == (2, 0.0)


async def test_a_tool_writes_a_file_in_the_jail(start_daemon, tmp_path) -> None:
    script = acts(bash("echo hi > note.txt; cat /etc/shadow; touch /usr/x; ls ~/.ssh"), DONE)
    async with scene(start_daemon(), tmp_path, script) as on:
        swarm = await on.swarm()
        assert result(await on.ended(swarm))["files_changed"] == ["note.txt"]
        assert (tmp_path / "note.txt").read_text() == "hi\n"
        told = json.dumps(on.provider.bodies[-1]["messages"])
        assert "Read-only file system" in told
        assert "root:" not in told
        await on.balanced(swarm)
        agent = await on.dash.call("agent.get", agent=f"{swarm}-001")
        assert agent["pause"] == "soft"


async def test_on_a_repository_it_works_in_a_workspace(start_daemon, tmp_path) -> None:
    world = World(tmp_path.resolve())
    world.make_repo()
    script = acts(bash("pwd; echo hi > note.txt; git add note.txt; git commit -qm mine; echo x > more"), DONE)
    async with scene(start_daemon(), tmp_path, script) as on:
        swarm = await on.swarm(repo=str(world.repo), cwd=str(world.repo / "src"), scope=["src"])
        report = await on.ended(swarm)
        assert result(report)["summary"] == "all done"
        (files,) = report["files"]
        assert [each["path"] for each in files["files"]] == ["src/more", "src/note.txt"]
        assert world.git("log", "-2", "--format=%an/%s", files["branch"]).split("\n")[1].endswith("/mine")
        assert world.git("status", "--porcelain") == ""
        (tree,) = (await on.dash.call("worktree.list", swarm=swarm))["items"]
        told = json.dumps(on.provider.bodies[-1]["messages"])
        assert f"Folder: {tree['path']}/src\\n" in told
        assert f"You can write only in: {tree['path']}/src\\n" in told
        assert str(world.repo) not in told
        await on.balanced(swarm)


@pytest.mark.parametrize("fault", [BUSY, Act(status=500, bills=False)], ids=["429", "500"])
async def test_faults_of_the_provider_are_the_proxys_affair(start_daemon, tmp_path, fault) -> None:
    async with scene(start_daemon(HASTY), tmp_path, acts(fault, DONE)) as on:
        swarm = await on.swarm()
        report = await on.ended(swarm)
        assert result(report)["summary"] == "all done"
        assert (report["attempts"]["total"], on.provider.calls) == (1, 2)


async def test_a_model_that_is_down_for_good_fails_the_attempt(start_daemon, tmp_path) -> None:
    async with scene(start_daemon(HASTY), tmp_path, acts(Act(status=500, bills=False))) as on:
        swarm = await on.swarm(limits={"retries": 0})
        (failure,) = (await on.ended(swarm))["failures"]
        assert failure["cause"].startswith("no model answered: 5")


@pytest.mark.parametrize(
    "broken", [Act(cut_at=400), Act(stall_at=400), Act(stall_at=0)], ids=["cut", "stalled", "hung"]
)
async def test_a_broken_stream_goes_on_in_the_same_session(start_daemon, tmp_path, broken) -> None:
    script = acts(bash("echo x >> marks"), broken, DONE)
    async with scene(start_daemon(HASTY), tmp_path, script) as on:
        swarm = await on.swarm()
        report = await on.ended(swarm)
        assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
        assert (tmp_path / "marks").read_text() == "x\n"
        assert on.provider.calls == 3
        told = [message["role"] for message in on.provider.bodies[-1]["messages"]]
        assert told.count("tool") == 1  # the session knows what was done before


@pytest.mark.parametrize("form", ["openai-chat", "anthropic"])
async def test_a_refused_budget_is_one_call_and_a_clean_end(start_daemon, tmp_path, form) -> None:
    async with scene(start_daemon(), tmp_path, acts(bash("sleep 0.5"), DONE), form=form) as on:
        swarm = await on.swarm()
        await on.dash.events(swarm, "agent.progress")
        given = {"limit_usd": 0.0001, "actions": {"at_100": "notify"}}
        await on.dash.call("budget.set", budget=swarm, **given)
        report = await on.ended(swarm)
        assert report["failures"][0]["cause"] == "its budget did not cover the next call"
        assert (report["attempts"]["total"], on.provider.calls) == (1, 1)
        assert result(await on.ended(await on.swarm()))["summary"] == "all done"  # the next one works at once


async def test_dashd_is_killed_while_a_tool_works_and_nobody_notices(start_daemon, tmp_path) -> None:
    daemon = start_daemon()
    script = acts(bash("echo x >> marks; sleep 3; echo y >> marks"), DONE)
    async with scene(daemon, tmp_path, script) as on:
        swarm = await on.swarm()
        await on.dash.events(swarm, "agent.progress")
        daemon.kill()
        daemon.start()
        async with door.open_door(daemon.socket) as dash:
            on.dash = dash
            report = await on.ended(swarm)
            assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
            assert (tmp_path / "marks").read_text() == "x\ny\n"
            await on.balanced(swarm)


async def test_dashd_is_killed_in_a_model_call_and_the_session_goes_on(start_daemon, tmp_path) -> None:
    daemon = start_daemon()
    script = acts(bash("echo x >> marks"), Act(delay_s=30.0), DONE)
    async with scene(daemon, tmp_path, script) as on:
        called = trio.Event()

        async def note() -> None:
            if on.provider.calls == 2:
                called.set()

        on.provider.on_call = note
        swarm = await on.swarm()
        await called.wait()
        daemon.kill()
        daemon.start()
        async with door.open_door(daemon.socket) as dash:
            on.dash = dash
            report = await on.ended(swarm)
            assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
            assert (tmp_path / "marks").read_text() == "x\n"
            node = (await dash.call("budget.status", budget=swarm))["budget"]
            assert round(node["spent_usd"] * 1e9) >= on.provider.bill_nusd  # the cut call in full
            assert node["unconfirmed_usd"] > 0
            told = [message["role"] for message in on.provider.bodies[-1]["messages"]]
            assert told.count("tool") == 1


async def test_a_kill_in_a_tool_leaves_nothing_running(start_daemon, tmp_path) -> None:
    script = acts(bash("echo x > begun; sleep 5; echo y > ended"))
    async with scene(start_daemon(), tmp_path, script) as on:
        swarm = await on.swarm()
        await on.dash.events(swarm, "agent.progress")
        before = trio.current_time()
        await on.dash.call("agent.kill", agent=f"{swarm}-001")
        await on.dash.events(swarm, "agent.killed")
        assert trio.current_time() - before < 4
        assert not (tmp_path / "ended").exists()
        logs = (await on.dash.call("agent.logs", agent=f"{swarm}-001", bytes_max=60_000))["text"]
        assert '"command":"clear_queue"' in logs  # an orderly end, by its own protocol
        await on.balanced(swarm)


async def test_killed_in_a_tool_it_goes_on_in_the_same_session(start_daemon, tmp_path) -> None:
    """What the tool has done is done once: the next attempt knows of the call and does not begin again."""
    script = acts(bash("echo x >> marks; sleep 60"), bash("cat marks"), DONE)
    async with scene(start_daemon(), tmp_path, script) as on:
        swarm = await on.swarm()
        await on.dash.events(swarm, "agent.progress")
        while not (tmp_path / "marks").exists():  # noqa: ASYNC110  # a file rings no bell
            await trio.sleep(0.05)
        end_node(f"{swarm}-001")
        report = await on.ended(swarm)
        assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 2)
        (failed,) = await on.dash.events(swarm, "task.failed")
        assert failed["data"]["reason"] == "pi ended (signal 9) while working"
        assert (tmp_path / "marks").read_text() == "x\n"
        assert pids_of(f"{swarm}-001") == []
        told = [message["role"] for message in on.provider.bodies[1]["messages"]]
        assert told == ["system", "user", "assistant", "tool", "user"]
        assert "No result provided" in json.dumps(on.provider.bodies[1]["messages"])
        assert RESUMED in json.dumps(on.provider.bodies[1]["messages"])
        await on.balanced(swarm)


async def test_killed_in_a_model_call_it_goes_on_in_the_same_session(start_daemon, tmp_path) -> None:
    script = acts(bash("echo x >> marks"), Act(delay_s=60.0), DONE)
    async with scene(start_daemon(), tmp_path, script) as on:
        called = trio.Event()

        async def note() -> None:
            if on.provider.calls == 2:
                called.set()

        on.provider.on_call = note
        swarm = await on.swarm()
        await called.wait()
        end_node(f"{swarm}-001")
        report = await on.ended(swarm)
        assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 2)
        assert (tmp_path / "marks").read_text() == "x\n"
        told = [message["role"] for message in on.provider.bodies[-1]["messages"]]
        assert told == ["system", "user", "assistant", "tool", "user"]
        await on.not_below(swarm)


async def test_a_message_reaches_the_model(start_daemon, tmp_path) -> None:
    async with scene(start_daemon(), tmp_path, acts(bash("sleep 1"), DONE)) as on:
        swarm = await on.swarm()
        await on.dash.events(swarm, "agent.progress")
        await on.dash.call("agent.message", agent=f"{swarm}-001", text="mind the gap")
        assert result(await on.ended(swarm))["summary"] == "all done"
        assert "mind the gap" in json.dumps(on.provider.bodies[-1]["messages"])


async def test_a_message_for_later_is_heard_after_its_work(start_daemon, tmp_path) -> None:
    async with scene(start_daemon(), tmp_path, acts(bash("sleep 1"), DONE)) as on:
        swarm = await on.swarm()
        await on.dash.events(swarm, "agent.progress")
        await on.dash.call("agent.message", agent=f"{swarm}-001", text="mind the gap", when="after")
        assert result(await on.ended(swarm))["summary"] == "all done"
        assert "mind the gap" not in json.dumps(on.provider.bodies[1]["messages"])
        assert "mind the gap" in json.dumps(on.provider.bodies[2]["messages"])
        await on.balanced(swarm)


async def test_a_message_for_now_breaks_off_a_tool_that_works(start_daemon, tmp_path) -> None:
    async with scene(start_daemon(), tmp_path, acts(bash("touch begun; sleep 60; touch ended"), DONE)) as on:
        swarm = await on.swarm()
        while not (tmp_path / "begun").exists():  # noqa: ASYNC110  # a file rings no bell
            await trio.sleep(0.05)
        await on.dash.call("agent.message", agent=f"{swarm}-001", text="not like this", when="now")
        report = await on.ended(swarm)
        assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
        told = json.dumps(on.provider.bodies[-1]["messages"])
        assert "not like this" in told
        assert "aborted" in told  # what became of its tool
        assert not (tmp_path / "ended").exists()
        await on.balanced(swarm)


async def test_its_model_is_swapped_without_a_restart(start_daemon, tmp_path) -> None:
    async with scene(start_daemon(), tmp_path, acts(bash("sleep 1"), DONE)) as on:
        more = {"name": "p1", "format": "openai-chat", "url": on.provider.url, "models": ["other"]}
        await on.dash.call("provider.add", **more)
        await on.dash.call("model.set", model="other", input_usd_per_mtok=1.0, output_usd_per_mtok=4.0)
        swarm = await on.swarm()
        await on.dash.events(swarm, "agent.progress")
        pid = (await on.dash.call("agent.get", agent=f"{swarm}-001"))["pid"]
        await on.dash.call("agent.set_model", agent=f"{swarm}-001", model="other")
        assert (await on.dash.call("agent.get", agent=f"{swarm}-001"))["pid"] == pid
        report = await on.ended(swarm)
        assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
        assert [body["model"] for body in on.provider.bodies] == [MODEL, "other"]


async def test_paused_it_calls_no_model_until_it_is_resumed(start_daemon, tmp_path) -> None:
    async with scene(start_daemon(), tmp_path, acts(bash("sleep 1; echo x > marks"), DONE)) as on:
        swarm = await on.swarm()
        await on.dash.events(swarm, "agent.progress")
        await on.dash.call("agent.pause", agent=f"{swarm}-001")
        await on.dash.events(swarm, "agent.paused")
        while not (tmp_path / "marks").exists():  # noqa: ASYNC110  # a file rings no bell
            await trio.sleep(0.05)
        await trio.sleep(1.0)  # it calls now, and its call is held
        assert on.provider.calls == 1
        await on.dash.call("agent.resume", agent=f"{swarm}-001")
        assert result(await on.ended(swarm))["summary"] == "all done"
        await on.balanced(swarm)


async def test_paused_hard_nothing_of_it_runs_whatever_becomes_of_dashd(start_daemon, tmp_path) -> None:
    daemon = start_daemon()
    ticks = tmp_path / "ticks"
    script = acts(bash("until [ -e go ]; do echo x >> ticks; sleep 0.05; done"), DONE)
    async with scene(daemon, tmp_path, script) as on:
        swarm = await on.swarm()
        while not ticks.exists():  # noqa: ASYNC110  # a file rings no bell
            await trio.sleep(0.05)
        await on.dash.call("agent.pause", agent=f"{swarm}-001", hard=True)
        await on.dash.events(swarm, "agent.paused")
        assert (await on.dash.call("agent.get", agent=f"{swarm}-001"))["pause"] == "hard"
        stopped_at = ticks.stat().st_size
        await trio.sleep(1.0)
        daemon.kill()
        daemon.start()
        async with door.open_door(daemon.socket) as dash:
            on.dash = dash
            (tmp_path / "go").touch()
            await trio.sleep(1.0)
            assert (await dash.call("agent.get", agent=f"{swarm}-001"))["state"] == "paused"
            assert ticks.stat().st_size == stopped_at
            await dash.call("agent.resume", agent=f"{swarm}-001")
            report = await on.ended(swarm)
            assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
            await on.balanced(swarm)


async def test_paused_hard_in_a_stream_it_goes_on_in_the_same_session(start_daemon, tmp_path) -> None:
    """The answer is on its way while it is stopped; dashd dies meanwhile, and with it the stream."""
    daemon = start_daemon()
    script = acts(bash("echo x >> marks"), Act(text="a long one", delay_s=3.0), DONE)
    async with scene(daemon, tmp_path, script) as on:
        called = trio.Event()

        async def note() -> None:
            if on.provider.calls == 2:
                called.set()

        on.provider.on_call = note
        swarm = await on.swarm()
        await called.wait()
        await on.dash.call("agent.pause", agent=f"{swarm}-001", hard=True)
        await on.dash.events(swarm, "agent.paused")
        daemon.kill()
        daemon.start()
        async with door.open_door(daemon.socket) as dash:
            on.dash = dash
            await dash.call("agent.resume", agent=f"{swarm}-001")
            report = await on.ended(swarm)
            assert (result(report)["summary"], report["attempts"]["total"]) == ("all done", 1)
            assert (tmp_path / "marks").read_text() == "x\n"
            await on.not_below(swarm)


async def test_a_hard_pause_ends_with_a_kill(start_daemon, tmp_path) -> None:
    async with scene(start_daemon(), tmp_path, acts(bash("touch begun; sleep 60; touch ended"))) as on:
        swarm = await on.swarm()
        await on.dash.events(swarm, "agent.progress")
        await on.dash.call("agent.pause", agent=f"{swarm}-001", hard=True)
        await on.dash.events(swarm, "agent.paused")
        await on.dash.call("agent.kill", agent=f"{swarm}-001")
        await on.dash.events(swarm, "agent.killed")
        assert pids_of(f"{swarm}-001") == []
        await on.balanced(swarm)


async def test_it_is_installed_checked_and_chosen(start_daemon, pi_environ, tmp_path) -> None:
    """Into the state folder of this dashd, by the npm of this machine; Node is the one of the cache."""
    daemon = start_daemon(DASH_PROGRAMS_PI="", DASH_JAIL_REQUIRED="true")
    async with door.open_door(daemon.socket) as dash:
        listed = {row["name"]: row["state"] for row in (await dash.call("program.list"))["programs"]}
        assert listed == {"node": "configured", "pi": "missing", "openclaw": "unusable"}
        try:
            with trio.fail_after(120):
                done = await trio.to_thread.run_sync(lambda: daemon.call("program.install", name="pi"))
        except client_blocking.CallFailed as failed:
            pytest.skip(f"not installed: {failed}")
        assert done["changed"]
        assert Path(done["path"]).is_relative_to(daemon.state)
        checked = await dash.call("program.check", name="pi")
        assert (checked["ok"], checked["version"]) == (True, done["version"]), checked
        made = await dash.call("swarm.create", task="do `echo hi > note.txt`", cwd=str(tmp_path))
        assert made["why_driver"].startswith("no driver was named, and pi is installed")
        assert (await dash.ended(made["id"]))["outcome"] == "complete"
        assert (tmp_path / "note.txt").read_text() == "hi\n"


async def test_gates_are_asked_before_a_tool_works(start_daemon, tmp_path) -> None:
    script = acts(bash("echo no > denied"), bash("echo yes > allowed"), DONE)
    async with scene(start_daemon(), tmp_path, script) as on:
        await on.dash.call("gate.set", name="no", kind="command", pattern="*denied*", verdict="deny")
        await on.dash.call("gate.set", name="maybe", kind="command", pattern="*allowed*", verdict="ask")
        swarm = await on.swarm()
        (asked,) = await on.dash.events(swarm, "approval.requested")
        assert asked["data"]["what"] == "run `echo yes > allowed`"
        assert not (tmp_path / "allowed").exists()
        await on.dash.call("approval.resolve", approvals=[asked["data"]["approval"]], decision="allow")
        assert result(await on.ended(swarm))["summary"] == "all done"
        assert ((tmp_path / "allowed").exists(), (tmp_path / "denied").exists()) == (True, False)
        assert "Dash did not allow this" in json.dumps(on.provider.bodies[-1]["messages"])


async def test_a_kill_ends_a_question_that_waits(start_daemon, tmp_path) -> None:
    async with scene(start_daemon(), tmp_path, acts(bash("echo x > marks"))) as on:
        await on.dash.call("gate.set", name="maybe", kind="tool", verdict="ask")
        swarm = await on.swarm()
        await on.dash.events(swarm, "approval.requested")
        await on.dash.call("agent.kill", agent=f"{swarm}-001")
        await on.dash.events(swarm, "agent.killed")
        (row,) = (await on.dash.call("approval.list", state="any"))["items"]
        assert row["state"] == "withdrawn"
        assert not (tmp_path / "marks").exists()


def _essence(text: str) -> list[str]:
    """The frames that a conversation acts upon, in order, without what differs between any two runs."""
    found = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            match json.loads(line):
                case {"type": "response", "command": str(command), "success": bool(good), **more}:
                    data = more.get("data") or {}
                    found.append(f"{command} {good} {data.get('disposition', '')} {more.get('id')}")
                case {"type": "message_end", "message": {"role": "user" | "assistant" as role} as message}:
                    found.append(f"{role} {message.get('stopReason', '')}")
                case {"type": "tool_execution_start", "toolName": name, "args": arguments}:
                    found.append(f"tool {name} {arguments}")
                case {"type": "agent_settled", "aborted": aborted}:
                    found.append(f"settled {aborted}")
    return found


async def test_the_stand_in_of_other_tests_talks_as_the_real_one(start_daemon, tmp_path) -> None:
    """On the same task and the same built-in model."""
    seen: list[list[str]] = []
    fake = str(Path(fake_pi.__file__))
    stand_in: dict[str, str] = {"DASH_PROGRAMS_NODE": fake, "DASH_PROGRAMS_PI": fake}
    for environ in ({}, stand_in):
        daemon = start_daemon(**environ, DASH_JAIL_REQUIRED="false")
        async with door.open_door(daemon.socket) as dash:
            made = await dash.call("swarm.create", task="`echo one`, then `echo two`", cwd=str(tmp_path))
            assert made["driver"] == "pi"
            assert (await dash.ended(made["id"]))["outcome"] == "complete"
            logs = await dash.call(
                "agent.logs", agent=f"{made['id']}-001", bytes_max=262_144, stream="stdout"
            )
            seen.append(_essence(logs["text"]))
    assert seen[0] == seen[1]
    assert len(seen[0]) > 8


async def test_a_build_that_prints_much_does_not_fill_what_is_kept(start_daemon, tmp_path) -> None:
    """Pi repeats the end of what a command has printed while it goes on; none of that is kept."""
    lines = "seq -f 'a line of build output number %g as compilers print them' 1 300"
    build = bash(f"for i in 1 2 3 4 5 6 7 8 9 10; do {lines}; sleep 0.2; done")
    daemon = start_daemon()
    async with scene(daemon, tmp_path, acts(build, DONE)) as on:
        swarm = await on.swarm()
        assert result(await on.ended(swarm))["summary"] == "all done"
        kept = b"".join(path.read_bytes() for path in daemon.state.rglob("spool"))
        assert b'"type":"tool_execution_end"' in kept
        assert b'_update"' not in kept
        print("KEPT", len(kept))
