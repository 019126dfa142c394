"""The leash: whoever is killed, and whenever, nothing of a tool is left and nothing of it goes on."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import jails

KILLS = int(os.environ.get("DASH_TORTURE", "40"))
RUN_S = 0.25
LEFT_S_MAX = 1.0
TOP = Path(__file__).resolve().parents[2]
PARENT = """
import os, sys, trio
from pathlib import Path
from dashd.jail import tool, probe
from dashd.jail.launch import Walls

async def main():
    walls = await tool._machine.ask()
    if sys.argv[2] == "C":
        tool._machine._walls = Walls("C", walls.bwrap, walls.landlock_abi)
    script = "setsid sleep 60 & trap '' TERM; while :; do echo >> ran; sleep 0.01; done"
    folder = Path(sys.argv[1])
    job = tool.Tool(argv=("sh", "-c", script), cwd=folder, env={"PATH": "/usr/bin:/bin"}, read=(),
                    write=(folder,), deadline_s=60, output_bytes_max=1000)
    os.write(1, b"go\\n")
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(tool.run, job)

trio.run(main)
"""


@pytest.fixture(autouse=True)
def _needs_jails() -> None:
    jails.needed()


def start(folder: Path, grade: str) -> "subprocess.Popen[bytes]":
    """A process that runs two tools for ever, and has said so."""
    argv = [sys.executable, "-c", PARENT, str(folder), grade]
    parent = subprocess.Popen(argv, cwd=TOP, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"go\n"
    return parent


def of(parent: int) -> dict[int, str]:
    """The keeper, the leashes and all that is below them: pid to name."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            here = Path("/proc", entry)
            words = here.joinpath("environ").read_bytes().split(b"\0")
            ours = b"DASH_TOOLS_OF=%d" % parent in words or any(
                word.startswith(b"DASH_LAUNCH=tool-%d-" % parent) for word in words
            )
            if ours and here.joinpath("stat").read_bytes().rpartition(b")")[2].split()[0] not in b"ZX":
                found[int(entry)] = here.joinpath("comm").read_text().strip()
    return found


@contextlib.contextmanager
def running(folder: Path, grade: str) -> Iterator["subprocess.Popen[bytes]"]:
    parent = start(folder, grade)
    try:
        yield parent
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
        for pid in of(parent.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def left_after(parent: int) -> dict[int, str]:
    """What is still there when its time is over."""
    give_up_at = time.monotonic() + LEFT_S_MAX
    while (left := of(parent)) and time.monotonic() < give_up_at:
        time.sleep(0.005)
    return left


@pytest.mark.slow
@pytest.mark.parametrize("grade", ["B", "C"])
def test_killed_at_any_instant_the_parent_leaves_nothing(grade: str, tmp_path: Path):
    chance = random.Random(3)
    for number in range(KILLS):
        with running(tmp_path, grade) as parent:
            time.sleep(chance.uniform(0, RUN_S))
            parent.kill()
            parent.wait()
            assert left_after(parent.pid) == {}, f"kill {number}"


def until_it_runs(parent: int, program: str) -> dict[int, str]:
    give_up_at = time.monotonic() + 10
    while list(of(parent).values()).count(program) < 4:  # two tools, each with one in another session
        assert time.monotonic() < give_up_at, of(parent)
        time.sleep(0.01)
    return of(parent)


@pytest.mark.parametrize("grade", ["B", "C"])
def test_a_leash_that_is_killed_takes_its_tool_along(grade: str, tmp_path: Path):
    """In grade C what left the session goes by its mark: dashd lives, and sees to it."""
    with running(tmp_path, grade) as parent:
        (leash, *_) = [
            pid for pid, name in until_it_runs(parent.pid, "sleep").items() if name == "dash-leash"
        ]
        os.kill(leash, signal.SIGKILL)
        parent.wait(timeout=20)  # the tool failed, and so did this run
        assert parent.returncode == 1
        assert left_after(parent.pid) == {}


def test_a_keeper_that_is_killed_ends_nothing(tmp_path: Path):
    with running(tmp_path, "B") as parent:
        found = until_it_runs(parent.pid, "sleep")
        (keeper,) = [pid for pid, name in found.items() if name.startswith("python")]
        os.kill(keeper, signal.SIGKILL)
        while keeper in of(parent.pid):
            time.sleep(0.005)
        assert list(of(parent.pid).values()).count("dash-leash") == 2
