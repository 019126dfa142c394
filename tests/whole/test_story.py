"""The whole story, once through each door: a swarm is created, does real work, is waited for and reported."""

import json
import subprocess
import sys

import mcp
import pytest
import trio
import trio.testing

from dashd.wire import events as wire_events
from tests.whole import door
from tests.whole.conftest import GATE

pytestmark = pytest.mark.slow

CHECK = "import sys; compile(open(sys.argv[1]).read(), sys.argv[1], 'exec'); print(sys.argv[1], 'compiles')"
ARGV = [sys.executable, "-I", "-c", CHECK, "{item}"]


@pytest.fixture
def sources(tmp_path):
    """Three files to check, the second of which does not compile."""
    for name, text in {"one.py": "a = 1\n", "two.py": "a = (\n", "three.py": "b = 2\n"}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def dashctl(daemon, sources):
    """Runs a command line against the shared dashd, in the folder of the sources."""

    def dashctl(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "dashctl", *arguments],
            env=daemon.environ,
            cwd=sources,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return dashctl


ITEMS = ["one.py", "two.py", "three.py"]


async def test_through_the_raw_socket(dash, sources):
    created = await dash.call(
        "swarm.create",
        task="check",
        agents=3,
        items=ITEMS,
        argv=ARGV,
        cwd=str(sources),
        limits={"retries": 0},
    )
    assert (created["state"], created["agents"], created["tasks"]) == ("active", 3, 3)
    dead = await dash.events(created["id"], "task.dead", since=created["cursor"])
    report = await dash.ended(created["id"])
    assert (report["state"], report["outcome"], report["final"]) == ("completed", "partial", True)
    assert report["tasks"] == {"total": 3, "completed": 2, "dead": 1}
    assert report["agents"] == {"total": 3, "completed": 2, "failed": 1}
    assert report["attempts"] == {"total": 3, "retried": 0, "lost": 0, "late": 0, "cut": 0}
    (failure,) = report["failures"]
    assert (failure["item"], failure["cause"], failure["attempts"]) == ("two.py", "exit code 1", 1)
    assert failure["task"] == dead[0]["task"]
    assert "SyntaxError: '(' was never closed" in failure["last_lines"]
    assert [result["result"] for result in report["results"]] == ["one.py compiles\n", "three.py compiles\n"]
    assert report["cpu_s"] > 0
    assert "two.py" in report["follow_ups"][0]


async def test_every_step_is_an_event_in_order(dash, gate):
    created = await dash.swarm(GATE, gate.path)
    await dash.events(created["id"], "agent.started")
    gate.let()
    await dash.ended(created["id"])
    listed = await dash.call("event.list", swarm=created["id"])
    kinds = [event["kind"] for event in listed["events"]]
    assert kinds == [
        "swarm.created",
        "task.created",
        "agent.spawned",
        "task.assigned",
        "agent.started",
        "task.started",
        "task.completed",
        "agent.completed",
        "swarm.completed",
    ]
    assert set(kinds) <= wire_events.KINDS
    seqs = [event["seq"] for event in listed["events"]]
    assert seqs == sorted(set(seqs))


def test_through_dashctl(dashctl):
    created = dashctl(
        "swarm", "create", "check", "--agents", "3", *(f"--item={item}" for item in ITEMS),
        "--retries", "0", "--wait", "--", *ARGV,
    )  # fmt: skip
    assert created.returncode == 1, created
    assert "2 of 3 tasks completed, 1 dead" in created.stdout
    assert "SyntaxError: '(' was never closed" in created.stdout
    listed = json.loads(dashctl("swarm", "list", "--json").stdout)
    report = json.loads(dashctl("swarm", "report", listed[0]["id"], "--json").stdout)
    assert report["tasks"] == {"total": 3, "completed": 2, "dead": 1}
    missing = dashctl("swarm", "get", "nobody")
    assert missing.returncode == 3
    assert missing.stderr.startswith("error: there is no swarm 'nobody'\nhint: ")


