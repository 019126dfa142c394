"""What an agent returns, in one shape whatever its program: found in its last message, size-capped."""

import itertools
from collections.abc import Iterator

import msgspec

from dashd.domain import surrogates

RESULT_BYTES_MAX = 65_536
SUMMARY_CHARACTERS_MAX = 20_000
NAMES_MAX = 200
NAME_CHARACTERS_MAX = 150
FOUND_CHARACTERS_MAX = 256_000
"""The end of a message, where a result is looked for; a longer one is cut to a quarter of that anyway."""
CANDIDATES_MAX = 50
"""Places in one message where a result may begin; the last ones are looked at."""


class Result(msgspec.Struct):
    """What an agent returns."""

    summary: str
    files_changed: list[str] = msgspec.field(default_factory=list)
    tests: list[str] = msgspec.field(default_factory=list)
    follow_ups: list[str] = msgspec.field(default_factory=list)


def find(text: str) -> Result | None:
    """The result at the end of a message: one JSON object that begins a line, in a code fence or not.

    The work is bounded, whatever a model or a tool has written: dashd waits for it.
    """
    body = text.rstrip()
    body = body.removesuffix("```").rstrip() if body.endswith("```") else body
    if not body.endswith("}"):
        return None
    for at in reversed(list(itertools.islice(_begins(body), CANDIDATES_MAX))):
        try:  # the outermost first: objects may be nested in it
            return msgspec.json.decode(body[at:].encode("utf-8", "replace"), type=Result)
        except surrogates.UNREADABLE:
            continue
    return None


def _begins(body: str) -> Iterator[int]:
    """Where lines begin with a brace, the last one first."""
    first, end = max(0, len(body) - FOUND_CHARACTERS_MAX), len(body)
    while (at := body.rfind("{", first, end)) >= 0:
        end = body.rfind("\n", max(0, first - 1), at)
        if end < 0 and first:
            return  # the beginning of this line is not looked at
        line = body[end + 1 : at + 1].lstrip()
        if line.startswith("{"):
            yield at + 1 - len(line)
        if end < first:
            return


def encode(result: Result) -> tuple[str, bool]:
    """(the result as it is stored, whether something of it was cut)."""
    kept = Result(
        result.summary[:SUMMARY_CHARACTERS_MAX],
        _capped(result.files_changed),
        _capped(result.tests),
        _capped(result.follow_ups),
    )
    while len(data := msgspec.json.encode(kept)) > RESULT_BYTES_MAX:  # characters of many bytes
        kept = Result(kept.summary[: len(kept.summary) // 2], *_halved(kept))
    return data.decode(), kept != result


def _halved(result: Result) -> tuple[list[str], list[str], list[str]]:
    found = (result.files_changed, result.tests, result.follow_ups)
    first, second, third = (names[: len(names) // 2] for names in found)
    return first, second, third


def _capped(names: list[str]) -> list[str]:
    return [name[:NAME_CHARACTERS_MAX] for name in names[:NAMES_MAX]]
