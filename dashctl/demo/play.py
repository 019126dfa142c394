"""One telling of the story on one stage: who does what, and when.

The orchestrator creates the swarm, waits, and reads the report, all through one MCP session. A person at the
socket says what happens at a cap, and asks what it cost. The demo itself makes the outage and kills dashd.
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import trio

from dashctl import asking
from dashctl.demo import journal, orchestrator, private_daemon, repository, stand_in
from dashctl.demo.cast import Cast
from dashctl.demo.money import Money, reckon

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from dashctl.demo.screen import Screen

REPOSITORY = "repository"
JOURNAL = f"{REPOSITORY}/journal.jsonl"
"""In the agents' own folder: nothing outside it can be written by them."""
OWN = Cast()
ENDS = ["task.completed", "task.dead"]
TASK = (
    "Check one Python file of this repository. See whether it compiles: `sh check compile {item}`. "
    "Review it: `sh check review {item}`. See whose it is: `git log -1 --format=%an -- {item}`. "
    "Note down what you found: `sh check note {item}`."
)


@dataclass
class Told:
    """What came of it, as far as it got."""

    items: list[str] = field(default_factory=list)
    swarm: str = ""
    report: dict[str, Any] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    adopted: int = 0
    failovers: int = 0
    forecast: dict[str, Any] = field(default_factory=dict)
    budget: dict[str, Any] = field(default_factory=dict)
    bill: stand_in.Bill = field(default_factory=lambda: stand_in.Bill(0, Counter(), Counter()))

    def money(self, worked_on: Mapping[str, str]) -> Money:
        """What it cost; `worked_on` says which agent took an item."""
        return reckon(
            self.budget,
            self.bill,
            worked_on,
            failovers=self.failovers,
            rerouted=self.bill.answers[stand_in.SECOND],
            forecast=self.forecast,
        )


