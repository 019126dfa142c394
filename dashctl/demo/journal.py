"""What the agents wrote down themselves, counted; and whether Dash's report says the same.

A journal is JSON Lines: `start` and `end` from agents, `killed` and `restarted` from the demo, each with the
machine's monotonic time. No figure here comes from Dash.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    Entry = dict[str, Any]

_COUNTED = ("lines", "functions", "classes", "remarks")


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of the items that were handed out."""

    agents: int
    completed: int
    """Items that an agent has done with, whatever it found."""
    unfinished: frozenset[str]
    """Items that were begun, or not even that, and never done with."""
    broken: frozenset[str]
    """Items that were found not to compile."""
    duplicated: int
    """Runs of an item beyond the first."""
    restarts: int
    outlived: int
    """Agents that were at work when dashd was killed and went on until it was back."""
    duration_s: float
    """From the first start to the last end."""
    worked_on: Mapping[str, str]
    """The agent of each item."""
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
    """The figures of `items`, which are what was handed out, each once.

    A step that an agent takes again is the same run; a run is one process of an agent.
    """
    starts = [entry for entry in entries if entry["what"] == "start"]
    ends = [entry for entry in entries if entry["what"] == "end"]
    last = {end["item"]: end for end in ends}
    runs = {(start["item"], start["agent"], start["run"]) for start in starts}
    killed = [entry["at"] for entry in entries if entry["what"] == "killed"]
    restarted = [entry["at"] for entry in entries if entry["what"] == "restarted"]
    instants = [entry["at"] for entry in (*starts, *ends)]
    return Figures(
        agents=len({start["agent"] for start in starts}),
        completed=len(last),
        unfinished=frozenset(set(items) - set(last)),
        broken=frozenset(item for item, end in last.items() if not end["ok"]),
        duplicated=len(runs) - len({item for item, _, _ in runs}),
        restarts=len(restarted),
        outlived=_outlived(starts, ends, killed[0], restarted[0]) if killed and restarted else 0,
        duration_s=round(max(instants) - min(instants), 3) if instants else 0.0,
        worked_on={start["item"]: start["agent"] for start in starts},
        **{name: sum(end[name] for end in last.values()) for name in _COUNTED},
    )


def _outlived(starts: Sequence[Entry], ends: Sequence[Entry], killed_at: float, restarted_at: float) -> int:
    begun = {start["run"] for start in starts if start["at"] < killed_at}
    return len(begun & {end["run"] for end in ends if end["at"] > restarted_at})


def given_up(report: Entry) -> frozenset[str]:
    """The items of which Dash's report says that they failed."""
    return frozenset(failure["item"] for failure in report.get("failures", ()))


def disagreements(figures: Figures, report: Entry) -> list[str]:
    """Where Dash's report says something else than the agents' journal; empty if nowhere."""
    tasks, attempts = report["tasks"], report["attempts"]
    unfinished = len(figures.unfinished)
    said = {
        "completed tasks": (tasks.get("completed", 0), figures.completed),
        "failed tasks": (tasks.get("dead", 0), unfinished),
        "all tasks": (tasks["total"], figures.completed + unfinished),
        "runs": (attempts["total"], figures.completed + unfinished + figures.duplicated),
        "lost runs": (attempts.get("lost", 0), 0),
        "agents": (report["agents"]["total"], figures.agents),
    }
    return [
        f"{what}: the report says {theirs}, the agents' journal {ours}"
        for what, (theirs, ours) in said.items()
        if theirs != ours
    ]
