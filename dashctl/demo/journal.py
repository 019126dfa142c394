"""What the agents wrote down themselves, counted; and whether Dash's report says the same.

A journal is JSON Lines: `start` and `end` from agents, `killed` and `restarted` from the demo, each with the
machine's monotonic time. No figure here comes from Dash.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of the items that were handed out."""

    agents: int
    completed: int
    failed: int
    lost: int
    """Items without an end: never started, or started and never heard of again."""
    duplicated: int
    """Starts beyond the first of an item."""
    restarts: int
    outlived: int
    """Agents that were at work when dashd was killed and went on until it was back."""
    duration_s: float
    """From the first start to the last end."""
    lines: int
    functions: int
    classes: int
    remarks: int


def note(path: Path, what: str, pid: int) -> None:
    """Appends what the demo itself does to dashd."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"what": what, "pid": pid, "at": time.monotonic()}) + "\n")


def read(path: Path) -> list[Entry]:
    """Every entry so far, in the order of writing."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def count(entries: Sequence[Entry], items: Sequence[str]) -> Figures:
    """The figures of `items`, which are what was handed out, each once."""
    starts = [entry for entry in entries if entry["what"] == "start"]
    ends = [entry for entry in entries if entry["what"] == "end"]
    good = [end for end in ends if end["ok"]]
    ended = {end["item"] for end in ends}
    started = Counter(start["item"] for start in starts)
    killed = [entry["at"] for entry in entries if entry["what"] == "killed"]
    restarted = [entry["at"] for entry in entries if entry["what"] == "restarted"]
    instants = [entry["at"] for entry in (*starts, *ends)]
    return Figures(
        agents=len({start["agent"] for start in starts}),
        completed=len({end["item"] for end in good}),
        failed=len(ended - {end["item"] for end in good}),
        lost=len(set(items) - ended),
        duplicated=sum(times - 1 for times in started.values()),
        restarts=len(restarted),
        outlived=_outlived(starts, ends, killed[0], restarted[0]) if killed and restarted else 0,
        duration_s=round(max(instants) - min(instants), 3) if instants else 0.0,
        **{name: sum(end[name] for end in good) for name in ("lines", "functions", "classes", "remarks")},
    )


def _outlived(starts: Sequence[Entry], ends: Sequence[Entry], killed_at: float, restarted_at: float) -> int:
    begun = {start["pid"] for start in starts if start["at"] < killed_at}
    return len(begun & {end["pid"] for end in ends if end["at"] > restarted_at})


def disagreements(figures: Figures, report: Entry) -> list[str]:
    """Where Dash's report says something else than the agents' journal; empty if nowhere."""
    tasks, attempts = report["tasks"], report["attempts"]
    starts = figures.completed + figures.failed + figures.duplicated
    said = {
        "completed tasks": (tasks.get("completed", 0), figures.completed),
        "failed tasks": (tasks.get("dead", 0), figures.failed),
        "all tasks": (tasks["total"], figures.completed + figures.failed + figures.lost),
        "runs": (attempts["total"], starts),
        "lost runs": (attempts.get("lost", 0), figures.lost),
        "agents": (report["agents"]["total"], figures.agents),
    }
    return [
        f"{what}: the report says {theirs}, the agents' journal {ours}"
        for what, (theirs, ours) in said.items()
        if theirs != ours
    ]
