"""The stand-in provider, seen from outside: its own bill, and its outage.

dashd's stage (`dashd run --stage FOLDER`) writes the bill and looks for the outage; neither is asked of Dash,
so that its ledger can be held against something that is not its own word.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

MODEL = "offline"
FIRST, SECOND = "offline", "offline-b"
"""The two providers that serve the stand-in; calls go to the second where the first is down."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What the two would ask to be paid, in nano-dollars."""

    total: int
    by_item: Counter[str]
    """By what a call was about: a provider knows no agents."""
    answers: Counter[str]
    """How many, by provider."""


def make(stage: Path) -> None:
    """Makes the folder of a stage."""
    (stage / "down").mkdir(parents=True)


def go_down(stage: Path) -> None:
    """Whoever calls the first provider from now on finds nobody."""
    (stage / "down" / FIRST).touch()


def come_back(stage: Path) -> None:
    """The first provider answers again."""
    (stage / "down" / FIRST).unlink()


def read_bill(stage: Path) -> Bill:
    """The bill so far."""
    path = stage / "bill.jsonl"
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    by_item: Counter[str] = Counter()
    for line in lines:
        by_item[line["item"]] += line["nusd"]
    return Bill(by_item.total(), by_item, Counter(line["provider"] for line in lines))
