"""How many terminal columns text takes, and cutting and wrapping by that measure.

`len` is not width: CJK and most emoji take two columns, combining marks none. The text has gone through
`safe` before, so there are no joiners or selectors that would make it depend on the terminal.
"""

from __future__ import annotations


def of(text: str) -> int:
    """Columns that `text`, one line, takes."""
    if text.isascii():
        return len(text)
    return sum(map(_of_character, text))


def cut(text: str, columns: int, ellipsis: str = "…") -> str:
    """`text` in at most `columns` columns; where something was left out it ends in `ellipsis`."""
    if of(text) <= columns:
        return text
    room, kept = columns - of(ellipsis), []
    for character in text:
        room -= _of_character(character)
        if room < 0:
            break
        kept.append(character)
    return ("".join(kept).rstrip() + ellipsis)[: max(columns, 0)]


def wrap(text: str, columns: int) -> list[str]:
    """`text`, one line, as lines of at most `columns` columns, broken between words where possible."""
    lines = [""]
    for word in text.split(" "):
        if of(lines[-1]) + 1 + of(word) <= columns and lines[-1]:
            lines[-1] += f" {word}"
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if of(lines[-1]) + _of_character(character) > columns and lines[-1]:
                lines.append("")
            lines[-1] += character
    return lines


def _of_character(character: str) -> int:
    if character.isascii():
        return 1
    import unicodedata

    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
