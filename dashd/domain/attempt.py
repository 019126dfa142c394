"""One run of one task in one seat, and what its end means for the task.

claimed ──a──▶ starting ──b──▶ running ──c──▶ succeeded
   └───────────b'─────────────────┘ ├────d──▶ failed
   every open state: e ▶ cancelled, └────f──▶ lost ──g──▶ succeeded (late)
   d and f leave every open state

a  the program is being prepared             d  it ended badly, ran out of time, or could not start
b  the program runs (b': without preparation) e  it was stopped on request, or never began
c  it ended well                             f  nobody knows how it ended
g  its success came to light after it had been given up
"""

from dataclasses import dataclass
from typing import Literal

from .machine import Machine, arrow

MACHINE = Machine(
    "attempt",
    {
        "a": arrow("claimed", "starting"),
        "b": arrow("claimed starting", "running"),
        "c": arrow("claimed starting running", "succeeded"),
        "d": arrow("claimed starting running", "failed"),
        "e": arrow("claimed starting running", "cancelled"),
        "f": arrow("claimed starting running", "lost"),
        "g": arrow("lost", "succeeded"),
    },
    frozenset({"succeeded", "failed", "cancelled", "lost"}),
)
OPEN = frozenset({"claimed", "starting", "running"})

Stop = Literal["cancel", "requeue", "timeout", "kill"]
"""Why an attempt was told to stop: its task is cancelled, given back, over time, or its agent is ended."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, as the driver read it."""

    state: Literal["succeeded", "failed", "lost", "never"]
    """never: nothing was executed, so nothing counts."""
    reason: str
    """A sentence for a person: `exit code 2`, `ran longer than 300 s`."""
    retry: bool = True
    """Another attempt might fare better."""
    result: str = ""
    result_cut: bool = False
    """`result` is only the end of what was returned."""
    output_dropped: int = 0
    """Bytes that were printed and not kept: past the bound, or the disk was full."""
    exit_code: int | None = None
    exit_signal: int | None = None
    cpu_ms: int | None = None
    rss_max_kib: int | None = None


UNLAUNCHED = "dashd went away before it started"
"""The reason of one that dashd had begun to launch, and nobody else has refused."""
KILLED = 9
"""The signal that a program does not send itself: somebody else ended it, and it had no say."""


def leaves_session(state: str, stop: str | None, exit_signal: int | None) -> bool:
    """Whether the next attempt goes on in the session of one that ended like this, and begins no fresh one.

    It does where a program was killed, or nobody knows what became of it: what its tools have done is then in
    the session alone, and a fresh one would do it again. One that failed, crashed by itself or was told to
    stop left nothing to go on with.
    """
    return stop is None and (state == "lost" or (state == "failed" and exit_signal == KILLED))


def end_state(ending: Ending, stop: Stop | None) -> str:
    """The attempt's last state. A success counts even where a stop had been asked for: the work is done."""
    if ending.state == "succeeded":
        return "succeeded"
    if stop in ("cancel", "requeue", "kill") or ending.state == "never":
        return "cancelled"
    return "lost" if ending.state == "lost" and stop is None else "failed"
