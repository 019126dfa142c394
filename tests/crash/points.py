"""The named points, what each must lead to, and how they are dealt out to stories.

A point of dashd ends it, and nothing else: no attempt is lost. A point of the fork server or of a holder ends
that, and what becomes of the launch it travels with is known beforehand.
"""

import random
from dataclasses import dataclass
from typing import Literal

from dashd import crash_points

Fate = Literal["never", "lost", "none"]

OF_LAUNCH: dict[str, Fate] = {
    "forkserver.before_folder": "never",
    "forkserver.after_folder": "never",
    "forkserver.after_bind": "never",
    "forkserver.after_fork": "none",
    "forkserver.after_answer": "none",
    "holder.born": "never",
    "holder.before_begin": "never",
    "holder.after_begin": "lost",
    "holder.after_fork": "lost",
    "holder.after_exec": "lost",
    "holder.after_adopt": "lost",
    "holder.before_exit": "lost",
    "holder.exit_tmp": "lost",
    "holder.after_exit": "none",
    "holder.before_notify": "none",
}
"""What becomes of the launch. `holder.before_kill` needs a lease that runs out, and has a test of its own."""

FRESH = (
    *(
        point
        for point in crash_points.OWN
        if point.startswith(("writer.", "scheduler.", "run.", "output.")) and point != "run.before_adopt"
    ),
    *OF_LAUNCH,
)
"""Reached by new work."""
RETURN = (
    *(point for point in crash_points.OWN if point.startswith(("recovery.", "app."))),
    "run.before_adopt",
    "run.after_adopt",
    "run.after_started",
    "writer.before_commit",
    "writer.after_commit",
    *crash_points.BOOT,
)
"""Reached by a start that finds live agents."""
ONCE = (
    *(point for point in RETURN if point.startswith(("recovery.", "app.")) and not point.endswith("_adopt")),
    "scheduler.after_claim",
    *crash_points.BOOT,
)
"""Reached at least once, but perhaps not more often."""


@dataclass(frozen=True)
class Plan:
    """What a story does: a life with each of these points, then one that ends at a random instant."""

    seed: int
    lives: tuple[str, ...]
    """Each POINT:N, or `random`."""


def plan(seed: int) -> Plan:
    """The story of this seed; seeds in a row go round all points."""
    chance = random.Random(seed)
    fresh, back = len(FRESH), len(RETURN)
    lives = (FRESH[2 * seed % fresh], RETURN[seed % back], FRESH[(2 * seed + 1) % fresh])
    return Plan(seed, (*(f"{point}:{_number(point, chance)}" for point in lives), "random"))


def _number(point: str, chance: random.Random) -> int:
    if point in ONCE:
        return 1
    if point.startswith("writer."):
        return chance.randint(1, 10)
    return chance.randint(1, 2 if point.endswith(("recovery.after_adopt", "before_adopt")) else 3)
