"""kill -9 of agent, stage, bwrap, holder or daemon: what is left. And that an agent outlives trio's threads.

A household is what keeps an agent: here a stand-in for daemon and holder with a launcher under attack. Dash's
own becomes one by the same `lives`: pids by role, while the block lasts.
"""

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
import trio

from dashd.jail import processes
from tests.jail.attacks import walls
from tests.jail.attacks.columns import BWRAP, COLUMNS, PYTHON, Column, Command, bwrap_options
from tests.jail.attacks.ground import Ground
from tests.jail.world import World

pytestmark = pytest.mark.slow
LIMIT_S = 20
TREE = 4  # the agent and three that it has started, two of them out of its session or deaf to signals
ROLES = ("agent", "stage", "bwrap", "bwrap_inside", "holder", "daemon")


class Household(Protocol):
    """Something that keeps agents. `stalled` stops in the stage, before it has become the agent."""

    name: str

    def lives(
        self, marker: str, stalled: bool, without: frozenset[str] = frozenset()
    ) -> contextlib.AbstractContextManager[dict[str, int]]: ...


class SmallHousehold:
    """A stand-in: two Python processes and a column."""

    def __init__(self, column: Column) -> None:
        self.column, self.name = column, column.name

    @contextlib.contextmanager
    def lives(
        self, marker: str, stalled: bool, without: frozenset[str] = frozenset()
    ) -> Iterator[dict[str, int]]:
        with Ground() as ground, contextlib.ExitStack() as closing:
            command = self.column.command(ground.launch(), agent(marker), without)
            if stalled:
                closing.callback(os.close, stall(command))
            argv = [PYTHON, "-I", "-S", str(ground.code / "keeper.py"), "daemon", *command.argv]
            pipes = {"stdout": subprocess.PIPE, "text": True, "pass_fds": command.fds}
            with ground.popen(argv, **pipes) as daemon:
                for fd in command.fds:
                    os.close(fd)
                closing.callback(end_all, marker)
                closing.callback(daemon.kill)
                pids = dict(daemon.stdout.readline().split() for _ in range(2))
                roles = {role: int(pid) for role, pid in pids.items()}
                wait_until(lambda: len(walk(roles["holder"])) >= self.depth(stalled))
                yield {**roles, **self.chain(walk(roles["holder"]), stalled)}
                closing.close()

    def depth(self, stalled: bool) -> int:
        chain = 1 if self.name in ("none", "stage", "dash-stage") else 3
        return chain if stalled else chain - 1 + TREE

    def chain(self, below: list[int], stalled: bool) -> dict[str, int]:
        """Below the holder: bwrap, the one inside that is process 1, and the command."""
        top = "stage" if stalled else "agent"
        names = (top,) if self.depth(True) == 1 else ("bwrap", "bwrap_inside", top)
        return dict(zip(names, below, strict=False))


def agent(marker: str) -> list[str]:
    """One that has children that leave its session and ignore what can be ignored."""
    child = f'trap "" TERM HUP INT; sleep {marker}; true'
    return ["/bin/sh", "-c", f"setsid sleep {marker} & sh -c '{child}' & sleep {marker}; true"]


def stall(command: Command) -> int:
    """The policy that the stage reads first does not come: a pipe instead; its other end."""
    reader, writer = os.pipe()
    assert command.policy is not None
    os.dup2(reader, command.policy)
    os.close(reader)
    return writer


def children() -> dict[int, list[int]]:
    """pid -> pids, of everything."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                below.setdefault(parent, []).append(int(entry.name))
    return below


def walk(top: int) -> list[int]:
    """All below it, the nearest first."""
    below, found = children(), [top]
    for pid in found:
        found.extend(below.get(pid, []))
    return found[1:]


def alive(marker: str) -> list[int]:
    """Every process that has the marker in its command line; a zombie has none any more."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and marker.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def end_all(marker: str) -> None:
    for pid in alive(marker):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_until(what) -> bool:
    """Whether it has come true within the limit."""
    deadline = time.monotonic() + LIMIT_S
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def marker() -> str:
    """A number of seconds, longer than any test, that no other process sleeps."""
    return f"{LIMIT_S * 3}.{uuid.uuid4().int % 10**12:012}"


HOUSEHOLDS = [SmallHousehold(COLUMNS["both"])]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("household", HOUSEHOLDS, ids=lambda household: household.name)
def test_whoever_is_killed_nothing_is_left(household: Household, role: str, marker: str) -> None:
    if reason := walls.missing(household.name):
        pytest.skip(reason)
    with household.lives(marker, role == "stage") as pids:
        assert alive(marker)
        keepers = {pids["daemon"], pids["holder"]} - {pids[role]}
        os.kill(pids[role], signal.SIGKILL)
        # The keepers have the marker in their own command lines, and end when they have seen the end.
        assert wait_until(lambda: not set(alive(marker)) - keepers), alive(marker)
        assert wait_until(lambda: not alive(marker)), alive(marker)


LEFT_OVER = [
    ("stage", "", "agent"),
    ("stage", "", "holder"),
    ("both", "unshare_pid", "agent"),
    ("both", "die_with_parent", "holder"),
]


@pytest.mark.parametrize(("column", "without", "role"), LEFT_OVER)
def test_what_it_is_that_ends_them(column: str, without: str, role: str, marker: str) -> None:
    """The other direction: without a PID namespace, or without the parent's death signal, some are left.

    How long to wait for what must not happen is told by a whole household, which is killed later and is gone.
    """
    if reason := walls.missing(column) or walls.missing("both"):
        pytest.skip(reason)
    layers, whole = frozenset(without.split()), SmallHousehold(COLUMNS["both"])
    with (
        SmallHousehold(COLUMNS[column]).lives(marker, False, layers) as pids,
        whole.lives(f"{marker}1", False) as witness,
    ):
        below = set(walk(pids["holder"])) - {pids[role]}
        os.kill(pids[role], signal.SIGKILL)
        os.kill(witness[role], signal.SIGKILL)
        assert wait_until(lambda: not alive(f"{marker}1"))
        assert below & set(alive(marker))


@pytest.mark.skipif(bool(walls.missing("bwrap")), reason=walls.missing("bwrap"))
async def test_an_agent_outlives_the_thread_that_kills_by_its_end(
    world: World, marker: str, tmp_path: Path
) -> None:
    """A parent's death is that of a thread; trio's ends when it has been idle for ten seconds.

    The control falls into the trap; when it has, the agent of the same options lives.
    """
    with Ground() as ground:
        options = [*bwrap_options(ground.launch(), frozenset({"scope_by_fd"}), None)]
        argv = [BWRAP, *options, "--", "/bin/sleep", marker]
        folder = await world.launch("kept", *argv)
        link = await world.adopt(folder)
        control = await trio.lowlevel.open_process(argv)
        with trio.fail_after(3 * LIMIT_S):
            assert await control.wait() == -signal.SIGKILL
        assert alive(marker)
        assert processes.start_time(world.holders["kept"][0]) == world.holders["kept"][1]
        await link.stop(grace_s=0.0)
        assert await trio.to_thread.run_sync(wait_until, lambda: not alive(marker))
