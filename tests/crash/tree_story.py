"""A story on a repository: rounds of agents that write files, through daemons that are killed on the way.

After each kill a start goes as far as its recovery and is killed too; then, with no daemon about, everything
that an agent had written is in its workspace, a branch or its salvage, a target holds each merged task's work
once, the checkout is before a landing or after it, and nothing of the dead daemons runs.
"""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from dashd import crash_points
from dashd.workspace import erase, restore, source
from tests.crash import tree
from tests.crash.account import Account, executions
from tests.crash.client import Client, Gone
from tests.crash.home import Home, send
from tests.crash.rounds import Round, remove_gate
from tests.fakes import openclaw, pi
from tests.workspace.world import World

POINTS = tuple(
    point
    for point in crash_points.OWN
    if point.startswith(("workspace.", "merge.", "landing.", "talk.", "proxy."))
)
OF_TALK = ("talk.", "proxy.")
"""Reached only where agents are talked to and call models."""
LIVES = 3
"""At named points; one more ends at a random instant."""
ROUND_S = 8.0
"""About what a round takes where nobody disturbs it: a random kill comes within that."""
GONE_S_MAX = 5.0
TALKERS = {"pi": pi.__file__, "openclaw": openclaw.__file__}
"""Stand-ins; each takes the place of Node as well, so a story has one of them."""


@dataclass(frozen=True)
class Plan:
    """Lives: each POINT:N, or `random`."""

    seed: int
    lives: tuple[str, ...]


def plan(seed: int) -> Plan:
    """The story of this seed; seeds in a row go round all points."""
    chance = random.Random(seed)
    chosen = [POINTS[(LIVES * seed + number) % len(POINTS)] for number in range(LIVES)]
    return Plan(seed, (*(f"{point}:{_visit(point, chance)}" for point in chosen), "random"))


def _visit(point: str, chance: random.Random) -> int:
    return 1 if point.startswith("landing.") else chance.randint(1, 2)


