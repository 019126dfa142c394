"""Figures and how they are taken: interleaved rounds, medians of per-round ratios, CPU by the kernel's count.

Wall time of a single call swings with the neighbours of a virtual machine; a ratio of two things measured in
the same round hardly does, and CPU per operation does least.
"""

import operator
import os
import random
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")
_COMPARE = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, "==": operator.eq}


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of output."""

    name: str
    value: float | None
    unit: str
    baseline: float | None
    ratio: float | None
    goal: str
    """`ratio <= 1.2` or `value < 20`; empty for a figure that only explains another."""
    met: bool | None
    why: str = ""
    """Why there is no value."""

    def line(self) -> str:
        """The figure as one JSON object."""
        return msgspec.json.encode(self).decode()


@dataclass(frozen=True)
class Effort:
    """How much is done for each figure."""

    rounds: int = 9
    part: float = 1.0
    """Of the full number of operations in a round."""
    still_s: float = 60.0
    """How long something idle is watched."""
    peers: bool = True
    """Whether programs that are not ours may be installed to compare with."""

    def count(self, full: int, *, least: int = 1) -> int:
        """How many operations, where the full measurement makes `full`."""
        return max(least, round(full * self.part))


def figure(
    name: str,
    value: float,
    unit: str,
    *,
    goal: str,
    baseline: float | None = None,
    ratio: float | None = None,
) -> Figure:
    """A figure held against its goal; the ratio is value / baseline unless a better one is given."""
    if ratio is None and baseline:
        ratio = value / baseline
    return Figure(
        name, _short(value), unit, _short(baseline), _short(ratio), goal, _judge(goal, value, ratio)
    )


def compared(name: str, unit: str, goal: str, pairs: Sequence[tuple[float, float]]) -> Figure:
    """A figure from rounds of (ours, baseline): medians, and the median of the rounds' own ratios.

    A round in which either was too small for the kernel to count says nothing; without any other round
    there is no figure.
    """
    counted = [(ours, theirs) for ours, theirs in pairs if ours > 0 and theirs > 0]
    if not counted:
        return missing(name, unit, goal, "too little was done for it to be measured")
    return figure(
        name,
        statistics.median(ours for ours, _ in counted),
        unit,
        goal=goal,
        baseline=statistics.median(theirs for _, theirs in counted),
        ratio=statistics.median(ours / theirs for ours, theirs in counted),
    )


def missing(name: str, unit: str, goal: str, why: str) -> Figure:
    """A figure that could not be taken."""
    return Figure(name, None, unit, None, None, goal, None, why)


def interleave(rounds: int, variants: Mapping[str, Callable[[], T]]) -> list[dict[str, T]]:
    """What each variant returned, by round: all run once, in a new order. A first round is thrown away."""
    found: list[dict[str, T]] = []
    for _ in range(rounds + 1 if rounds > 1 else 1):
        names = random.sample(sorted(variants), len(variants))
        found.append({name: variants[name]() for name in names})
    return found[1:] if rounds > 1 else found


def pairs(found: Sequence[Mapping[str, float]], ours: str, baseline: str) -> list[tuple[float, float]]:
    """The rounds of `interleave` as `compared` takes them."""
    return [(each[ours], each[baseline]) for each in found]


def p50_us(call: Callable[[], object], count: int) -> float:
    """The median wall time of one call, in microseconds."""
    return statistics.median(seconds(call) for _ in range(count)) * 1e6


def seconds(call: Callable[[], object]) -> float:
    """The wall time of one call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of all values are."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def cpu_us(pid: int) -> float:
    """CPU time of a process so far: all threads, also those that ended (which /proc/PID/task forgets)."""
    return time.clock_gettime_ns(_cpu_clock(pid)) / 1e3


def children_cpu_ms() -> float:
    """CPU time of the children that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1e3


def _cpu_clock(pid: int) -> int:
    """The clock id of another process's CPU time (clock_getcpuclockid(3))."""
    return (~pid << 3) | 2


def wakeups(pid: int) -> dict[str, int]:
    """How often each thread of a process has been put on a CPU so far, by the scheduler's count."""
    counted = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return {path.parent.name: int(path.read_text().split()[2]) for path in counted}


def woken(before: Mapping[str, int], after: Mapping[str, int]) -> int:
    """How many wake-ups lie between two counts; a thread that has ended meanwhile woke up for that."""
    went_on = sum(count - before.get(thread, 0) for thread, count in after.items())
    return went_on + len(before.keys() - after.keys())


def rss_kib(pid: int) -> int:
    """Resident memory of a process."""
    return _status(pid, "VmRSS")


def private_kib(pid: int) -> int:
    """Resident memory that it shares with no other process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def load() -> str:
    """The machine's load, to be told beside figures."""
    return " ".join(f"{each:.1f}" for each in os.getloadavg())


def _status(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def _judge(goal: str, value: float, ratio: float | None) -> bool | None:
    if not goal:
        return None
    subject, sign, limit = goal.split()
    found = {"value": value, "ratio": ratio}[subject]
    return found is not None and _COMPARE[sign](found, float(limit))


def _short(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.4g}")
