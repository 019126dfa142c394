"""The demo from its first line to its last: a swarm, a kill half-way, a report, and nothing left behind.

Nothing is slept for: each step begins with what the one before was seen to have done. Everything lives inside
one temporary folder and one deadline; SIGINT, SIGTERM and SIGHUP end it early and just as cleanly.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import trio

from dashctl import asking, calling
from dashctl.demo import journal, leftovers, orchestrator, private_daemon, repository, screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from typing import Any

    from dashctl.terminal import Output

STORY_S_MAX = 120.0
"""A busy machine needs longer than the usual ten seconds; a hung one is given up."""
JOURNAL = "journal.jsonl"
ENDS = ["task.completed", "task.dead"]
SHOWN = ("agents", "completed", "failed", "lost", "duplicated", "restarts", "duration_s")


@dataclass
class Told:
    """What came of it, as far as it got."""

    items: list[str] = field(default_factory=list)
    swarm: str = ""
    report: dict[str, Any] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    adopted: int = 0


def tell(out: Output, environ: Mapping[str, str], *, agents: int, keep: bool, lines_per_s: float) -> int:
    """Plays the story and gives the exit code. Raises calling.Failure where it broke off."""
    began, show = time.monotonic(), screen.Screen(out)
    show.title(agents)
    with _folder(keep=keep) as folder:
        play = _Play(folder, environ, show, lines_per_s)
        interrupted = _run(play, agents)
        if interrupted:
            show.stopped(folder if keep else None)
            return 128 + interrupted
        figures = journal.count(journal.read(folder / JOURNAL), play.told.items)
        problems = judge(figures, play.told)
        if out.as_json:
            out.data({"swarm": play.told.swarm, **{name: asdict(figures)[name] for name in SHOWN}})
        show.account(play.told.report, figures, play.told.calls, play.told.adopted)
    show.verdict(problems, folder if keep else None, time.monotonic() - began)
    return 1 if problems else 0


def judge(figures: journal.Figures, told: Told) -> list[str]:
    """What did not come true; the journal decides, and Dash's report must agree with it."""
    wanted = {
        "agents": (figures.agents, len(told.items)),
        "completed": (figures.completed, len(told.items) - 1),
        "failed": (figures.failed, 1),
        "lost": (figures.lost, 0),
        "duplicated": (figures.duplicated, 0),
        "restarts": (figures.restarts, 1),
    }
    wrong = [f"{name} is {found}, not {right}" for name, (found, right) in wanted.items() if found != right]
    causes = [failure["item"] for failure in told.report["failures"]]
    if causes != [repository.BROKEN]:
        wrong.append(f"the report names {causes} as failed, not {repository.BROKEN}")
    return wrong + journal.disagreements(figures, told.report)


