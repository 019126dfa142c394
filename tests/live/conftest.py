"""The real programs, from the cache that `./run live` fills: what is not there is skipped, and says so."""

import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path
from types import FrameType

import pytest

from dashd.drivers.programs import Programs
from tests.whole import daemons

COMPILED = "DASH_LIVE_COMPILED"
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


@pytest.fixture(scope="session")
def compiled(tmp_path_factory) -> Path:
    """Where one dashd's compile caches are kept for the next one: each would take 15 seconds of a core to
    fill its own. Of all files of tests where `lanes.py` has made one.
    """
    return Path(os.environ.get(COMPILED) or tmp_path_factory.mktemp("compiled"))


def _copied(source: Path, target: Path) -> None:
    """Every cache that is whole, whole."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for cache in source.glob("[!.]*"):
        if not (target / cache.name).exists():
            fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=target))
            shutil.copytree(cache, fresh, dirs_exist_ok=True, copy_function=os.link)  # nobody writes to them
            with contextlib.suppress(OSError):  # somebody else has just done it
                fresh.rename(target / cache.name)
            shutil.rmtree(fresh, ignore_errors=True)


@pytest.fixture
def start_daemon(tmp_path_factory, agent_environ, compiled):
    """`start_daemon()`: a dashd of this test's own, with walls; nothing of it is left afterwards."""
    started = []

    def start_daemon(program: tuple[str, ...] = ("-m", "dashd"), **environ: str) -> daemons.DaemonProcess:
        folder = tmp_path_factory.mktemp("l")
        started.append(daemons.DaemonProcess(folder, program, **(WALLS | agent_environ | environ)))
        started[-1].state.mkdir(mode=0o700, exist_ok=True)
        _copied(compiled, started[-1].state / "compiled")
        started[-1].start()
        return started[-1]

    yield start_daemon
    for each in started:
        each.end()
        assert each.processes() == []
        _copied(each.state / "compiled", compiled)
