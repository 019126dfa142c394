"""What a seat can be.

idle ──a──▶ spawning ──b──▶ running ◀──c/d──▶ paused
 ▲ ▲            │              │                 │
 │ └─────e──────┴──────────────┴─────────────────┘   its attempt ended, the next task may come
 └──f── failed, killed, completed                    its task was made ready again
any open ──g──▶ completed | failed | killed

a  claimed for a task     b  the program runs (or b': idle -> running is impossible)
c  the kernel has stopped its tree    d  and let it go on
e  seat freed             f  reopened     g  nothing is left for it, its last task is dead, or it was killed
"""

from .machine import Machine, arrow

_open = "idle spawning running paused"
MACHINE = Machine(
    "agent",
    {
        "a": arrow("idle", "spawning"),
        "b": arrow("spawning", "running"),
        "c": arrow("running", "paused"),
        "d": arrow("paused", "running"),
        "e": arrow("spawning running paused", "idle"),
        "f": arrow("completed failed killed", "idle"),
        "g": arrow(_open, "completed"),
        "g'": arrow(_open, "failed"),
        'g"': arrow(_open, "killed"),
    },
    frozenset({"completed", "failed", "killed"}),
)
OPEN = frozenset(_open.split())
WORKING = frozenset({"spawning", "running", "paused"})


def end_state(last_task_state: str | None) -> str:
    """How a seat ends when nothing is left for it: `failed` where the last thing it did is dead."""
    return "failed" if last_task_state == "dead" else "completed"