class _Play:
    """One telling, on one stage."""

    def __init__(
        self, folder: Path, environ: Mapping[str, str], show: screen.Screen, lines_per_s: float
    ) -> None:
        self.told = Told()
        self._folder = folder
        self._repo = folder / "repository"
        self._journal = folder / JOURNAL
        self._environ = environ
        self._show = show
        self._lines_per_s = lines_per_s

    async def tell(self, agents: int) -> None:
        """From an empty folder to the report; the private dashd has ended when this returns."""
        files = repository.make(self._repo, self._environ)
        self.told.items = repository.items(self._repo, agents)
        async with (
            private_daemon.serving(self._folder, self._environ) as daemon,
            orchestrator.open_session(
                daemon.socket, cwd=self._repo, environ=daemon.environ, log=self._folder / "mcp.log"
            ) as session,
        ):
            self.told.calls = session.calls
            self._show.say(f"a git repository of {files} files, a private dashd, one MCP session")
            created = await session.call("swarm_create", **self._wanted())
            self.told.swarm, cursor = created["id"], created["cursor"]
            self._show.say(f"swarm {self.told.swarm}: {agents} agents compile, lint and count a file each")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._orchestrate, session, cursor)
                await self._kill_half_way(session, daemon, cursor)

    def _wanted(self) -> dict[str, Any]:
        program = str(Path(__file__).with_name("check.py"))
        pace = f"{self._lines_per_s:g}"
        return {
            "task": "Compile, lint and count one file",
            "name": "demo",
            "agents": len(self.told.items),
            "items": self.told.items,
            "argv": [sys.executable, "-I", program, str(self._journal), pace, "{item}"],
            "retries": 0,
        }

    async def _orchestrate(self, session: orchestrator.Session, cursor: int) -> None:
        """All that a model would do: wait once, through the kill and the restart, then read the report."""
        await session.wait_ended(self.told.swarm, cursor)
        self.told.report = await session.call("swarm_report", swarm=self.told.swarm)

    async def _kill_half_way(
        self, session: orchestrator.Session, daemon: private_daemon.PrivateDaemon, cursor: int
    ) -> None:
        """Follows the swarm by cursor, for the audience; the kill comes when half of the tasks have ended."""
        total, done, killed = len(self.told.items), 0, False
        while done < total:
            found, cursor = await session.events(self.told.swarm, cursor, ENDS)
            done += len(found)
            self._show.counting(done, total)
            if not killed and done >= math.ceil(total / 2):
                killed = True
                self._show.say(f"{done} of {total} tasks done")
                await self._kill_and_restart(session, daemon, cursor)
        self._show.say(f"all {total} tasks done")

    async def _kill_and_restart(
        self, session: orchestrator.Session, daemon: private_daemon.PrivateDaemon, cursor: int
    ) -> None:
        at_work = len(self._at_work())
        agents = asking.plural(at_work, "agent")
        self._show.say(("kill -9", "red"), f" of dashd (pid {daemon.pid}), with {agents} at work")
        journal.note(self._journal, "killed", daemon.pid)
        await daemon.kill()
        await daemon.start()
        journal.note(self._journal, "restarted", daemon.pid)
        adopted, _ = await session.events(self.told.swarm, cursor, ["agent.adopted"], timeout_s=0)
        self.told.adopted = len(adopted)
        live = asking.plural(len(adopted), "live agent")
        ended = max(0, at_work - len(adopted))
        meanwhile = f", {ended} had ended" if ended else ""
        self._show.say(f"dashd is back (pid {daemon.pid}): {live} adopted{meanwhile}")

    def _at_work(self) -> set[int]:
        entries = journal.read(self._journal)
        begun = {entry["pid"] for entry in entries if entry["what"] == "start"}
        return begun - {entry["pid"] for entry in entries if entry["what"] == "end"}


def _run(play: _Play, agents: int) -> int:
    """The number of the signal that ended the play early, or 0. Raises calling.Failure, never in a group."""
    try:
        return trio.run(_until_signal, play, agents)
    except BaseExceptionGroup as group:
        failures, rest = group.split(calling.Failure)
        if failures is None or rest is not None:
            raise
        raise _first(failures) from None
    except KeyboardInterrupt:  # a second Ctrl-C, while the first one was obeyed
        return signal.SIGINT


async def _until_signal(play: _Play, agents: int) -> int:
    received = 0

    async def watch(signals: AsyncIterator[int]) -> None:
        nonlocal received
        async for number in signals:
            received = received or number
            nursery.cancel_scope.cancel(reason=signal.Signals(number).name)

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, signals)
            with trio.move_on_after(STORY_S_MAX) as patience:
                await play.tell(agents)
            if patience.cancelled_caught:
                raise calling.Failure(
                    f"the demo was not over after {STORY_S_MAX:.0f} s",
                    hint="dashctl demo --keep keeps its logs",
                )
            nursery.cancel_scope.cancel(reason="the story is told")
    return received


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


@contextlib.contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    """The demo's own folder; at the end no process of it is left, and with `keep` the folder alone is."""
    folder = Path(tempfile.mkdtemp(prefix="dash-demo-")).resolve()
    try:
        yield folder
    finally:
        try:
            leftovers.end(folder)
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)
