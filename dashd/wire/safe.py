"""Makes text that others wrote harmless for a terminal, a log and a model (invariant 12). The only place.

Escape sequences go as a whole, characters that are invisible or reorder text are dropped, every other
control character becomes U+FFFD. What remains is printable, plus newline and tab in blocks. Nothing here
decides about colour: styles are added after this, by `dashctl.terminal`. The standard library alone and
quick to load, because `dashctl` needs it at once; so everything that prints may import it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_ESCAPE_TEXT_MAX = 4_096
_SEQUENCE = rf"""
      (?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]             # CSI: colours, cursor
    | (?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])          # OSC, DCS and their like: titles, links, clipboard
      [^\x07\x1b\x9c]{{0,{_ESCAPE_TEXT_MAX}}}(?:\x07|\x1b\\|\x9c)
    | \x1b[ -/]*[0-OQ-WYZ\\`-~]                    # all shorter ones
"""
_INTRODUCERS = "\x1b\x90\x98\x9b\x9d\x9e\x9f"
_OPEN_MAX = 256
# Printable by Unicode's letter, yet nothing to see: fillers, joiners and variation selectors.
_INVISIBLE = frozenset(map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0)))
_SELECTORS = ((0xFE00, 0xFE0F), (0x180B, 0x180F), (0xE0100, 0xE01EF))
_MARKS_MAX = 4


def line(text: str) -> str:
    """`text` as one line: line ends and tabs become single spaces."""
    if text.isascii() and text.isprintable():
        return text
    return block(text).replace("\n", " ").replace("\t", " ")


def block(text: str) -> str:
    """`text` with its lines kept; a carriage return, as progress bars print it, starts a new line."""
    if text.isascii() and text.isprintable():
        return text
    # Compiled on first use: most commands show nothing that needs it.
    import re

    text = re.sub(_SEQUENCE, "", text, flags=re.VERBOSE).replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(_characters(text))


def value(found: Any) -> Any:  # noqa: ANN401
    """The same JSON value with every text in it, names included, made harmless like `block`."""
    if isinstance(found, str):
        return block(found)
    if isinstance(found, dict):
        return {block(str(name)): value(inner) for name, inner in found.items()}
    if isinstance(found, list | tuple):
        return [value(inner) for inner in found]
    return found


def as_json(found: object, *, indent: int | None = None, compact: bool = False) -> str:
    """JSON in printable ASCII: nothing is lost, and nothing in it can command a terminal or forge a line.

    What has no form in JSON is written as text.
    """
    import json

    text = json.dumps(found, indent=indent, separators=(",", ":") if compact else None, default=str)
    # JSON in ASCII has no control character but this one, which it need not escape.
    return text.replace("\x7f", "\\u007f")


def split_open_sequence(text: str) -> tuple[str, str]:
    """`text` cut before an escape sequence that its end may have cut: `(ready, keep for the next piece)`."""
    at = max(map(text.rfind, _INTRODUCERS))
    tail = text[at:] if at >= 0 else ""
    if not tail or len(tail) > _OPEN_MAX or "\n" in tail:
        return text, ""
    import re

    return (text, "") if re.match(_SEQUENCE, tail, flags=re.VERBOSE) else (text[:at], tail)


def _characters(text: str) -> Iterator[str]:
    import unicodedata

    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category == "Cf" or marks > _MARKS_MAX or _hidden(character):
            continue
        if character in "\n\t":
            yield character
        elif category in ("Zl", "Zp"):
            yield "\n"
        elif category == "Zs":
            yield " "
        else:
            yield character if character.isprintable() else "\ufffd"


def _hidden(character: str) -> bool:
    return character in _INVISIBLE or any(low <= ord(character) <= high for low, high in _SELECTORS)
