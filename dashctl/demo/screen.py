"""What a person sees of the demo: a few lines while it runs, then the account. 80 columns are enough.

Writes through `terminal.Output` alone, so that colours follow the terminal and text is made safe.
"""

from __future__ import annotations

import time

from dashctl import asking, safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from dashctl.demo.journal import Figures
    from dashctl.terminal import Output, Part

LAST_LINES_SHOWN_MAX = 8
_LINE_CHARS_MAX = 66
_LABEL_CHARS = 9


class Screen:
    """Lines with the seconds since the demo began; silent where one JSON object is wanted."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._began = time.monotonic()

    def title(self, agents: int) -> None:
        """What is about to happen."""
        if not self._out.as_json:
            self._out.line(("Dash demo", "bold"), f": {agents} agents, and dashd is killed half-way.")
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
            self._out.passing(f"         {done} of {total} tasks done")

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
        self._row(
            "checked",
            f"{figures.lines:,} lines, {figures.functions:,} functions, {figures.classes} classes, "
            f"{asking.plural(figures.remarks, 'remark')}",
        )
        self._row(
            "journal",
            f"{figures.completed} ok, {figures.failed} failed, {figures.lost} lost, "
            f"{figures.duplicated} run twice (as the agents wrote it)",
        )
        self._row(
            "kill -9",
            f"{asking.plural(adopted, 'live agent')} adopted; {figures.outlived} worked on right through it",
        )
        self._row("calls", ", ".join(f"{count} {tool}" for tool, count in calls.items()))
        out.line()

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
        self._out.line("  ", (label.ljust(_LABEL_CHARS), "dim"), text)

    def _failure(self, failure: dict[str, Any]) -> None:
        what = f"{safe.line(failure['item'])}: {safe.line(failure['cause'])}, by agent {failure['agent']}"
        self._row("failed", what)
        lines = safe.block(failure["last_lines"].strip()).split("\n")
        for line in lines[-LAST_LINES_SHOWN_MAX:]:
            self._out.line(" " * (_LABEL_CHARS + 2), ("| ", "dim"), ("", ""), line[:_LINE_CHARS_MAX].rstrip())


def _left(kept: Path | None) -> str:
    return f"Kept: {kept}" if kept else "Everything is cleaned up."