class Play:
    """Made for one folder; `told` is what came of it."""

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str],
        show: Screen,
        lines_per_s: float,
        part: Cast = OWN,
    ) -> None:
        self.told = Told()
        self.part = part
        self._folder = folder
        self._repo = folder / REPOSITORY
        self._journal = folder / JOURNAL
        self._stage = folder / "stage"
        self._environ = environ
        self._show = show
        self._lines_per_s = lines_per_s

    async def tell(self, agents: int) -> None:
        """From an empty folder to the report; the private dashd has ended when this returns."""
        program = "dashctl/demo/check.py"  # the repository's copy: behind walls there is no other
        check = [sys.executable, "-I", "-S", program, self._journal.name, f"{self._lines_per_s:g}"]
        files = repository.make(self._repo, self._environ, check)
        stand_in.make(self._stage)
        self.told.items = repository.items(self._repo, agents)
        async with (
            private_daemon.serving(
                self._folder, self._environ, stage=self._stage, own=self.part.environ
            ) as daemon,
            orchestrator.open_session(
                daemon.socket, cwd=self._repo, environ=daemon.environ, log=self._folder / "mcp.log"
            ) as session,
        ):
            self.told.calls = session.calls
            self._show.say(f"a git repository of {files} files, a private dashd, one MCP session")
            await self._bound_answers(daemon)
            created = await session.call("swarm_create", **self._wanted())
            self.told.swarm, cursor = created["id"], created["cursor"]
            each = f"at most ${self.part.cap_usd:g} each"
            self._show.say(f"swarm {self.told.swarm}: {agents} agents, {each}, on a stand-in for a model")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._orchestrate, session, cursor)
                await self._refuse_at_caps(daemon)
                await self._direct(session, daemon, cursor)
            await self._settle_up(session, daemon, cursor)

    def _wanted(self) -> dict[str, Any]:
        agents = len(self.told.items)
        return {
            "task": TASK,
            "name": "demo",
            "agents": agents,
            "items": self.told.items,
            "driver": self.part.driver,
            "budget": round(agents * self.part.agent_usd, 2),
            "agent_budget": self.part.cap_usd,
            "retries": 0,
            "timeout_s": self.part.attempt_s,
        }

    async def _orchestrate(self, session: orchestrator.Session, cursor: int) -> None:
        """All that a model would do: wait once, through the kill and the restart, then read the report."""
        await session.wait_ended(self.told.swarm, cursor)
        self.told.report = await session.call("swarm_report", swarm=self.told.swarm)

    async def _bound_answers(self, daemon: private_daemon.PrivateDaemon) -> None:
        if self.part.answer_tokens_max is not None:
            room = {"output_tokens_max": self.part.answer_tokens_max}
            await daemon.ask("model.set", model=stand_in.MODEL, **room)

    async def _refuse_at_caps(self, daemon: private_daemon.PrivateDaemon) -> None:
        """By default an agent at its cap is paused until somebody decides; here nobody is going to."""
        status = await daemon.ask("budget.status", budget=self.told.swarm, children=True)
        for node in status["children"]:
            await daemon.ask("budget.set", budget=node["id"], actions={"at_100": "notify"})

    async def _direct(
        self, session: orchestrator.Session, daemon: private_daemon.PrivateDaemon, cursor: int
    ) -> None:
        """Follows the swarm by cursor, for the audience, and does to it what the story says."""
        await self._first(session, cursor, "model.call")
        stand_in.go_down(self._stage)
        began = time.monotonic()
        if await self._first(session, cursor, "model.failover"):
            self._show.say(
                ("outage", "red"),
                f" of provider {stand_in.FIRST}: {stand_in.SECOND} answers after "
                f"{time.monotonic() - began:.1f} s",
            )
        if told := await self._first(session, cursor, "budget.threshold", threshold=100):
            spent, limit = told["data"]["spent"], told["data"]["allocated"]
            self._show.say(
                ("cap", "yellow"),
                f" of agent {told['agent']}: ${spent:.4f} of ${limit:g} spent, next call refused",
            )
        await self._kill_half_way(session, daemon, cursor)

    async def _first(
        self, session: orchestrator.Session, cursor: int, kind: str, **data: object
    ) -> dict[str, Any] | None:
        """The first event of this kind, with this data; None where the swarm ends without one."""
        ended = False
        while not ended:
            found, cursor, ended = await session.events(self.told.swarm, cursor, [kind])
            for each in found:
                if data.items() <= each.get("data", {}).items():
                    return each
        return None

    async def _kill_half_way(
        self, session: orchestrator.Session, daemon: private_daemon.PrivateDaemon, cursor: int
    ) -> None:
        """The kill comes when half of the tasks have ended; the outage ends with it."""
        total, done, killed = len(self.told.items), 0, False
        while done < total:
            found, cursor, _ = await session.events(self.told.swarm, cursor, ENDS)
            done += len(found)
            self._show.counting(done, total)
            if not killed and done >= math.ceil(total / 2):
                killed = True
                status = await session.call("budget_status", counted=False, budget=self.told.swarm)
                self.told.forecast = status["forecast"]
                projected = self.told.forecast.get("projected_usd")
                told = "none yet" if projected is None else f"${projected:.2f} in all"
                self._show.say(f"{done} of {total} tasks ended; forecast: {told}")
                stand_in.come_back(self._stage)
                await self._kill_and_restart(session, daemon, cursor, total - done)
        self._show.say(f"all {total} tasks ended")

    async def _kill_and_restart(
        self, session: orchestrator.Session, daemon: private_daemon.PrivateDaemon, cursor: int, at_work: int
    ) -> None:
        agents = asking.plural(at_work, "agent")
        self._show.say(("kill -9", "red"), f" of dashd (pid {daemon.pid}), with {agents} at work")
        journal.note(self._journal, "killed", daemon.pid)
        await daemon.kill()
        await daemon.start()
        journal.note(self._journal, "restarted", daemon.pid)
        adopted, _, _ = await session.events(self.told.swarm, cursor, ["agent.adopted"], timeout_s=0)
        self.told.adopted = len(adopted)
        live = asking.plural(len(adopted), "live agent")
        ended = max(0, at_work - len(adopted))
        meanwhile = f", {ended} had ended" if ended else ""
        self._show.say(f"dashd is back (pid {daemon.pid}): {live} adopted{meanwhile}")

    async def _settle_up(
        self, session: orchestrator.Session, daemon: private_daemon.PrivateDaemon, cursor: int
    ) -> None:
        """What Dash says it cost, and what the provider says."""
        self.told.budget = await daemon.ask("budget.status", budget=self.told.swarm, children=True)
        self.told.bill = stand_in.read_bill(self._stage)
        found, _, _ = await session.events(self.told.swarm, cursor, ["model.failover"], timeout_s=0)
        self.told.failovers = len(found)
