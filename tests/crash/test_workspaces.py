"""kill -9 at random instants of an agent's work (edit, commit, bundle, merge, landing, salvage, removal).

After each kill recovery runs, then: the user's repository is whole, its checkout clean, and all that the
agent had written is in its workspace or in its salvage. Then the same steps go on to the end. `DASH_TORTURE`
sets how many kills there are, `DASH_SEED` where they start.
"""

import contextlib
import ctypes
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashd.workspace import clone, erase, land, merge, place, restore, source
from tests.crash import work
from tests.fakes import jails
from tests.workspace.world import World, picture, unlock

pytestmark = [pytest.mark.crash, pytest.mark.slow]

KILLS = int(os.environ.get("DASH_TORTURE", "6"))
FIRST_SEED = int(os.environ.get("DASH_SEED", "0"))
ROUND_S_MAX = 120.0
GONE_S_MAX = 1.0
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
TOP = Path(__file__).resolve().parents[2]


def make_world(folder: Path) -> World:
    made = World(folder.resolve())
    made.make_repo()
    return made


def start(world: World, agent: str) -> "subprocess.Popen[bytes]":
    """A victim that has said `go`."""
    victim = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.work", str(world.folder), agent],
        cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert victim.stdout is not None
    assert victim.stdout.readline() == b"go\n", victim.communicate()[1].decode()
    return victim


def kill_after(victim: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Whether the kill came before the end."""
    try:
        _, said = victim.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.kill(victim.pid, signal.SIGKILL)
        victim.communicate()
        return True
    assert victim.returncode == 0, said.decode()
    return False


async def recover(world: World) -> None:
    """What dashd does at start."""
    assert [found.problem for found in await clone.recover(world.root) if found.problem] == []
    await merge.recover(world.root)
    assert [found for found in await land.recover(world.root) if found.outcome != "landed"] == []


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """What the victim leaves behind is adopted by this process instead of init: then none is overlooked.

    A git in a jail has neither the folder's name on its command line nor an environment of ours.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def children(pid: int) -> set[int]:
    """Of all its threads."""
    found: set[int] = set()
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found |= {int(child) for child in thread.read_text().split()}
    return found


def survivors(before: set[int]) -> list[str]:
    """Adopted processes; those that have ended are reaped, and count: what they leave is seen next time."""
    found = []
    for pid in children(os.getpid()) - before:
        found.append(f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes()!r}")
        os.waitpid(pid, os.WNOHANG)
    return found


def gone_within(before: set[int], seconds: float) -> bool:
    """Whether all that the victim had started ends by itself."""
    give_up_at = time.monotonic() + seconds
    while survivors(before):
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.005)
    return True


def whole(world: World, before: str) -> None:
    """The user's repository, whatever happened to dashd."""
    world.git("fsck", "--no-dangling", "--connectivity-only")
    assert world.git("status", "--porcelain") == ""
    assert world.git("symbolic-ref", "HEAD") == work.MAIN
    world.git("merge-base", "--is-ancestor", before, "main")
    assert [path for path in locks(world) if "/refs/dash/" not in path and "/heads/dash/" not in path] == []


def locks(world: World) -> list[str]:
    """What a git that was killed has left in the user's repository."""
    return [str(path) for path in (world.repo / ".git").rglob("*.lock")]


async def nothing_lost(world: World, agent: str, before: dict[bytes, tuple[str, int, bytes]] | None) -> None:
    """What was there at the kill is there, or it is in the salvage."""
    kept = [found for found in place.read_records(world.root) if found.agent == agent]
    remembered = world.folder / f"{agent}.picture"
    if kept:
        assert picture(kept[0].path) == before
    elif remembered.exists():
        found = await source.inspect(world.repo)
        commit = await source.read_ref(found, f"refs/dash/salvage/{agent}")
        assert commit is not None
        out = world.folder / f"{agent}.out"
        await restore.restore(found, commit, out)
        assert picture(out) == pickle.loads(remembered.read_bytes())
        erase.remove_tree(world.folder, out.name)
    else:
        assert before is None, "a workspace that was there went away without a salvage"


def tree_of(world: World, agent: str) -> Path | None:
    """The agent's workspace, if there is a whole one."""
    path = world.root / f"repo-dash-{agent}"
    return path if path.is_dir() else None


async def go_on(world: World, agent: str) -> None:
    """From whatever is there to the end."""
    kept = [found for found in place.read_records(world.root) if found.agent == agent]
    if kept:
        work.edit(world, kept[0], "after")
        await work.commit(kept[0])
        await work.finish(world, kept[0])
    elif not (world.folder / f"{agent}.picture").exists():
        await work.work(world, agent)


@pytest.fixture(scope="module")
def duration(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long a victim takes that nobody kills."""
    jails.needed()
    world = make_world(tmp_path_factory.mktemp("whole"))
    victim, began = start(world, "a0"), time.monotonic()
    assert not kill_after(victim, ROUND_S_MAX)
    assert sorted(os.listdir(world.root)) == [".dash", ".spool"]
    return time.monotonic() - began


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + KILLS))
async def test_nothing_is_lost(duration: float, seed: int, tmp_path: Path):
    world, agent = make_world(tmp_path), f"a{seed}"
    before = world.ref("main")
    instant = random.Random(seed).uniform(0, duration)
    before_it = children(os.getpid())
    with adopting():
        killed = kill_after(start(world, agent), instant)
        print(f"seed {seed}: killed after {instant:.3f} of {duration:.3f} s: {killed}")
        assert gone_within(before_it, GONE_S_MAX), survivors(before_it)
    tree = tree_of(world, agent)
    seen = picture(tree) if tree else None
    await recover(world)
    whole(world, before)
    await nothing_lost(world, agent, seen)
    await go_on(world, agent)
    whole(world, before)
    await nothing_lost(world, agent, None)
    assert place.read_records(world.root) == []
    assert locks(world) == []
    assert world.ref(work.TARGET) == world.ref("main")
    unlock(world.folder)
