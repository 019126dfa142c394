"""kill -9 at random instants of an agent's work (clone, edit, commit, bundle, merge, land, salvage, removal).

Each kill is a real one: at an instant drawn within a step, or at the step's end where that comes sooner.
After each kill recovery runs, then: the user's repository is whole, its checkout clean, and all that the
agent had written is in its workspace or in its salvage. Then the same steps go on to the end. `DASH_TORTURE`
sets how many kills there are, `DASH_SEED` where they start; the last lines say how many fell in which step.
"""

import contextlib
import ctypes
import os
import pickle
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashd.workspace import clone, erase, land, merge, place, restore, source
from tests.crash import work
from tests.fakes import jails
from tests.workspace.world import World, picture, unlock

pytestmark = [pytest.mark.crash, pytest.mark.slow]

KILLS = int(os.environ.get("DASH_TORTURE", "8"))
FIRST_SEED = int(os.environ.get("DASH_SEED", "0"))
ROUND_S_MAX = 120.0
GONE_S_MAX = 1.0
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
TOP = Path(__file__).resolve().parents[2]


def make_world(folder: Path) -> World:
    made = World(folder.resolve())
    made.make_repo()
    return made


class Victim:
    """A process that does the work; it has begun with the first step when this returns."""

    def __init__(self, world: World, agent: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.work", str(world.folder), agent],
            cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._unread = b""
        assert self.step(ROUND_S_MAX) == work.STEPS[0]

    def step(self, within_s: float) -> str:
        """The next step that it begins, or `done`; empty where it begins none in time."""
        assert self.process.stdout is not None
        out, give_up_at = self.process.stdout.fileno(), time.monotonic() + within_s
        while b"\n" not in self._unread:
            if not select.select([out], [], [], max(0.0, give_up_at - time.monotonic()))[0]:
                return ""
            data = os.read(out, 4096)
            assert data, self.process.communicate()[1].decode()
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def kill_in(self, step: str, after_s: float) -> str:
        """Kills it so long after the step has begun, or when the next one begins; where it died."""
        at = work.STEPS[0]
        while at != step:
            at = self.step(ROUND_S_MAX)
            assert at not in ("", "done"), f"{step} was not reached"
        at = self.step(after_s) or step
        self.process.kill()
        self.process.communicate()
        assert self.process.returncode == -signal.SIGKILL
        return at

    def durations(self) -> dict[str, float]:
        """Lets it go to its end; how long each step took."""
        took, at, began = {}, work.STEPS[0], time.monotonic()
        while at != "done":
            following = self.step(ROUND_S_MAX)
            assert following, f"{at} does not end"
            now = time.monotonic()
            took[at], at, began = now - began, following, now
        self.process.communicate(b"")
        assert self.process.returncode == 0
        return took


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
def durations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """How long the steps of a victim take that nobody kills."""
    jails.needed()
    world = make_world(tmp_path_factory.mktemp("whole"))
    took = Victim(world, "a0").durations()
    assert tuple(took) == work.STEPS
    assert sorted(os.listdir(world.root)) == [".dash", ".spool"]
    return took


@pytest.fixture(scope="module", autouse=True)
def figures() -> Iterator[Counter[str]]:
    """How many kills fell in which step; said at the end."""
    killed: Counter[str] = Counter()
    yield killed
    sys.stderr.write(f"\n{killed.total()} kills: {dict(killed)}\n")


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + KILLS))
async def test_nothing_is_lost(
    durations: dict[str, float], figures: Counter[str], seed: int, tmp_path: Path
) -> None:
    world, agent = make_world(tmp_path), f"a{seed}"
    before = world.ref("main")
    step = work.STEPS[seed % len(work.STEPS)]
    after_s = random.Random(seed).uniform(0, durations[step])
    before_it = children(os.getpid())
    with adopting():
        killed_in = Victim(world, agent).kill_in(step, after_s)
        print(f"seed {seed}: killed {after_s:.3f} s after {step} began, in {killed_in}")
        figures[killed_in] += 1
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
