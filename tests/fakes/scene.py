"""Swarms in a database, made and moved by the store's own functions, without a daemon around them."""

import json
from typing import Any

import msgspec

from dashd.domain.attempt import Ending
from dashd.domain.strategies import STRATEGIES
from dashd.store import agents, attempts, lifecycle, queue, seats, swarms, tasks
from dashd.store.queue import Claim
from dashd.store.rows import AgentRow, AttemptRow, SwarmRow, TaskRow
from dashd.store.transaction import Tx
from tests.fakes.clock import FixedClock
from tests.fakes.here import Here
from tests.fakes.inline import InlineStore

SWARM = "aaaaaa"
LEVELS = ("critical", "high", "medium", "low")


def swarm_row(swarm_id: str = SWARM, **changes: Any) -> SwarmRow:
    """An active swarm of driver `command`."""
    row = SwarmRow(
        id=swarm_id, name=f"swarm-{swarm_id}", state="active", wanted="run", outcome=None, goal="the goal",
        strategy="parallel", driver="command", why_driver="it was asked for", argv='["true","{item}"]',
        cwd="/", priority=2, timeout_s=300.0, retries=3, lease_s=120.0, grace_s=5.0, agents_max=2,
        next_agent=1, next_task=1, created_at_ms=0, ended_at_ms=None,
    )  # fmt: skip
    return msgspec.structs.replace(row, **changes)


class Scene:
    """What tests of rows need: make a swarm, claim, start and end its attempts, and look."""

    def __init__(self, store: InlineStore, clock: FixedClock) -> None:
        self.store = store
        self.db = store.db
        self.clock = clock
        self.do = store.do

    def swarm(
        self, *items: str, swarm_id: str = SWARM, agents_made: int = 1, strategy: str = "parallel", **row: Any
    ) -> str:
        """A swarm of one task an item, with seats."""

        def operation(tx: Tx) -> None:
            made = {"agents_max": agents_made, "created_at_ms": tx.now_ms, "strategy": strategy, **row}
            swarm = swarm_row(swarm_id, **made)
            swarms.insert(tx, swarm)
            planned = STRATEGIES[strategy](items) if items else []
            fresh = [tasks.new(swarm, n, p.item, at_ms=tx.now_ms) for n, p in enumerate(planned, 1)]
            for task, plan in zip(fresh, planned, strict=True):
                task = msgspec.structs.replace(task, state="waiting") if plan.after else task
                tasks.insert(tx, task, tuple(fresh[before].id for before in plan.after))
            swarms.take_numbers(tx, swarm_id, tasks=len(fresh))
            seats.add(tx, swarm_id, agents_made)

        self.do(operation)
        return swarm_id

    def claim(self, agents_max: int = 100) -> list[Claim]:
        return self.do(lambda tx: queue.claim(tx, agents_max, Here())).claims

    def start(self, claim: Claim, pid: int = 4_000_001) -> None:
        self.do(
            lambda tx: lifecycle.attempt_started(tx, claim.attempt_id, pid=pid, start_time=7, boot_id="boot")
        )

    def end(self, claim: Claim, state: str = "succeeded", reason: str = "exit code 0", **ending: Any) -> None:
        ended = Ending(state, reason, **ending)  # type: ignore[arg-type]
        self.do(lambda tx: lifecycle.attempt_ended(tx, claim.attempt_id, ended, jitter=1.0))

    def run(self, *states: str) -> list[Claim]:
        """Claims as often as there are states, starts and ends each attempt that way."""
        ended = []
        for state in states:
            (claim,) = self.claim(1)
            self.start(claim)
            self.end(claim, state, reason=f"{state} it")
            ended.append(claim)
        return ended

    def paused(self, claim: Claim, *, paused: bool = True) -> None:
        self.do(lambda tx: lifecycle.set_paused(tx, claim.attempt_id, paused=paused))

    # --- looking --------------------------------------------------------------------------------------

    def task(self, number: int = 1, swarm_id: str = SWARM) -> TaskRow:
        return tasks.get(self.db, f"{swarm_id}-t{number}")

    def agent(self, number: int = 1, swarm_id: str = SWARM) -> AgentRow:
        return agents.get(self.db, f"{swarm_id}-{number:03d}")

    def attempt(self, claim: Claim) -> AttemptRow:
        return attempts.get(self.db, claim.attempt_id)

    def row(self, swarm_id: str = SWARM) -> SwarmRow:
        return swarms.get(self.db, swarm_id)

    def states(self, swarm_id: str = SWARM) -> list[str]:
        """Of its tasks, by number."""
        found = self.db.execute("SELECT state FROM task WHERE swarm_id = ? ORDER BY number", (swarm_id,))
        return [state for (state,) in found]

    def seat_states(self, swarm_id: str = SWARM) -> list[str]:
        """Of its agents, by number."""
        found = self.db.execute("SELECT state FROM agent WHERE swarm_id = ? ORDER BY number", (swarm_id,))
        return [state for (state,) in found]

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        found = self.db.execute("SELECT body FROM event WHERE seq > ? ORDER BY seq", (since,))
        return [json.loads(body) for (body,) in found]

    def kinds(self, since: int = 0) -> list[str]:
        return [event["kind"] for event in self.events(since)]

    @property
    def seq(self) -> int:
        return self.store.tail.last_seq
