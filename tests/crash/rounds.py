"""One round of a story on a repository: a swarm, its merges behind a gate, its landing, its removal.

Every step asks with a key, or for the state first, so that a round may be gone through again from the top in
every life until it is done. Odd rounds have a conflict; some land only after a yes, or onto a branch that has
moved on meanwhile.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash.client import Client, Refused

AGENT = str(Path(__file__).with_name("agent.py"))
STEP_S_MAX = 120.0
CLEANUPS = ("on-success", "immediate", "manual")
GATE = ["sh", "-c", "ls work-*/data && ! test -e /root/x"]
ENDED = ("completed", "failed", "destroyed")


@dataclass
class Round:
    """What it is to do, and how far it has come."""

    number: int
    repo: Path
    journal: Path
    driver: str
    """`command`, or a program that is talked to, and that calls a model."""
    user_goes_on: Callable[[], None]
    """Has the user's branch move on, so that the result must be put on top of it."""
    swarm: str = ""
    moved_on: bool = False
    done: bool = False

    @property
    def key(self) -> str:
        return f"r{self.number}"

    @property
    def talks(self) -> bool:
        return self.driver != "command"

    @property
    def items(self) -> list[str]:
        """Names and plans of its agents."""
        key = self.key
        if self.talks:
            return [f"{key}a tree", f"{key}b tree plain"]
        if self.number % 2:
            return [f"{key}a tree", f"{key}b tree clash", f"{key}c tree plain clash"]
        return [f"{key}a tree", f"{key}b tree plain child", f"{key}c tree fail=9"]

    @property
    def gated(self) -> bool:
        """Somebody must say yes to its landing."""
        return self.number % 4 >= 2

    def go(self, client: Client) -> None:
        """All of it; raises Gone with the daemon."""
        self._create(client)
        self._wait(client, lambda: client.call("swarm.get", swarm=self.swarm)["state"] in ENDED)
        self._merge(client)
        self._land(client)
        for tree in self._trees(client):
            if tree["state"] == "ready" and self.number % 3 == 0:
                client.call("worktree.salvage", worktree=tree["id"])
        client.call("swarm.destroy", swarm=self.swarm)
        self._wait(client, lambda: {tree["state"] for tree in self._trees(client)} == {"removed"})
        self.done = True

    def _create(self, client: Client) -> None:
        argv = [sys.executable, "-I", "-S", AGENT, str(self.journal), "{item}"]
        shape: dict[str, Any] = {"task": "trees", "argv": argv}
        if self.talks:
            task = f"do `{sys.executable} -I -S {AGENT} {self.journal} {{item}}`"
            shape = {"task": task, "driver": self.driver}
        created = client.call(
            "swarm.create",
            **shape,
            agents=len(self.items),
            items=self.items,
            repo=str(self.repo),
            cleanup=CLEANUPS[self.number % 3],
            lease_s=60,
            limits={"retries": 0, "grace_s": 1},
            idempotency_key=self.key,
        )
        assert self.swarm in ("", created["id"]), f"{self.key} was acknowledged as {self.swarm}"
        self.swarm = created["id"]

    def _merge(self, client: Client) -> None:
        key = f"m{self.number}"
        client.call("merge.enqueue", swarm=self.swarm, gates=[GATE], idempotency_key=key)
        self._wait(client, lambda: not self._merges(client, ["queued", "running"]))
        states = sorted(merge["state"] for merge in self._merges(client, []) if _is_work(merge))
        expected = ["conflict", "merged", "merged"] if "clash" in str(self.items) else ["merged", "merged"]
        assert states == expected, self._merges(client, [])

    def _merges(self, client: Client, states: Sequence[str]) -> list[dict[str, Any]]:
        return list(client.call("merge.list", swarm=self.swarm, states=states, limit=100)["items"])

    def _trees(self, client: Client) -> list[dict[str, Any]]:
        return list(client.call("worktree.list", swarm=self.swarm, limit=100)["items"])

    def _land(self, client: Client) -> None:
        if self.gated:
            client.call("gate.set", name="trunk", kind="landing", pattern="main")
        if self.number % 3 == 1 and not self.moved_on:
            self.user_goes_on()
            self.moved_on = True
        landed = client.call("swarm.land", swarm=self.swarm, rebase=self.moved_on)
        if landed["state"] == "waiting":
            try:
                client.call("approval.resolve", approvals=[landed["approval"]], decision="approve")
            finally:
                client.call("gate.remove", name="trunk")
        events = {"swarm": self.swarm, "kinds": ["swarm.landed"], "since": 0}
        self._wait(client, lambda: client.call("event.list", **events)["events"] != [])

    def _wait(self, client: Client, until: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + STEP_S_MAX
        cursor = client.call("daemon.status")["last_seq"]
        while not until():
            assert time.monotonic() < give_up_at, f"nothing came of {self}"
            cursor = client.call("event.wait", since=cursor, timeout_s=2.0, limit=1_000)["cursor"]


def _is_work(merge: dict[str, Any]) -> bool:
    """Of an agent; else it puts the result on top of the user's branch."""
    return not merge["worktree"].startswith("refs/")


def remove_gate(client: Client) -> None:
    """What a life that ended between may have left."""
    try:
        client.call("gate.remove", name="trunk")
    except Refused as refused:
        if refused.kind != "NotFound":
            raise
