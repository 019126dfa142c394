"""`dashctl up|down|restart|status` against a scripted dashd and small programs in place of a real one."""

import json
import os
import subprocess
import sys

import pytest

from dashctl import daemon_process
from dashd.wire import errors
from dashd.wire.methods import daemon
from tests.dashctl import answers


@pytest.fixture
def no_start(monkeypatch):
    def refuse(environ, *, wait_s):
        raise daemon_process.StartFailed("no room", "/state/dashd.log", ["line 1", "line\x1b[2J 2"])

    monkeypatch.setattr(daemon_process, "start", refuse)


def starts(monkeypatch, dashd) -> list[dict[str, str]]:
    """What `start` was called with; it "starts" the scripted dashd."""
    calls = []

    def start(environ, *, wait_s):
        calls.append(dict(environ))
        return dashd.path

    monkeypatch.setattr(daemon_process, "start", start)
    return calls


def ends(monkeypatch, dashd) -> list[str]:
    """How `daemon.stop` was asked for; it ends the scripted dashd, whose pid is that of a child's."""
    asked = []
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)
    dashd.on("daemon.ping", daemon.Pong(version="0.1.0", pid=child.pid))
    dashd.on("daemon.status", answers.status(pid=child.pid))

    def stop(params: daemon.Stop) -> daemon.Stopping:
        asked.append(params.agents)
        # Its answer is sent, then the connection ends, then the process.
        dashd._token.run_sync_soon(dashd._daemon._nursery.start_soon, end)
        return daemon.Stopping(agents=params.agents, live=20)

    async def end() -> None:
        await dashd._daemon.die()
        child.stdin.close()
        child.wait(5)

    dashd.on("daemon.stop", stop)
    return asked


def test_up_says_when_it_runs_already(dashd, ctl):
    ran = ctl("up")
    assert (ran.code, ran.out) == (0, f"dashd 0.1.0 is already running (pid 1) at {dashd.path}\n")
    assert json.loads(ctl("up", "--json").out) == {
        "state": "up",
        "changed": False,
        "pid": 1,
        "version": "0.1.0",
        "socket": dashd.path,
    }


def test_up_starts_and_says_who_was_taken_over(dashd, ctl, monkeypatch, tmp_path):
    calls = starts(monkeypatch, dashd)
    dashd.on("daemon.status", answers.status(adopted=3))
    ran = ctl("up", "--state-dir", str(tmp_path / "other"))
    assert ran.out == f"dashd 0.1.0 is up (pid 1) at {dashd.path}; 3 live agents taken over\n"
    assert calls[0]["DASH_STATE_DIR"] == str(tmp_path / "other")
    assert "DASH_SOCKET" not in calls[0]


def test_a_failed_start_gives_the_reason_and_the_last_log_lines(ctl, no_start):
    ran = ctl("up")
    assert ran.code == 1
    assert ran.err.splitlines() == [
        "| line 1",
        "| line 2",
        "error: no room",
        "hint: dashctl doctor checks this machine (its log: /state/dashd.log)",
    ]
    assert json.loads(ctl("up", "--json").err)["error"]["details"]["log"][0] == "line 1"


def test_two_ups_at_once_are_one(dashd, ctl, no_start, monkeypatch):
    """The slower one fails to start its daemon, and finds the other's."""
    from dashctl.commands import daemon as daemon_commands

    ping, calls = daemon_commands._ping, []

    def at_first_none(dash):
        calls.append(dash)
        return ping(dash) if len(calls) > 1 else None

    monkeypatch.setattr(daemon_commands, "_ping", at_first_none)
    assert "already running" in ctl("up").out


def test_down_asks_where_agents_are_live(dashd, ctl):
    refused = ctl("down")
    assert refused.code == 2
    assert "this would end 20 live agents" in refused.err
    asked = ctl("down", columns=80, typed="\n")
    assert (asked.code, "Stop dashd and end 20 live agents? [y/N]" in asked.err) == (1, True)
    assert not dashd.asked("daemon.stop")


def test_down_ends_agents_and_waits_for_the_end(dashd, ctl, monkeypatch):
    asked = ends(monkeypatch, dashd)
    ran = ctl("down", "--yes")
    assert ran.code == 0
    assert "has stopped; 20 agents ended" in ran.out
    assert asked == ["stop"]


def test_down_of_nothing_is_done(ctl):
    assert ctl("down").out == "dashd is not running\n"
    assert json.loads(ctl("down", "--json").out) == {"state": "stopped", "changed": False}
    assert ctl("down").code == 0


def test_down_says_when_it_takes_too_long(dashd, ctl):
    dashd.on("daemon.status", answers.status(pid=os.getpid(), agents={}))
    ran = ctl("down", "--timeout", "50ms")
    assert ran.code == 6
    assert "is still stopping after" in ran.err


def test_restart_detaches_and_starts(dashd, ctl, monkeypatch):
    asked = ends(monkeypatch, dashd)

    def start(environ, *, wait_s):
        assert asked == ["detach"]
        dashd.live()
        return dashd.path

    monkeypatch.setattr(daemon_process, "start", start)
    ran = ctl("restart")
    assert ran.code == 0
    assert ran.out.startswith("dashd 0.1.0 is up")


def test_restart_of_nothing_starts(ctl, no_start):
    assert "no room" in ctl("restart").err


def test_status(dashd, ctl):
    assert ctl("status").out.splitlines()[-1].split()[0] == answers.SWARM
    assert dashd.asked("swarm.list")[0]["states"] == ["active"]
    assert json.loads(ctl("status", "--json").out)["epoch"] == 3
    dashd.on("daemon.status", answers.status(swarms={"completed": 3}))
    asked = len(dashd.asked("swarm.list"))
    ctl("status")
    assert len(dashd.asked("swarm.list")) == asked


def test_a_refusal_is_not_taken_for_an_absent_daemon(dashd, ctl):
    dashd.on("daemon.ping", errors.Forbidden("not you"))
    for word in ("up", "down", "restart"):
        assert ctl(word).code == 5
