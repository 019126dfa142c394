"""`python -m tests.bench [--quick] [--folder F] [NAME …]`: one JSON line a figure, the load on stderr."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from . import agents, bounds, claim, console, fanout, jail, measure, placement, proxy, rpc, still, writers
from .bed import Bed
from .measure import Effort, Figure

Subject = Callable[[Bed], Iterator[Figure]]
SUBJECTS: dict[str, Subject] = {
    "rpc": rpc.run,
    "writers": writers.run,
    "claim": claim.run,
    "create": agents.create,
    "trivial": agents.trivial,
    "start": agents.start,
    "fanout": fanout.run,
    "idle": still.idle,
    "live": still.live,
    "bounds": bounds.run,
    "jail": jail.start,
    "console": console.run,
    "placement": placement.run,
    "restart": still.restart,
    "added": proxy.added,
    "streams": proxy.many_streams,
    "failover": proxy.failover,
    "starvation": proxy.starvation,
}
FOLDER = "/var/tmp" if os.access("/var/tmp", os.W_OK) else tempfile.gettempdir()
"""On a disk; /tmp may be memory, where a commit costs nothing."""
QUICK = Effort(rounds=5, part=0.5, still_s=10.0)


def main() -> int:
    """Runs the subjects named, or all."""
    parser = argparse.ArgumentParser(prog="./run bench", description="The figures, one JSON line each.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and idle things watched for 10 s")
    parser.add_argument(
        "--folder", default=FOLDER, help="where to work: on a real disk (default: %(default)s)"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SUBJECTS))
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(SUBJECTS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}")
    with tempfile.TemporaryDirectory(prefix="dash-bench-", dir=arguments.folder) as folder:
        bed = Bed(Path(folder), QUICK if arguments.quick else Effort())
        for name in arguments.names or SUBJECTS:
            sys.stderr.write(f"{name} (load {measure.load()})\n")
            for figure in SUBJECTS[name](bed):
                print(figure.line(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
