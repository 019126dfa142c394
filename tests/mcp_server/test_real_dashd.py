"""The scripted dashd keeps the contract of the real one, and the whole story runs against the real one."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import mcp
import pytest
import trio

from dashd import client
from dashd.wire import errors
from dashd.wire.methods import daemon
from mcp_server import server
from tests.fakes import daemon as fake
from tests.mcp_server.conftest import Caller
from tests.whole.daemons import WITHOUT_WALLS

TOP = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


class RealDashd:
    """A dashd of its own in a child process, which can be killed and started again."""

    def __init__(self, state):
        self.path = str(state / "d.sock")
        self._environ = os.environ | {"DASH_STATE_DIR": str(state), "DASH_SOCKET": self.path, **WITHOUT_WALLS}
        self._process = None

    async def live(self):
        async with trio.lowlevel.FdStream(self._start()) as said:
            assert (await said.receive_some()).startswith(b"READY")

    def _start(self):
        ready, ours = os.pipe()
        command = [sys.executable, "-m", "dashd", "run", "--ready-fd", str(ours)]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, cwd=TOP, env=self._environ, pass_fds=(ours,), stderr=quiet)
        os.close(ours)
        return ready

    async def die(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    async def stop(self):
        """Ends dashd and every agent of it."""
        with contextlib.suppress(errors.DaemonUnreachable):
            async with client.open_client(self.path) as dash:
                await dash.call("daemon.stop", {"agents": "stop"})
        try:
            self._process.wait(20)
        finally:
            self._process.kill()
            self._process.wait()


@contextlib.asynccontextmanager
async def open_real(state):
    dashd = RealDashd(state)
    await dashd.live()
    try:
        yield dashd
    finally:
        with trio.CancelScope(shield=True):
            await dashd.stop()


@pytest.mark.parametrize("kind", ["fake", "real"])
async def test_what_tests_rest_on_holds_for_both(tmp_path, kind):
    opened = open_real(tmp_path) if kind == "real" else fake.open_daemon(str(tmp_path / "d.sock"))
    with trio.fail_after(30):
        async with opened as dashd, client.open_client(dashd.path) as dash:
            assert isinstance(await dash.call("daemon.ping"), daemon.Pong)
            with pytest.raises(errors.UnknownSwarm):
                await dash.call("swarm.get", {"swarm": "nope"})
            with trio.move_on_after(0.1) as wait:
                await dash.call("event.wait", {"timeout_s": 60})
            assert wait.cancelled_caught
            async with dash.events() as found:
                assert found.cursor >= 0
            assert isinstance(await dash.call("daemon.ping"), daemon.Pong)
            await dashd.die()
            await dash.lost.wait()
            with pytest.raises(errors.DaemonUnreachable):
                await dash.call("daemon.ping")
            with pytest.raises(errors.DaemonUnreachable):
                async with client.open_client(dashd.path):
                    pytest.fail("it is dead")
            await dashd.live()
            async with client.open_client(dashd.path) as again:
                assert isinstance(await again.call("daemon.ping"), daemon.Pong)


async def test_twenty_agents_and_a_kill_in_three_calls(tmp_path, era):
    """One agent fails on purpose; dashd is killed while the client waits; each agent ran once."""
    work = tmp_path / "work"
    work.mkdir()
    script = "echo {item} >> journal; sleep 1; [ {item} != 7 ] && printf 'did \\033[1m{item}'"
    many = {"task": "t", "agents": 20, "items": [str(n) for n in range(20)], "argv": ["bash", "-c", script]}
    with trio.fail_after(60):
        async with open_real(tmp_path) as dashd:
            served = server.build(dashd.path, str(work))
            async with mcp.Client(served, mode=era) as connected, trio.open_nursery() as nursery:
                tool = Caller(connected)
                made = await tool.ok("swarm_create", many | {"retries": 0})

                async def kill_and_start():
                    await tool.ok("event_wait", {"swarm": made["id"], "kinds": ["agent.started"]})
                    await dashd.die()
                    await dashd.live()

                nursery.start_soon(kill_and_start)
                cursor, state = made["cursor"], "active"
                while state not in ("completed", "failed"):
                    waited = await tool.ok("event_wait", {"swarm": made["id"], "since": cursor})
                    cursor, state = waited["next"], waited["state"]
                told = await tool.ok("swarm_report", {"swarm": made["id"]})
                twice = await tool.ok("swarm_create", many | {"retries": 0})
    assert sorted(map(int, (work / "journal").read_text().split())) == list(range(20))
    assert (told["final"], told["outcome"]) == (True, "partial")
    assert (told["tasks"]["completed"], told["tasks"]["dead"]) == (19, 1)
    assert [failure["item"] for failure in told["failures"]] == ["7"]
    assert {result["result"] for result in told["results"]} == {f"did {n}" for n in range(20) if n != 7}
    assert (twice["id"], twice["deduplicated"]) == (made["id"], True)


async def test_refusals_of_the_real_dashd_lead_on(tmp_path):
    with trio.fail_after(30):
        async with (
            open_real(tmp_path) as dashd,
            mcp.Client(server.build(dashd.path, str(tmp_path))) as connected,
        ):
            tool = Caller(connected)
            assert "start one with swarm_create" in await tool.refused("swarm_get", {"swarm": "nope"})
            assert "argv" in await tool.refused("swarm_create", {"task": "t", "driver": "command"})
            made = await tool.ok("agent_spawn", {"task": "t", "argv": ["sleep", "60"]})
            assert made["id"] in await tool.refused("agent_kill", {"agent": f"{made['swarm']}-999"})
            assert made["swarm"] in await tool.refused("swarm_report", {"swarm": "nope"})
            killed = await tool.ok("agent_kill", {"agent": made["id"]})
            assert killed["wanted"] == "kill"
            ended = await tool.ok("event_wait", {"swarm": made["swarm"], "since": made["cursor"]})
            assert "swarm_report" in ended["hint"]
            text = await tool.refused("agent_spawn", {"task": "t", "swarm": made["swarm"]})
            assert "start a new one with swarm_create" in text
