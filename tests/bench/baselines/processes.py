"""Starting programs with nothing around them: `trio.run_process`, and `posix_spawn`."""

import os
import time
from collections.abc import Sequence

import trio


def run_all(argv: Sequence[str], count: int) -> float:
    """Runs the program `count` times at once to its end, under trio; the seconds that took."""

    async def main() -> float:
        begun = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(trio.run_process, list(argv))
        return time.perf_counter() - begun

    return trio.run(main)


def spawn_all(argv: Sequence[str], count: int) -> float:
    """Starts the program `count` times and ends it again; the seconds that the starts took."""
    begun = time.perf_counter()
    pids = [os.posix_spawnp(argv[0], list(argv), os.environ) for _ in range(count)]
    took = time.perf_counter() - begun
    for pid in pids:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    return took
