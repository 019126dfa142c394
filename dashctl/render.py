"""Tables and blocks of facts, as aligned text.

A table shrinks its flexible columns to the terminal, then drops the columns that matter least; where
there is no terminal nothing is cut. Text is measured as a terminal shows it, not by its length.
"""

from __future__ import annotations

from dashctl import terminal, width
from dashd.wire import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    Row = Mapping[str, Any]

_GAP = "  "
_OF_CALLS = ("options", "suggestions")
"""Fields of an event that name calls."""
_UNITS = (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60), ("m", 60, "s", 1))


class Column:
    """One column of a table."""

    __slots__ = ("drop", "least", "right", "style", "text", "title")

    def __init__(
        self,
        title: str,
        text: str | Callable[[Row], str],
        *,
        drop: int = 0,
        least: int = 0,
        right: bool = False,
        style: Callable[[Row], str] | None = None,
    ) -> None:
        """`text`: a field's name, or a function of the row. `drop`: the highest goes first where room is
        short, 0 never. `least`: the columns it may shrink to; 0 means it does not shrink. `style` is that
        of the state that the cell names, by default.
        """
        self.title = title
        self.text = _field(text) if isinstance(text, str) else text
        self.drop, self.least, self.right = drop, least, right
        self.style = style or (lambda row: terminal.STATE_STYLES.get(self.text(row), ""))


def table(out: terminal.Output, columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Writes the rows under their titles."""
    grid = [[safe.line(column.text(row)) for column in columns] for row in rows]
    widths = _fit(columns, grid, out.width)
    shown = [(index, wide) for index, wide in enumerate(widths) if wide is not None]
    titles = [(columns[index].title, "bold") for index, _ in shown]
    lines = [titles]
    for row, cells in zip(rows, grid, strict=True):
        lines.append([(cells[index], columns[index].style(row)) for index, _ in shown])
    for line in lines:
        parts: list[tuple[str, str]] = []
        for (index, wide), (content, style) in zip(shown, line, strict=True):
            text = width.cut(content, wide, out.ellipsis)
            blanks = (" " * (wide - width.of(text)), "")
            # Only the word is coloured, so that a style never shows as a bar of blanks.
            parts += [blanks, (text, style)] if columns[index].right else [(text, style), blanks]
            parts.append((_GAP, ""))
        while parts and not parts[-1][0].strip():
            parts.pop()
        out.line(*parts)


def facts(out: terminal.Output, pairs: Iterable[tuple[str, str]]) -> None:
    """Writes names and values, one pair a line; pairs without a value are left out."""
    kept = [(name, safe.line(value)) for name, value in pairs if value]
    longest = max((len(name) for name, _ in kept), default=0)
    room = None if out.width is None else max(out.width - longest - len(_GAP), 20)
    for name, value in kept:
        first, *others = [value] if room is None else width.wrap(value, room)
        out.line((name.ljust(longest), "dim"), _GAP, (first, terminal.STATE_STYLES.get(value, "")))
        for other in others:
            out.line(" " * (longest + len(_GAP)), other)


def counts(by_name: Mapping[str, int]) -> str:
    """`3 running, 17 completed`; zeros are left out, `none` where all are."""
    return (
        ", ".join(f"{count} {name}" for name, count in by_name.items() if count and name != "total") or "none"
    )


def instant(at: str | None, *, shape: str = "%m-%d %H:%M:%S") -> str:
    """An ISO instant as local time, `11-20 10:23:05`; `shape` is that of strftime."""
    if not at:
        return ""
    from datetime import datetime

    try:
        return datetime.fromisoformat(at).astimezone().strftime(shape)
    except (ValueError, OverflowError):
        return at


def duration(seconds: float) -> str:
    """`0.42 s`, `5 s`, `12.3 s`, `5m`, `3m 20s`, `2h 5m`, `3d 4h`."""
    if seconds < 60:
        digits = f"{seconds:.2f}" if seconds < 10 else f"{seconds:.1f}"
        return f"{digits.rstrip('0').rstrip('.')} s"
    left = int(seconds)
    for unit, of_s, next_unit, next_s in _UNITS:
        if left >= of_s:
            rest = left % of_s // next_s
            return f"{left // of_s}{unit} {rest}{next_unit}" if rest else f"{left // of_s}{unit}"
    raise AssertionError("every duration of a minute or more has a unit")


def values(data: Mapping[str, Any]) -> str:
    """The fields of an event as `name=value`, on one line."""
    return " ".join(
        f"{name}={_value(_commands(value) if name in _OF_CALLS else value)}"
        for name, value in data.items()
        if value not in (None, "", [], {})
    )


def _commands(calls: object) -> object:
    """What dashd offers are calls; a terminal takes commands."""
    from dashctl import wording

    return [wording.for_person(str(call)) for call in calls] if isinstance(calls, list) else calls


def _value(value: object) -> str:
    if isinstance(value, dict | list):
        import json

        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f'"{text}"' if len(text.split()) > 1 else text


def _field(name: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        value = row.get(name)
        return "" if value is None else str(value)

    return text


def _fit(columns: Sequence[Column], grid: Sequence[Sequence[str]], room: int | None) -> list[int | None]:
    """Columns' widths; None for those that are dropped."""
    wanted: list[int | None] = [
        max([width.of(column.title), *(width.of(cells[index]) for cells in grid)])
        for index, column in enumerate(columns)
    ]
    if room is None:
        return wanted
    # Where a person looks, a column without a value says nothing; a script finds every column.
    for index, column in enumerate(columns):
        if column.drop and not any(cells[index] for cells in grid):
            wanted[index] = None
    while (over := _total(wanted) - room) > 0:
        shrinkable = sum(_slack(column, wide) for column, wide in zip(columns, wanted, strict=True))
        droppable = [
            index for index, column in enumerate(columns) if column.drop and wanted[index] is not None
        ]
        if shrinkable >= over or not droppable:
            return _shrink(columns, wanted, over)
        wanted[max(droppable, key=lambda index: columns[index].drop)] = None
    return wanted


def _total(widths: Sequence[int | None]) -> int:
    kept = [wide for wide in widths if wide is not None]
    return sum(kept) + len(_GAP) * (len(kept) - 1)


def _slack(column: Column, wide: int | None) -> int:
    return max(wide - column.least, 0) if column.least and wide is not None else 0


def _shrink(columns: Sequence[Column], widths: Sequence[int | None], over: int) -> list[int | None]:
    """Takes `over` columns away, each time from the widest that may still shrink."""
    left = list(widths)
    for _ in range(over):
        index = max(range(len(left)), key=lambda at: (bool(_slack(columns[at], left[at])), left[at] or 0))
        if not _slack(columns[index], left[index]):
            break
        left[index] = (left[index] or 0) - 1
    return left