async def test_through_mcp_with_dashd_killed_in_the_middle(start_daemon, tmp_path, gate):
    """One MCP session: the wait that was open when dashd was killed is answered by the next dashd."""
    dashd = await trio.to_thread.run_sync(start_daemon)
    server = mcp.StdioServerParameters(
        command=sys.executable,
        args=["-P", "-m", "mcp_server", "--socket", dashd.socket],
        env=dashd.environ,
        cwd=tmp_path,
    )
    waited = {}
    with trio.fail_after(90):
        async with mcp.Client(server) as client:
            created = await call(
                client, "swarm_create", task="t", agents=2, items=["x", "y"],
                argv=["sh", "-c", f'echo {{item}} >> journal; read -r _ < "{gate.path}"; echo done {{item}}'],
            )  # fmt: skip
            swarm = created["id"]
            started = []
            while len(started) < 2:
                found = await call(client, "event_wait", swarm=swarm, kinds=["task.started"], since=0)
                started = found["events"]

            async def wait():
                kinds = ["swarm.completed", "swarm.failed"]
                waited.update(
                    await call(client, "event_wait", swarm=swarm, since=created["cursor"], kinds=kinds)
                )

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                await trio.to_thread.run_sync(dashd.kill)
                await trio.to_thread.run_sync(dashd.start)
                gate.let(2)
            report = await call(client, "swarm_report", swarm=swarm)
    assert waited["state"] == "completed"
    assert report["tasks"] == {"total": 2, "completed": 2}
    assert sorted(result["result"] for result in report["results"]) == ["done x\n", "done y\n"]
    assert sorted((tmp_path / "journal").read_text().split()) == ["x", "y"]
    assert dashd.call("daemon.status")["adopted"] == 2


async def call(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def test_a_restart_is_no_event_for_agents(start_daemon, gate):
    """SIGTERM detaches: the same process goes on, is adopted, and its output is whole."""
    dashd = await trio.to_thread.run_sync(start_daemon)
    async with door.open_door(dashd.socket) as dash:
        created = await dash.swarm(
            'echo before; echo $$ >&2; read -r _ < "$1"; echo after', gate.path, name="kept"
        )
        await dash.events(created["id"], "agent.started")
        before = await dash.call("agent.get", agent=f"{created['id']}-001")
    dashd.process.terminate()
    assert await trio.to_thread.run_sync(dashd.process.wait) == 0
    await trio.to_thread.run_sync(dashd.start)
    async with door.open_door(dashd.socket) as dash:
        (adopted,) = await dash.events(created["id"], "agent.adopted")
        after = await dash.call("agent.get", agent=adopted["agent"])
        assert (after["pid"], after["liveness"], after["state"]) == (before["pid"], "alive", "running")
        gate.let()
        report = await dash.ended(created["id"])
    assert report["attempts"]["total"] == 1
    assert report["results"][0]["result"] == "before\nafter\n"


async def test_down_ends_the_agents_and_gives_their_tasks_back(start_daemon, gate):
    dashd = await trio.to_thread.run_sync(start_daemon)
    async with door.open_door(dashd.socket) as dash:
        created = await dash.swarm('read -r _ < "$1"; echo done', gate.path)
        await dash.events(created["id"], "agent.started")
    assert await trio.to_thread.run_sync(dashd.stop, "stop") == 0
    assert dashd.processes() == []
    await trio.to_thread.run_sync(dashd.start)
    gate.let()
    async with door.open_door(dashd.socket) as dash:
        report = await dash.ended(created["id"])
    assert (report["outcome"], report["attempts"]["total"]) == ("complete", 2)


async def test_a_lease_of_nothing_ends_agents_with_their_daemon(start_daemon, gate, tmp_path):
    dashd = await trio.to_thread.run_sync(start_daemon)
    async with door.open_door(dashd.socket) as dash:
        created = await dash.swarm(
            'echo run >> "$2"; read -r _ < "$1"', gate.path, str(tmp_path / "journal"), lease_s=0
        )
        await dash.events(created["id"], "agent.started")
    dashd.kill()
    assert dashd.processes() == []
    await trio.to_thread.run_sync(dashd.start)
    gate.let()
    async with door.open_door(dashd.socket) as dash:
        (lost,) = await dash.events(created["id"], "agent.lost")
        assert "lease" in lost["data"]["reason"]
        report = await dash.ended(created["id"])
    assert report["attempts"] == {"total": 2, "retried": 1, "lost": 1, "late": 0, "cut": 0}
    assert (tmp_path / "journal").read_text() == "run\nrun\n"