class TreeStory:
    """The rounds so far, and what is known of the user's repository."""

    def __init__(self, home: Home, world: World, seed: int, talker: str) -> None:
        self.home = home
        self.talker = talker
        self.world = world
        self.chance = random.Random(seed)
        self.world.make_repo()
        self.world.put(".gitignore", b"*.tmp\n")
        self.main = self.world.commit("ignored")
        self.rounds: list[Round] = []
        self.reached: list[str] = []
        self.lost_max = 0
        self._good: set[str] = set()
        """Salvages that were looked at."""

    # --- lives --------------------------------------------------------------------------------------------

    def live(self, life: str) -> None:
        """One life of the daemon and the start of the next, both ended by SIGKILL."""
        point = life.partition(":")[0]
        talks = point.startswith(OF_TALK) or (point == "random" and self.chance.random() < 0.3)
        assert self.home.start(None if life == "random" else life).startswith("READY"), self.home.log()
        with self._killer() if life == "random" else contextlib.nullcontext():
            died = not self._work(talks)
        assert died or life == "random", f"{life} was not reached\n{self.home.log()}"
        if not died:
            self.home.kill()
        code = self.home.ended()
        assert code == -signal.SIGKILL, f"{life}: dashd ended with {code}\n{self.home.log()}"
        self.reached.append(point)
        self._no_orphans()
        assert self.home.start("recovery.before_commit") == ""
        assert self.home.ended() == -signal.SIGKILL, self.home.log()
        self._no_orphans()
        self.check(Account(self.home.database))

    def finish(self) -> None:
        """The last life: what was begun comes to its end."""
        assert self.home.start().startswith("READY"), self.home.log()
        with contextlib.closing(self.home.client()) as client:
            self._end_rounds(client)

    def _work(self, talks: bool) -> bool:
        """Ends what was begun, then goes through one round more; False where the daemon died meanwhile."""
        try:
            with contextlib.closing(self.home.client()) as client:
                self._end_rounds(client)
                number, repo = len(self.rounds), self.world.repo
                driver = self.talker if talks else "command"
                self.rounds.append(Round(number, repo, self.home.journal, driver, self._user_goes_on))
                self._end_rounds(client)
        except Gone:
            return False
        return True

    def _end_rounds(self, client: Client) -> None:
        remove_gate(client)
        for each in self.rounds:
            if not each.done:
                each.go(client)
                self.main = self.world.ref("main")

    def _user_goes_on(self) -> None:
        self.world.put(f"mine-{len(self.rounds)}", b"mine\n")
        self.main = self.world.commit("mine")

    @contextlib.contextmanager
    def _killer(self) -> Iterator[None]:
        """SIGKILL to the daemon at a random instant, in some stories to a holder before."""
        assert self.home.daemon is not None
        pid, after_s = self.home.daemon.pid, self.chance.uniform(0, ROUND_S)
        holder_too = self.chance.random() < 0.5

        def kill() -> None:
            if holder_too and (holders := self.home.holders()):
                self.lost_max += send(self.chance.choice(holders), signal.SIGKILL)
            send(pid, signal.SIGKILL)

        timer = threading.Timer(after_s, kill)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    # --- what must be so ----------------------------------------------------------------------------------

    def check(self, account: Account) -> None:
        """With no daemon about, and all it may have left half-done taken back or finished."""
        account.check_rows()
        self._check_checkout(account)
        self._check_targets(account)
        for task in account.tasks.values():
            if task["state"] in ("completed", "dead"):
                self._check_kept(account, task)

    def _check_checkout(self, account: Account) -> None:
        world = self.world
        world.git("fsck", "--no-dangling", "--connectivity-only")
        assert world.git("status", "--porcelain") == ""
        assert world.git("symbolic-ref", "HEAD") == "refs/heads/main"
        assert self._locks(ours=False) == []
        now = world.ref("main")
        going = [row["commit_id"] for row in account.landings if row["state"] in ("running", "landed")]
        assert now in (self.main, *going), f"main is at {now}, was at {self.main}, and {account.landings}"
        for row in account.landings:
            assert row["state"] != "refused", row
            if row["state"] == "landed":
                self.world.git("merge-base", "--is-ancestor", row["commit_id"], "main")
        self.main = now

    def _check_targets(self, account: Account) -> None:
        """A merge is said to be merged only where its target has it; nothing is in a target twice."""
        rebased = {row["target"] for row in account.merges if row["owner"].startswith("refs/")}
        for row in account.merges:
            if row["owner"].startswith("refs/"):  # it puts all of the target on top of the user's branch
                assert row["state"] in ("queued", "running", "merged"), row
                continue
            subjects = self.world.git("log", "--format=%s", row["target"], "--", check=False).splitlines()
            name = self._name(account, row["owner"])
            count = subjects.count(f"work {name}")
            if row["state"] == "merged":
                if row["target"] not in rebased:
                    self.world.git("merge-base", "--is-ancestor", row["result"], row["target"])
                assert count == 1, f"{row} is in its target {count} times"
                assert self._lacks(f"refs/heads/{row['target']}", name) == []
            else:
                assert count <= (row["state"] == "running"), f"{row} is in its target"

    def _check_kept(self, account: Account, task: dict[str, Any]) -> None:
        """Whatever the agent of an ended task wrote: in its tree, or its salvage, or all in its branch."""
        owner, plan = task["agent_id"], self._plan(task["item"])
        name, plain = plan[0], "plain" in plan
        row = account.workspaces[owner]
        succeeded = task["state"] == "completed"
        if succeeded:
            branch = self.world.ref(f"refs/heads/{row['branch']}")
            assert branch == row["imported"], f"{owner} came back as {row['imported']}, and is at {branch}"
            assert self._lacks(branch, name) == []
        path = Path(row["path"])
        if path.is_dir():
            assert tree.missing(path, name, plain=plain) == [], path
            return
        saved = self.world.ref(f"refs/dash/salvage/{owner}")
        if saved:
            self._check_salvage(saved, name, plain=plain)
        else:
            assert plain, f"the tree of {owner} is gone, and in no salvage"
            assert succeeded, f"the tree of {owner} is gone, and in no salvage"

    def _check_salvage(self, commit: str, name: str, *, plain: bool) -> None:
        if commit in self._good:
            return
        out = self.world.folder / f"out-{commit[:12]}"

        async def bring_back() -> None:
            await restore.restore(await source.inspect(self.world.repo), commit, out)

        trio.run(bring_back)
        assert tree.missing(out, name, plain=plain) == [], f"of {name} in its salvage {commit}"
        erase.remove_tree(out.parent, out.name)
        self._good.add(commit)

    def _no_orphans(self) -> None:
        """No jail of a dead daemon's lives on: the kernel shows what is mounted in one."""
        give_up_at = time.monotonic() + GONE_S_MAX
        while found := list(jails_of(self.world.folder)):
            assert time.monotonic() < give_up_at, f"left behind: {found}"
            time.sleep(0.01)  # the kernel rings no bell for somebody else's children

    def end(self) -> None:
        """After the last daemon."""
        account, runs = Account(self.home.database), executions(self.home.journal)
        self.check(account)
        account.check_events()
        talks = any(each.talks for each in self.rounds)
        account.check_runs(runs, resumed=talks)
        if not talks:  # what keeps a journal there is a tool of the program
            account.check_adoptions(runs)
        assert account.count("lost") <= self.lost_max
        assert len(account.swarms) == len(self.rounds), "a call was done twice"
        assert len(account.tasks) == sum(len(each.items) for each in self.rounds)
        assert self._locks(ours=True) == []
        assert {row["state"] for row in account.workspaces.values()} == {"removed"}
        assert list((self.home.path / "workspaces").glob("*/*")) == []
        landed = self.world.git("log", "--format=%s", "main").splitlines()
        of_agents = [row["owner"] for row in account.merges if row["state"] == "merged"]
        merged = [self._name(account, owner) for owner in of_agents if owner in account.workspaces]
        assert sorted(each for each in landed if each.startswith("work ")) == sorted(
            f"work {name}" for name in merged
        )
        for name in merged:
            assert self._lacks("main", name) == []

    # --- names --------------------------------------------------------------------------------------------

    def _lacks(self, commit: str, name: str) -> list[str]:
        return tree.missing_in_commit(self.world.repo, commit, name)

    def _name(self, account: Account, owner: str) -> str:
        (task,) = [each for each in account.tasks.values() if each["agent_id"] == owner]
        return self._plan(task["item"])[0]

    @staticmethod
    def _plan(item: str) -> list[str]:
        return item.split()

    def _locks(self, *, ours: bool) -> list[str]:
        """What a git that was killed has left in the user's repository; `ours` counts that on Dash's refs."""
        found = (str(path) for path in (self.world.repo / ".git").rglob("*.lock"))
        return [path for path in found if ours or not ("/refs/dash/" in path or "/heads/dash/" in path)]


def jails_of(folder: Path) -> Iterator[str]:
    """Processes that have something below the folder mounted: those in a jail."""
    inside = os.fsencode(folder.resolve()) + b"/"
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if any(inside in line for line in Path(f"/proc/{entry}/mountinfo").read_bytes().splitlines()):
                    yield f"{entry} {Path(f'/proc/{entry}/cmdline').read_bytes()!r}"


def tell(folder: Path, seed: int) -> TreeStory:
    """One story from its first daemon to its last."""
    state = folder / "s"
    state.mkdir(mode=0o700)
    talker = ("pi", "openclaw")[seed % 2]
    home = Home(
        state,
        environ=dict.fromkeys(("DASH_PROGRAMS_NODE", f"DASH_PROGRAMS_{talker.upper()}"), TALKERS[talker]),
    )
    story = TreeStory(home, World(folder.resolve()), seed, talker)
    try:
        for life in plan(seed).lives:
            story.live(life)
        story.finish()
        home.stop()
        home.wait_empty()
    finally:
        home.clean_up()
    story.end()
    return story
