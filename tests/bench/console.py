"""What a person waits for: `dashctl status` from a cold start, beside an interpreter that does nothing."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.tidy import TOP

from . import measure
from .bed import Bed
from .measure import Figure

ENTRY = "import sys; from dashctl.__main__ import main; sys.exit(main())"
"""What the installed script runs."""
NOTHING = (sys.executable, "-I", "-S", "-c", "pass")


def run(bed: Bed) -> Iterator[Figure]:
    """Wall time and CPU time of the whole command."""
    count = bed.effort.count(15)
    with bed.dashd() as dashd:
        variants = {
            "dashctl": _timed([*dashctl(), "status"], dashd.environ, count),
            "nothing": _timed(NOTHING, dashd.environ, count),
        }
        found = measure.interleave(bed.effort.rounds, variants)
    goal = "ratio <= 3"
    for place, name, unit in ((0, "console.status_wall", "ms"), (1, "console.status_cpu", "ms CPU")):
        pairs = [(each["dashctl"][place], each["nothing"][place]) for each in found]
        yield measure.compared(name, unit, goal, pairs)


def dashctl() -> list[str]:
    """The command as it is installed, or from the checkout where it is not."""
    installed = Path(sys.executable).with_name("dashctl")
    return [str(installed)] if installed.exists() else [sys.executable, "-c", ENTRY]


def _timed(argv: Sequence[str], environ: Mapping[str, str], count: int) -> Callable[[], tuple[float, float]]:
    """Medians of (wall, CPU) milliseconds of a child process."""

    def once() -> tuple[float, float]:
        walls, cpus = [], []
        for _ in range(count):
            cpu = measure.children_cpu_ms()
            took = measure.seconds(
                lambda: subprocess.run(argv, cwd=TOP, env=environ, check=True, stdout=subprocess.DEVNULL)
            )
            walls.append(took * 1e3)
            cpus.append(measure.children_cpu_ms() - cpu)
        return measure.percentile(walls, 0.5), measure.percentile(cpus, 0.5)

    return once
