"""`dashctl` as a person uses it, against a real dashd: a fake cannot know what only both know together."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashctl import calling, following, terminal

TOP = Path(__file__).resolve().parents[2]
Shell = Callable[..., subprocess.CompletedProcess]

pytestmark = pytest.mark.slow


@pytest.fixture
def shell(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Runs `dashctl WORDS`; its dashd has a state folder of its own, and ends with the test.

    It runs in an empty folder: where nothing else is said that one is the agents', and a checkout need not
    be one to give (a local clone's objects are hard links to those it was cloned from).
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DASH_")}
    environ |= {"DASH_STATE_DIR": str(tmp_path), "PYTHONPATH": str(TOP)}
    here = tmp_path_factory.mktemp("here").resolve()

    def run(*argv: str, code: int = 0, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "dashctl", *argv]
        around = environ | (env or {})
        ran = subprocess.run(command, cwd=here, env=around, capture_output=True, text=True, timeout=60)
        assert ran.returncode == code, (argv, ran)
        return ran

    try:
        yield run
    finally:
        run("down", "--yes")


def test_a_day_with_a_swarm(shell: Shell):
    assert shell("status", code=69).stderr.endswith("hint: dashctl up\n")
    assert " is up (pid " in shell("up").stdout
    assert "already running" in shell("up").stdout

    ran = shell(
        *("swarm", "create", "check", "--agents", "2", "--retries", "0", "--wait"),
        *(
            "--item",
            "a",
            "--item",
            "b",
            "--item",
            "\x1b[31mc",
            "--",
            "sh",
            "-c",
            'echo "got {item}"; test {item} != b',
        ),
        code=1,
    )
    assert "partial" in ran.stdout
    assert "got a" in ran.stdout
    assert "got c" in ran.stdout
    assert "task.dead" in ran.stderr
    assert "\x1b" not in ran.stdout + ran.stderr
    swarm = shell("swarm", "list", "-q").stdout.strip()
    assert json.loads(shell("swarm", "report", swarm, "--json").stdout)["outcome"] == "partial"
    for word in ("get", "report"):
        assert swarm in shell("swarm", word, swarm).stdout
    tasks = json.loads(shell("task", "list", "--swarm", swarm, "--json").stdout)
    assert sorted(task["state"] for task in tasks) == ["completed", "completed", "dead"]
    assert "got" in shell("agent", "logs", tasks[1]["agent"], "--all").stdout
    assert "got b" in shell("swarm", "report", swarm, "--full").stdout
    assert "what its agents printed is removed" in shell("swarm", "destroy", swarm, "--yes").stdout
    assert (
        shell("swarm", "destroy", swarm, "--yes").stdout == f"Swarm '{swarm}' has ended already: completed\n"
    )
    assert "removed" in shell("agent", "logs", tasks[1]["agent"], code=3).stderr
    assert "removed; results are kept" in shell("swarm", "get", swarm).stdout
    assert "got a" in shell("swarm", "report", swarm, "--full").stdout
    assert "(what it printed has been removed)" in shell("swarm", "report", swarm).stdout


def wait_started(state_dir: Path, out: terminal.Output, count: int) -> None:
    """Returns once so many agents have started."""
    dash = calling.Dash({"DASH_STATE_DIR": str(state_dir)})
    seen: list[dict] = []
    started = following.until(
        dash,
        out,
        since=0,
        kinds=("agent.started",),
        done=lambda event: seen.append(event) or len(seen) == count,
        deadline=time.monotonic() + 10,
    )
    dash.close()
    assert started


def test_agents_are_told_what_to_do_and_live_through_a_restart(shell: Shell, tmp_path: Path, output):
    shell("up")
    swarm = shell(
        "swarm", "create", "wait", "-a", "3", "-q", "--", "sh", "-c", "echo up; sleep 60"
    ).stdout.strip()
    first, second, third = (f"{swarm}-00{number}" for number in (1, 2, 3))
    wait_started(tmp_path, output(), 3)
    assert shell("agent", "pause", first, second).stdout == f"{first} paused\n{second} paused\n"
    assert shell("agent", "resume", first).stdout == f"{first} running\n"
    assert shell("agent", "kill", first, "nobody", code=1).stdout == f"{first} killed\n"
    before = json.loads(shell("agent", "get", third, "--json").stdout)

    assert "2 live agents taken over" in shell("restart").stdout
    assert json.loads(shell("agent", "get", third, "--json").stdout)["pid"] == before["pid"]
    assert json.loads(shell("agent", "get", second, "--json").stdout)["state"] == "paused"
    assert "paused" in shell("agent", "why", second).stdout

    assert "2 live agents" in shell("down", code=2).stderr
    assert shell("swarm", "destroy", swarm, "--yes").stdout == f"Swarm '{swarm}' destroyed\n"
    assert "swarm.destroyed" in shell("events", "-n", "3").stdout
    assert "has stopped" in shell("down").stdout
    assert shell("down").stdout == "dashd is not running\n"


def test_a_daemon_that_cannot_start_says_why(shell: Shell, tmp_path: Path):
    tmp_path.chmod(0o777)
    ran = shell("up", code=1)
    assert f"error: {tmp_path} has mode 0777: others may write in it\n" in ran.stderr
    assert f"hint: chmod 700 {tmp_path} (its log: {tmp_path}/dashd.log)" in ran.stderr
    tmp_path.chmod(0o700)
    shell("up")
    ran = shell("up", "--socket", str(tmp_path / "other"), code=69)
    assert f"serves {tmp_path}/run/dashd.sock" in ran.stderr


def test_doctor_and_config_need_no_daemon(shell: Shell, tmp_path: Path):
    assert str(tmp_path) in shell("config").stdout
    assert "unreachable" not in shell("config", "daemon.agents_max").stdout


def command_of(pid: int) -> bytes:
    """Empty for a process that has ended, even where nobody has reaped it."""
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


@pytest.mark.parametrize("word", ["restart", "down"])
def test_a_daemon_whose_socket_is_gone_is_named_and_ended(shell: Shell, tmp_path: Path, word: str):
    """As when systemd removes /run/user/UID at the last logout: never a circle, never a false "stopped"."""
    shell("up")
    pid = json.loads(shell("status", "--json").stdout)["pid"]
    shell("swarm", "create", "t", "--grace", "1s", "--", "sleep", "600")
    wait_started(tmp_path, terminal.Output(sys.stdout, sys.stderr, sys.stdin, {}), 1)
    (tmp_path / "run" / "dashd.sock").unlink()
    for asked in ("status", "up"):
        ran = shell(asked, code=69)
        assert f"error: dashd (pid {pid}) runs, but its socket" in ran.stderr
        assert "hint: dashctl restart" in ran.stderr
    found = shell("doctor", code=1).stdout
    assert f"dashd (pid {pid}) runs, but its socket" in found
    assert "fix: dashctl restart" in found
    assert shell("down", code=2).stderr.count("dashctl down --yes") == 1
    assert command_of(pid)
    if word == "down":
        assert f"dashd (pid {pid}) has stopped; 1 agent ended" in shell("down", "--yes").stdout
        shell("up")
        status = json.loads(shell("status", "--json").stdout)
        assert status["adopted"] == 0
    else:
        assert "1 live agent taken over" in shell("restart").stdout
    assert not command_of(pid)


def test_two_environments_find_one_daemon(shell: Shell, tmp_path: Path):
    """`dashctl up` at a desk, `dashctl status` from cron: XDG_RUNTIME_DIR is there in one alone."""
    home, runtime = tmp_path / "h", tmp_path / "r"
    for folder in (home, runtime):
        folder.mkdir(mode=0o700)
    at_desk = {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime), "DASH_STATE_DIR": ""}
    from_cron = {"HOME": str(home), "XDG_RUNTIME_DIR": "", "DASH_STATE_DIR": ""}
    shell("up", env=from_cron)
    status = json.loads(shell("status", "--json", env=from_cron).stdout)
    assert "already running" in shell("up", env=at_desk).stdout
    assert json.loads(shell("status", "--json", env=at_desk).stdout) | {"uptime_s": 0} == status | {
        "uptime_s": 0
    }
    assert f"serves {status['socket']}" in shell("doctor", env=at_desk).stdout
    wrong = {**at_desk, "DASH_SOCKET": str(runtime / "none")}
    assert (
        f"of {status['database'].removesuffix('/dash.db')} serves" in shell("down", env=wrong, code=69).stderr
    )
    shell("restart", env=at_desk)
    assert json.loads(shell("status", "--json", env=from_cron).stdout)["socket"].startswith(str(runtime))
    assert "has stopped" in shell("down", env=from_cron).stdout
    assert shell("down", env=at_desk).stdout == "dashd is not running\n"
