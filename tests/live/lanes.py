"""What `./run live` runs: the files of live tests, some beside each other, and one line for all at last.

    python -m tests.live.lanes [ARGUMENTS OF PYTEST]

A file that is named is run by pytest alone, as often as there are rounds. Otherwise every file has a
process of its own; LANES of them work at once, since agents wait more than they work. What repeats itself
(ONCE) comes after the rounds and once, whatever their number. Files of figures come last and alone: theirs
are ratios to what is done by hand in the same run. A test whose program is not there is skipped: that is no
failure, but it is the last thing said before the sum. DASH_LIVE_ROUNDS and DASH_LIVE_LANES set other numbers.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import trio

from tests import tally

FOLDER = Path(__file__).parent
TOP = FOLDER.parents[1]
LANES = 4
ONCE = ("test_demo.py", "test_torture.py")
"""Torture has its own number of kills (DASH_TORTURE), and the demo is a story of all that the others ask."""
LONG = ("test_federation", "test_gateway", "test_openclaw", "test_torture")
"""These begin first, so that no lane works alone at the end: OpenClaw starts in ten seconds of a core."""
END_S_MAX = 60.0
"""For the fixtures of a pytest that was interrupted: they end all that their tests have started."""
NOTHING_RAN = 5
"""Pytest's exit code where `-k` and the like leave no test."""
NOT_INSTALLED = "not installed: "
_SKIPPED = re.compile(r"^SKIPPED \[(\d+)\] \S+: (.+)$", re.MULTILINE)


class Ran(NamedTuple):
    """What became of a pytest."""

    name: str
    code: int
    output: str
    seconds: float

    @property
    def good(self) -> bool:
        """Whether nothing failed in it."""
        return self.code in (0, NOTHING_RAN)

    @property
    def tally(self) -> tally.Tally | None:
        """Its counts; None where it died before it had any."""
        return tally.read(self.output)

    @property
    def words(self) -> str:
        """A line about it."""
        counts = self.tally
        told = counts.line().strip("= ") if counts else f"ended without a summary (exit code {self.code})"
        return f"live: {self.name}: {told}"


def command(arguments: Sequence[str]) -> list[str]:
    """One pytest of live tests."""
    return [sys.executable, "-m", "pytest", "-m", "live", *arguments]


def names_files(arguments: Sequence[str]) -> bool:
    """Whether the arguments say which files they are about."""
    return any(each.startswith("tests/") or ".py" in each for each in arguments)


class Found(NamedTuple):
    """The files of tests, by how they are run."""

    rounds: list[str]
    """Beside each other, as often as there are rounds."""
    once: list[str]
    """Beside each other, once."""
    alone: list[str]
    """Beside nothing, once."""


def found_in(folder: Path) -> Found:
    """Those that are there; what takes long is first."""
    names = sorted((path.name for path in folder.glob("test_*.py")), key=_long_first)
    alone = [name for name in names if "figures" in name]
    once = [name for name in names if name in ONCE]
    return Found([name for name in names if name not in (*alone, *once)], once, alone)


def _long_first(name: str) -> tuple[bool, str]:
    return not name.startswith(LONG), name


async def run(name: str, arguments: Sequence[str], folder: Path) -> Ran:
    """One pytest to its end; cancelled, it is interrupted and may still put away what it has made."""
    began = time.monotonic()

    async def end(process: trio.Process) -> None:
        process.terminate()  # see conftest.py
        with trio.move_on_after(END_S_MAX):
            await process.wait()
        process.kill()

    with (folder / f"{name}-{began}").open("w+b") as output:
        done = await trio.run_process(
            command(arguments), stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, cwd=TOP,
            deliver_cancel=end, start_new_session=True,  # who presses Ctrl-C interrupts it once, not twice
        )  # fmt: skip
        output.seek(0)
        text = output.read().decode(errors="replace")
    return Ran(name, done.returncode, text, time.monotonic() - began)


async def all_rounds(folder: Path, arguments: Sequence[str], rounds: int, lanes: int) -> list[Ran]:
    """Each file as often as it is to be run; says of each what became of it, and all of it where it failed.

    A lane that is free begins with the next round: nobody waits for the last file of one.
    """
    ended: list[Ran] = []
    began = time.monotonic()

    async def lane(jobs: Iterator[tuple[str, str]]) -> None:
        for name, label in jobs:
            ran = await run(name, [f"tests/live/{name}", *arguments], folder)
            ended.append(ran)
            say(f"{ran.words}{label}" if ran.good else f"{ran.output}\n{ran.words}{label}")

    async def all_of(jobs: Iterator[tuple[str, str]], width: int) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(width):
                nursery.start_soon(lane, jobs)

    found = found_in(FOLDER)
    if rounds == 1:
        await all_of(((name, "") for name in (*found.rounds, *found.once)), lanes)
    else:
        labels = [f", round {number} of {rounds}" for number in range(1, rounds + 1)]
        await all_of(((name, label) for label in labels for name in found.rounds), lanes)
        say(f"live: {rounds} rounds took {time.monotonic() - began:.0f} s")
        await all_of(((name, "") for name in found.once), lanes)
    await all_of(((name, "") for name in found.alone), 1)
    return ended


def skipped(ended: Sequence[Ran]) -> Counter[str]:
    """How many tests were skipped, by why."""
    found: Counter[str] = Counter()
    for ran in ended:
        for count, why in _SKIPPED.findall(ran.output):
            found[why] += int(count)
    return found


def last_words(ended: Sequence[Ran], seconds: float) -> Iterator[str]:
    """What was skipped and why, what failed, and the sum as pytest's last line has it."""
    for why, count in skipped(ended).items():
        what = "NOT INSTALLED" if why.startswith(NOT_INSTALLED) else "skipped"
        yield f"live: {what}: {count} tests did not run: {why.removeprefix(NOT_INSTALLED)}"
    yield from (f"live: FAILED: {ran.name}" for ran in ended if not ran.good)
    yield tally.total((ran.tally for ran in ended), seconds).line()


def exit_code(ended: Sequence[Ran]) -> int:
    """Pytest's of the first that failed, or that no test was chosen at all."""
    codes = [ran.code for ran in ended]
    return next((code for code in codes if code not in (0, NOTHING_RAN)), 0 if 0 in codes else NOTHING_RAN)


async def rounds_of(arguments: Sequence[str], rounds: int, lanes: int) -> int:
    """All of them; the exit code."""
    began = time.monotonic()
    ended: list[Ran] = []
    with tempfile.TemporaryDirectory(prefix="dash-live-") as folder, trio.CancelScope() as scope:
        os.environ.setdefault("DASH_LIVE_COMPILED", str(Path(folder) / "compiled"))  # see conftest.py

        async def interrupted() -> None:
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    scope.cancel(reason="interrupted")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupted)
            ended = await all_rounds(Path(folder), arguments, rounds, lanes)
            nursery.cancel_scope.cancel(reason="all of it has run")
    if scope.cancelled_caught:
        return 128 + signal.SIGINT
    for line in last_words(ended, time.monotonic() - began):
        say(line)
    return exit_code(ended)


def say(text: str) -> None:
    """A line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Runs what the arguments ask for; the exit code."""
    rounds = max(1, int(os.environ.get("DASH_LIVE_ROUNDS") or 1))
    lanes = max(1, int(os.environ.get("DASH_LIVE_LANES") or LANES))
    if not names_files(arguments):
        return trio.run(rounds_of, arguments, rounds, lanes)
    codes = [subprocess.run(command(arguments), cwd=TOP, check=False).returncode for _ in range(rounds)]
    return max(codes, key=abs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
