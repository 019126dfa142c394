"""From the words to the exit code, in this process and in processes of their own."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dashd.wire import errors
from tests.dashctl import answers
from tests.fakes import daemon as fake

TOP = Path(__file__).resolve().parents[2]
HEAVY = {"rich", "trio", "pydantic", "msgspec", "asyncio", "prompt_toolkit", "typing", "dataclasses"}


def process(*argv: str, path: str = "/nowhere/s", **options) -> subprocess.CompletedProcess:
    environ = {**os.environ, "DASH_SOCKET": path, "DASH_STATE_DIR": os.path.dirname(path)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.run(
        [sys.executable, "-m", "dashctl", *argv], cwd=TOP, env=environ, timeout=20, **options
    )


def test_no_daemon_is_69_with_what_to_run(ctl, tmp_path: Path):
    ran = ctl("status")
    assert ran.code == 69
    assert ran.err == f"error: dashd is not running: there is no socket at {tmp_path}/s\nhint: dashctl up\n"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    assert "is stale" in ctl("status").err
    assert json.loads(ctl("swarm", "list", "--json").err)["error"]["kind"] == "DaemonUnreachable"


def test_nothing_starts_a_daemon_silently(ctl, tmp_path: Path):
    for argv in (
        ["swarm", "list"],
        ["events"],
        ["status"],
        ["swarm", "create", "x", "--", "true"],
        ["version"],
    ):
        ctl(*argv)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidParams(), 2),
        (errors.UnknownSwarm(), 3),
        (errors.SwarmEnded(), 4),
        (errors.Forbidden(), 5),
        (errors.DeadlinePassed(), 6),
        (errors.BudgetExceeded(), 7),
        (errors.StoreFull(), 69),
        (errors.InternalError(), 1),
    ],
)
def test_refusals_have_exit_codes_and_one_style(dashd, ctl, error: errors.DashError, code: int):
    dashd.on("swarm.get", error)
    ran = ctl("swarm", "get", "x")
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith(f"error: {error.message.rstrip('.')}")
    told = json.loads(ctl("swarm", "get", "x", "--json").err)["error"]
    assert (told["code"], told["kind"]) == (error.code, type(error).__name__)
    assert told["message"] == error.message


def test_flags_win_over_the_environment(dashd, ctl):
    ran = ctl("status", "--socket", dashd.path, env={"DASH_SOCKET": "/nowhere"})
    assert ran.code == 0
    ran = ctl("status", "--state-dir", "/nowhere/else", env={"DASH_SOCKET": dashd.path})
    assert "/nowhere/else/run/dashd.sock" in ran.err
    assert "--state-dir" not in str(ctl("--state-dir=/nowhere/else", "status"))


def test_ctrl_c_is_130_and_no_traceback(ctl):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dashctl.calling.Dash.call", lambda *args, **named: signal.raise_signal(signal.SIGINT))
        ran = ctl("swarm", "get", "x")
    assert (ran.code, ran.out, ran.err) == (130, "", "")


def test_version(ctl):
    assert ctl("--version").out.startswith("dashctl 0.")


# From here on every test is a process of its own: what a shell sees.


def test_the_module_runs_and_leaves_with_the_code(dashd):
    ran = process("status", path=dashd.path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("dashd 0.1.0 is ready")
    assert process("status").returncode == 69


@pytest.mark.parametrize(
    "argv",
    [
        ["status"],
        ["status", "--json"],
        ["swarm", "list", "--json"],
        ["agent", "list"],
        ["events", "--json"],
        ["swarm", "create", "x", "--json", "--", "true"],
    ],
)
def test_import_budget(dashd, argv: list[str]):
    program = (
        "import sys\nfrom dashctl import __main__\n"
        f"sys.argv = ['dashctl', *{argv!r}]\ncode = __main__.main()\n"
        "print(*sys.modules, file=sys.stderr)\nsys.exit(code)"
    )
    environ = {**os.environ, "DASH_SOCKET": dashd.path}
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=TOP, env=environ, capture_output=True, text=True, timeout=20
    )
    assert ran.returncode == 0
    loaded = set(ran.stderr.split())
    assert not loaded & HEAVY
    if argv[0] == "status":
        assert not loaded & {"argparse", "socket", "subprocess", "datetime", "contextlib"}


def test_a_closed_pipe_is_silent(dashd):
    dashd.on(
        "event.list", answers.events(*[fake.an_event(seq, data={"text": "x" * 500}) for seq in range(1, 900)])
    )
    reader, writer = os.pipe()
    os.close(reader)
    ran = process("events", "--since", "0", path=dashd.path, stdout=writer)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_output_that_the_terminal_cannot_encode_does_not_stop_it(dashd):
    dashd.on("swarm.get", fake.a_swarm(name="日本語"))
    environ = {**os.environ, "DASH_SOCKET": dashd.path, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    ran = subprocess.run(
        [sys.executable, "-m", "dashctl", "swarm", "get", fake.ID],
        cwd=TOP,
        env=environ,
        capture_output=True,
        timeout=20,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"???" in ran.stdout


@pytest.mark.parametrize("columns", [80, 160])
def test_on_a_real_terminal(dashd, columns: int):
    """Colours, and lines that fit."""
    master, terminal = pty.openpty()
    environ = {**os.environ, "DASH_SOCKET": dashd.path, "COLUMNS": str(columns), "TERM": "xterm"}
    environ.pop("NO_COLOR", None)
    ran = subprocess.run(
        [sys.executable, "-m", "dashctl", "agent", "list"],
        cwd=TOP,
        env=environ,
        timeout=20,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = os.read(master, 65_536).decode()
    os.close(master)
    assert ran.returncode == 0
    assert "\x1b[32mrunning\x1b[0m" in shown
    assert shown.count("\r\n") == 2
