"""What a person sees of the demo: a few lines while it runs, then the account. 80 columns are enough.

Writes through `terminal.Output` alone, so that colours follow the terminal and text is made safe.
"""

from __future__ import annotations

import textwrap
import time

from dashctl import asking
from dashctl.demo import journal
from dashctl.demo.money import NUSD
from dashd.wire import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from dashctl.demo.journal import Figures
    from dashctl.demo.money import Money
    from dashctl.terminal import Output, Part

LAST_LINES_SHOWN_MAX = 8
AGENTS_A_LINE = 5
PROGRESS = "@dash "
"""How a line begins that an agent prints for Dash; the rest is for people."""
_LINE_CHARS_MAX = 66
_LABEL_CHARS = 9
_TEXT_CHARS = 80 - 2 - _LABEL_CHARS


class Screen:
    """Lines with the seconds since the demo began; silent where one JSON object is wanted."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._began = time.monotonic()

    def title(self, what: str) -> None:
        """What is about to happen."""
        if not self._out.as_json:
            self._out.line(("Dash demo", "bold"), f": {what}")
            self._out.line()
            self._out.flush()

    def say(self, *parts: Part) -> None:
        """One thing that has happened, shown at once."""
        if not self._out.as_json:
            passed = f"{time.monotonic() - self._began:5.1f} s  "
            self._out.line((passed, "dim"), *parts)
            self._out.flush()

    def counting(self, done: int, total: int) -> None:
        """How far the swarm is, on a line of a terminal that the next one replaces."""
        if not self._out.as_json:
            self._out.passing(f"         {done} of {total} tasks ended")

    def account(self, report: dict[str, Any], figures: Figures, calls: Counter[str], adopted: int) -> None:
        """The report as the orchestrator got it, and beside it what the agents' journal says."""
        out = self._out
        if out.as_json:
            return
        out.line()
        out.line(("Report", "bold"), f" of swarm {report['id']}, read over the same MCP session")
        out.line()
        self._row("result", safe.line(report["summary"]))
        for failure in report.get("failures", ()):
            self._failure(failure)
        broken = asking.plural(len(figures.broken), "file")
        self._row(
            "checked",
            f"{figures.lines:,} lines, {figures.functions:,} functions, {figures.classes} classes, "
            f"{asking.plural(figures.remarks, 'remark')}; {broken} broken",
        )
        stopped = len(figures.unfinished & journal.given_up(report))
        self._row(
            "journal",
            f"{figures.completed} done, {stopped} stopped, {len(figures.unfinished) - stopped} lost, "
            f"{figures.duplicated} run twice (as the agents wrote it)",
        )
        self._row(
            "kill -9",
            f"{asking.plural(adopted, 'live agent')} adopted; {figures.outlived} worked on right through it",
        )
        self._row("calls", ", ".join(f"{count} {tool}" for tool, count in calls.items()))
        out.line()

    def money(self, money: Money) -> None:
        """What it cost: each agent, the forecast, and the provider's own bill beside Dash's ledger."""
        if self._out.as_json:
            return
        swarm = money.swarm
        self._row(
            "cost",
            f"{_usd(swarm.ledger)} of {_usd(swarm.limit, 2)}, of it {_usd(swarm.unconfirmed)}* unconfirmed: "
            "calls that the kill cut",
        )
        cells = [
            f"{each.name.rpartition('-')[2]} {_usd(each.ledger)}{'*' if each.unconfirmed else ' '}"
            for each in money.agents
        ]
        for start in range(0, len(cells), AGENTS_A_LINE):
            line = " ".join(cells[start : start + AGENTS_A_LINE])
            self._row("agents" if start == 0 else "", line.rstrip())
        for each in money.agents:
            if each.name in money.stopped:
                self._row(
                    "refused",
                    f"a call of agent {each.name}: only {_usd(each.limit - each.ledger)} of its "
                    f"${each.limit / NUSD:g} was left",
                )
        self._row(
            "forecast",
            f"{_range(money.forecast)} at half time; it came to "
            f"{_usd(swarm.ledger - swarm.unconfirmed, 3)} plus *",
        )
        self._row(
            "outage",
            f"{asking.plural(money.rerouted, 'call')} answered by the second provider",
        )
        self._row(
            "bill",
            f"{_usd(swarm.bill)} by the provider's own count: {_usd(money.overshoot, 2)} above any limit",
        )
        self._out.line()

    def stopped(self, kept: Path | None) -> None:
        """A signal ended it early."""
        if not self._out.as_json:
            self._out.passing("")
            self._out.line(("Interrupted. ", "yellow"), _left(kept))

    def verdict(self, problems: Sequence[str], kept: Path | None, seconds: float) -> None:
        """Whether the story came true, and what is left of it."""
        for problem in problems:
            self._out.note(("not true:", "red"), f" {problem}")
        if self._out.as_json:
            return
        left = _left(kept)
        if problems:
            self._out.line((f"The demo's promise did not hold after {seconds:.1f} s. ", "red"), left)
        else:
            self._out.line((f"All of it came true in {seconds:.1f} s. ", "green"), left)

    def _row(self, label: str, text: str) -> None:
        for line in textwrap.wrap(text, _TEXT_CHARS) or [""]:
            self._out.line("  ", (label.ljust(_LABEL_CHARS), "dim"), line)
            label = ""

    def _failure(self, failure: dict[str, Any]) -> None:
        what = f"{safe.line(failure['item'])} ({failure['agent']}): {safe.line(failure['cause'])}"
        self._row("failed", what)
        said = safe.block(failure["last_lines"].strip()).split("\n")
        lines = [line for line in said if not line.startswith(PROGRESS)]
        pieces = [piece for line in lines for piece in textwrap.wrap(line, _LINE_CHARS_MAX) or [""]]
        for piece in pieces[-LAST_LINES_SHOWN_MAX:]:
            self._out.line(" " * (_LABEL_CHARS + 2), ("| ", "dim"), ("", ""), piece)


def _usd(nusd: int, digits: int = 4) -> str:
    return f"${nusd / NUSD:.{digits}f}"


def _range(forecast: Mapping[str, Any]) -> str:
    low, middle, high = (forecast.get(f"{name}_usd") for name in ("low", "projected", "high"))
    if low is None or middle is None or high is None:
        return "none"
    return f"${middle:.3f} (${low:.3f} to ${high:.3f})"


def _left(kept: Path | None) -> str:
    return f"Kept: {kept}" if kept else "Everything is cleaned up."
