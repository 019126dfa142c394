"""The real programs, from the cache that `./run live` fills: what is not there is skipped, and says so."""

import os
import signal
from pathlib import Path
from types import FrameType

import pytest

from dashd.drivers.programs import Programs
from tests.whole import daemons

WALLS = {"DASH_JAIL_REQUIRED": "true"}


def pytest_sessionstart(session: pytest.Session) -> None:
    """SIGTERM ends the test under way as Ctrl-C does, with all that it has started, and no other begins."""

    def end(_number: int, _frame: FrameType | None) -> None:
        session.shouldstop = "terminated"
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, end)


@pytest.fixture(scope="session")
def programs() -> Programs:
    """Where the real programs are."""
    return Programs(Path(os.environ.get("DASH_LIVE_PROGRAMS") or "/nonexistent"))


@pytest.fixture(scope="session")
def pi_environ(programs: Programs) -> dict[str, str]:
    """What configures them for a dashd of a test."""
    missing = programs.missing("pi")
    if missing is not None:
        pytest.skip(f"not installed: {missing}; ./run live fetches it, and needs npm and a network for that")
    node, pi = programs.find("node"), programs.find("pi")
    assert node is not None
    assert pi is not None
    # Not that of this machine's PATH, which would be chosen first.
    elsewhere = {"DASH_PROGRAMS_OPENCLAW": "/nowhere"}
    return {"DASH_PROGRAMS_NODE": node.path, "DASH_PROGRAMS_PI": pi.path} | elsewhere


@pytest.fixture(scope="session")
def openclaw_environ(programs: Programs) -> dict[str, str]:
    """What configures OpenClaw for a dashd of a test."""
    missing = programs.missing("openclaw")
    if missing is not None:
        pytest.skip(f"not installed: {missing}; ./run live fetches it, and needs npm and a network for that")
    node, openclaw = programs.find("node"), programs.find("openclaw")
    assert node is not None
    assert openclaw is not None
    return {"DASH_PROGRAMS_NODE": node.path, "DASH_PROGRAMS_OPENCLAW": openclaw.path}


@pytest.fixture
def agent_environ(pi_environ) -> dict[str, str]:
    """The program that a file of tests is about; each may have its own."""
    return pi_environ


@pytest.fixture
def start_daemon(tmp_path_factory, agent_environ):
    """`start_daemon()`: a dashd of this test's own, with walls; nothing of it is left afterwards."""
    started = []

    def start_daemon(program: tuple[str, ...] = ("-m", "dashd"), **environ: str) -> daemons.DaemonProcess:
        folder = tmp_path_factory.mktemp("l")
        started.append(daemons.DaemonProcess(folder, program, **(WALLS | agent_environ | environ)))
        started[-1].start()
        return started[-1]

    yield start_daemon
    for each in started:
        each.end()
        assert each.processes() == []
