"""What is left to do, as an agent has said it: in its result, or in a list with boxes. Pure, bounded."""

import re
from collections.abc import Iterable

import msgspec

from . import surrogates

TODOS_MAX = 30
TODO_CHARACTERS_MAX = 200
LOOKED_CHARACTERS_MAX = 100_000
"""The end of a text, where a list is looked for."""
_BOX = re.compile(r"[ \t]{0,40}(?:[-*+]|[0-9]{1,4}[.)])[ \t]{1,4}\[([ xX])\][ \t](.*)")


class _Result(msgspec.Struct):
    follow_ups: list[str] = msgspec.field(default_factory=list)


def follow_ups(result: str) -> list[str]:
    """Those that a result names, as it is stored; none of what is no such result."""
    try:
        return msgspec.json.decode(result.encode("utf-8", "replace"), type=_Result).follow_ups
    except surrogates.UNREADABLE:
        return []


def unticked(text: str) -> list[str] | None:
    """The items without a tick of the lists in a text (`- [ ] item`); None where it has no such list."""
    boxes = [found for each in text[-LOOKED_CHARACTERS_MAX:].split("\n") if (found := _BOX.match(each))]
    return [found[2].strip() for found in boxes if found[1] == " "] if boxes else None


def merged(*lists: Iterable[str]) -> tuple[list[str], int]:
    """(each of them once, on one line and short; how many more there are)."""
    said = {" ".join(each.split()): None for found in lists for each in found}
    said.pop("", None)
    return [_short(each) for each in list(said)[:TODOS_MAX]], max(0, len(said) - TODOS_MAX)


def _short(todo: str) -> str:
    return todo if len(todo) <= TODO_CHARACTERS_MAX else f"{todo[:TODO_CHARACTERS_MAX]} […cut]"
