"""One story: a swarm that is worked on through many lives of the daemon, and the account at its end.

Two agents wait at a gate through all of it, so every restart has somebody to adopt; each life adds work by
calls with keys, so every crash may fall between a call and its answer. What was acknowledged is asked for
again in each life and must be answered alike.
"""

import contextlib
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dashd import crash_points
from tests.crash.account import Account, executions
from tests.crash.client import Client, Gone
from tests.crash.home import Home, send, wait_gone
from tests.crash.points import OF_LAUNCH, plan
from tests.crash.watcher import Watcher

LIFE_S_MAX = 40.0
AGENT = str(Path(__file__).with_name("agent.py"))
SWARMS: dict[str, dict[str, Any]] = {
    "many": {
        "items": [
            "a1 work=0.1 progress",
            "a2 work=0.2 child",
            "a3 work=0.3 progress",
            "a4 work=0.1 fail=1",
            "g1 gate",
            "g2 gate child",
        ]
    },
    "chain": {"items": ["c1 work=0.1", "c2 work=0.1 gate", "c3 work=0.1 child"], "strategy": "pipeline"},
}
"""By key."""
TASKS = sum(len(swarm["items"]) for swarm in SWARMS.values())


class Story:
    """What has been asked, what was acknowledged, and what may have been lost by now."""

    def __init__(self, home: Home, seed: int) -> None:
        self.home = home
        self.chance = random.Random(seed)
        self.swarm = ""
        self.asked: dict[str, dict[str, Any]] = {}
        """Key -> parameters, of every agent that was ever asked for."""
        self.acknowledged: dict[str, str] = {}
        """Key -> id, of every call that was answered."""
        self.lost_min = self.lost_max = 0
        self.reached: list[str] = []

    # --- lives --------------------------------------------------------------------------------------------

    def live(self, life: str) -> None:
        """One life of the daemon, which ends by SIGKILL; `life` is POINT:N or `random`."""
        point = life.partition(":")[0]
        line = self.home.start(None if life == "random" else life)
        if line.startswith("READY"):
            with contextlib.suppress(Gone):
                self._work(point)
        boot = point in crash_points.BOOT
        code = self.home.ended()
        assert code == (70 if boot else -9), (
            f"{life}: dashd ended with {code} after {line!r}\n{self.home.log()}"
        )
        assert line.startswith("FAILED") is boot, f"{life}: {line}"
        self.reached.append(point)
        Account(self.home.database).check_rows()

    def wait_at_gates(self) -> None:
        """A quiet life until both agents are at the gate."""
        assert self.home.start().startswith("READY"), self.home.log()
        client = self.home.client()
        self.ask_again(client)
        self.follow(client, lambda: not self.gates_missing())
        client.close()
        self.home.kill()

    def finish(self) -> tuple[list[dict[str, Any]], int]:
        """The last life: opens the gate and waits for the ends; the reports, and the last seq."""
        line = self.home.start()
        assert line.startswith("READY"), f"{line}\n{self.home.log()}"
        with contextlib.closing(self.home.client()) as client:
            self.ask_again(client)
            (self.home.journal / "gate").touch()
            self.follow(client, lambda: client.call("swarm.list", states=["active"])["total"] == 0)
            reports = [client.call("swarm.report", swarm=self.acknowledged[key]) for key in SWARMS]
            return reports, client.call("daemon.status")["last_seq"]

    def _work(self, point: str) -> None:
        with contextlib.closing(self.home.client()) as client:
            fork_server = self.home.fork_server() or 0
            self.ask_again(client)
            mine = [self.spawn(client) for _ in range(3)]
            if point == "random":
                self._kill_somebody(client)
            elif point in OF_LAUNCH:
                self.follow(client, lambda: all(self.is_completed(client, task) for task in mine))
                if point.startswith("forkserver."):  # a new one comes with the next launch, if one is needed
                    assert wait_gone(fork_server, time.monotonic() + 10), f"{point} spared it"
                self.lost_min += OF_LAUNCH[point] == "lost"
                self.lost_max += OF_LAUNCH[point] == "lost"
            else:
                self.follow(client, lambda: False)
            self.home.kill()

    def _kill_somebody(self, client: Client) -> None:
        """At a random instant SIGKILL to a holder, the fork server, both or none; the daemon is next."""
        cursor = client.call("daemon.status")["last_seq"]
        until = cursor + self.chance.randrange(20)
        give_up_at = time.monotonic() + self.chance.uniform(0.1, 0.8)
        while cursor < until and time.monotonic() < give_up_at:
            cursor = client.call("event.wait", since=cursor, timeout_s=0.05)["cursor"]
        time.sleep(self.chance.uniform(0, 0.02))  # nothing is waited for: the instant is to be a random one
        victim = self.chance.choice(["daemon", "daemon", "holder", "fork server", "both"])
        if victim in ("fork server", "both") and (pid := self.home.fork_server()):
            send(pid, signal.SIGKILL)
        if victim in ("holder", "both") and (holders := self.home.holders()):
            self.lost_max += send(self.chance.choice(holders), signal.SIGKILL)
        if victim != "daemon" and self.chance.random() < 0.5:
            self.spawn(client)
        if self.chance.random() < 0.5:  # nobody will know whether this was done
            key = self._new_key()
            client.send("agent.spawn", idempotency_key=key, **self.asked[key])

    # --- calls --------------------------------------------------------------------------------------------

    def ask_again(self, client: Client) -> None:
        """Repeats every call there was: what was acknowledged is answered alike, the rest is done now."""
        for key, chosen in SWARMS.items():
            created = client.call(
                "swarm.create",
                task="through many lives",
                agents=len(chosen["items"]),
                argv=[sys.executable, "-I", "-S", AGENT, str(self.home.journal), "{item}"],
                cwd=str(self.home.path),
                lease_s=60,
                limits={"retries": 3, "grace_s": 1},
                idempotency_key=key,
                **chosen,
            )
            self._acknowledge(key, created)
        self.swarm = self.acknowledged["many"]
        for key in list(self.asked):
            self._spawn(client, key)

    def spawn(self, client: Client) -> str:
        """Asks for one more agent; its task's id."""
        return self._spawn(client, self._new_key())

    def _new_key(self) -> str:
        key = f"s{len(self.asked) + 1}"
        work = self.chance.choice(["work=0.05", "work=0.2", "work=0.1 child", "work=0.3 child"])
        self.asked[key] = {"swarm": self.swarm, "task": "more", "item": f"{key} {work} progress"}
        return key

    def _spawn(self, client: Client, key: str) -> str:
        spawned = client.call("agent.spawn", idempotency_key=key, **self.asked[key])
        self._acknowledge(key, spawned)
        return str(spawned["task"])

    def _acknowledge(self, key: str, answer: dict[str, Any]) -> None:
        if known := self.acknowledged.get(key):
            assert answer["deduplicated"], f"{key!r} was acknowledged as {known} and is done again"
        assert self.acknowledged.setdefault(key, answer["id"]) == answer["id"]

    def follow(self, client: Client, until: Callable[[], bool]) -> None:
        """Waits by cursor until `until()`; raises Gone with the daemon."""
        give_up_at = time.monotonic() + LIFE_S_MAX
        cursor = client.call("daemon.status")["last_seq"]
        while not until():
            assert time.monotonic() < give_up_at, f"nothing came of it\n{self.home.log()}"
            cursor = client.call("event.wait", since=cursor, timeout_s=2.0, limit=1_000)["cursor"]

    def is_completed(self, client: Client, task: str) -> bool:
        """Whether the daemon says so."""
        return bool(client.call("task.get", task=task)["state"] == "completed")

    def gates_missing(self) -> bool:
        """Whether somebody is not yet, or no longer, at the gate."""
        found = executions(self.home.journal) if self.home.journal.exists() else []
        return not {"g1", "g2"} <= {run.task for run in found}

    # --- the account --------------------------------------------------------------------------------------

    def check(self, watched: list[dict[str, Any]], reports: list[dict[str, Any]]) -> None:
        """After the last daemon: everything that was promised, from rows, events, journals and processes."""
        account, runs = Account(self.home.database), executions(self.home.journal)
        account.check_complete()
        account.check_runs(runs)
        account.check_adoptions(runs)
        assert watched == account.events
        assert set(self.acknowledged) == {*SWARMS, *self.asked}
        assert set(self.acknowledged.values()) <= {*account.agents, *account.swarms}
        assert len(account.swarms) == len(SWARMS)
        assert len(account.tasks) == TASKS + len(self.asked), "a call was lost, or done twice"
        lost = account.count("lost")
        assert self.lost_min <= lost <= self.lost_max, f"{lost} attempts were lost"
        assert len(runs) <= len(account.tasks) + lost + account.count("failed"), "somebody ran twice"
        assert account.count("failed") <= 1
        assert not list((self.home.path / "launches").glob("*/holder.log")), "a holder hit a fault of its own"
        for report in reports:
            tasks = len(account.tasks_of({"id": report["id"]}))
            assert (report["state"], report["outcome"], report["final"]) == ("completed", "complete", True)
            assert report["tasks"] == {"total": tasks, "completed": tasks}
        assert sum(report["attempts"]["lost"] for report in reports) == lost


def tell(folder: Path, seed: int) -> Story:
    """One story from its first daemon to its last."""
    home = Home(folder)
    story = Story(home, seed)
    try:
        with Watcher(home) as watcher:
            for number, life in enumerate(plan(seed).lives):
                if number and story.gates_missing():
                    story.wait_at_gates()
                story.live(life)
            reports, last = story.finish()
            watcher.wait_for(last)
        home.stop()
        home.wait_empty()
    finally:
        home.clean_up()
    story.check(watcher.seen, reports)
    return story
