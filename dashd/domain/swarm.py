"""What a swarm can be, and how its end is judged.

creating ──a──▶ active ◀──b/c──▶ paused
                  │                │
                  ├───d──▶ completed (some task completed: outcome complete or partial)
                  ├───e──▶ failed    (no task completed: outcome none)
                  └───f──▶ destroyed (on request, once its last process is gone)
d, e and f leave active and paused; f leaves creating too
"""

from collections.abc import Mapping

from .machine import Machine, arrow

MACHINE = Machine(
    "swarm",
    {
        "a": arrow("creating", "active"),
        "b": arrow("active", "paused"),
        "c": arrow("paused", "active"),
        "d": arrow("active paused", "completed"),
        "e": arrow("active paused", "failed"),
        "f": arrow("creating active paused", "destroyed"),
    },
    frozenset({"completed", "failed", "destroyed"}),
)
OPEN = frozenset({"creating", "active", "paused"})
ENDED = MACHINE.ended


def verdict(tasks: Mapping[str, int]) -> tuple[str, str]:
    """(state, outcome) of a swarm whose tasks have all ended; `tasks` counts them by state.

    Partial is called partial: `complete` needs every task completed.
    """
    completed = tasks.get("completed", 0)
    if completed == 0:
        return "failed", "none"
    return "completed", "complete" if completed == sum(tasks.values()) else "partial"
