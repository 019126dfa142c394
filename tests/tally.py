"""Pytest's summary lines: read, added up, and written again in the same form. It needs Python alone.

python3 -m tests.tally FILE...      one line for all; a FILE without a summary counts as an error
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

WORDS = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", "warning", "error")
"""In pytest's order, without the s of the last two."""
WIDTH = 80
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_LINE = re.compile(r"=*\s*((?:\d+ [a-z]+(?:, )?)+|no tests ran) in (\d+\.\d+)s(?: \([\d:]+\))?\s*=*")


class Tally(NamedTuple):
    """How many tests came out how, by word, and how long all of it took."""

    counts: Counter[str]
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether any of them did."""
        return bool(self.counts["failed"] or self.counts["error"])

    def line(self) -> str:
        """As pytest ends its output."""
        told = ", ".join(_counted(self.counts[word], word) for word in WORDS if self.counts[word])
        minutes, seconds = divmod(round(self.seconds), 60)
        long = f" ({minutes // 60}:{minutes % 60:02}:{seconds:02})" if self.seconds >= 60 else ""
        return f" {told or 'no tests ran'} in {self.seconds:.2f}s{long} ".center(WIDTH, "=")


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'s' if word in ('warning', 'error') and count > 1 else ''}"


def read(output: str) -> Tally | None:
    """The last summary of an output of pytest; None where it never came to one."""
    for line in reversed(_COLOUR.sub("", output).splitlines()):
        if found := _LINE.fullmatch(line.strip()):
            counts: Counter[str] = Counter()
            for count, word in re.findall(r"(\d+) ([a-z]+)", found[1]):
                counts[word.rstrip("s") if word in ("warnings", "errors") else word] += int(count)
            return Tally(counts, float(found[2]))
    return None


def total(tallies: Iterable[Tally | None], seconds: float | None = None) -> Tally:
    """All of them as one: what never came to a summary is an error. `seconds` if they ran beside another."""
    counts: Counter[str] = Counter()
    spent = 0.0
    for each in tallies:
        counts += Counter(error=1) if each is None else each.counts
        spent += 0.0 if each is None else each.seconds
    return Tally(counts, spent if seconds is None else seconds)


def main(paths: list[str]) -> int:
    """Prints the sum; the exit code says whether anything failed."""
    found = total(read(Path(path).read_text(errors="replace")) for path in paths)
    sys.stdout.write(found.line() + "\n")
    return int(found.failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
