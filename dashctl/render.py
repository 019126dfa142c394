"""Tables and blocks of facts, as aligned text.

A table shrinks its flexible columns to the terminal, then drops the columns that matter least; where
there is no terminal nothing is cut. Text is measured as a terminal shows it, not by its length.
"""

from __future__ import annotations

from dashctl import safe, terminal, width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    Row = Mapping[str, Any]

_GAP = "  "
_UNITS = (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60), ("m", 60, "s", 1))


class Column:
    """One column of a table."""

    __slots__ = ("drop", "least", "right", "text", "title")

    def __init__(
        self,
        title: str,
        text: str | Callable[[Row], str],
        *,
        drop: int = 0,
        least: int = 0,
        right: bool = False,
    ) -> None:
        """`text`: a field's name, or a function of the row. `drop`: the highest goes first where room is
        short, 0 never. `least`: the columns it may shrink to; 0 means it does not shrink.
        """
        self.title = title
        self.text = _field(text) if isinstance(text, str) else text
        self.drop, self.least, self.right = drop, least, right


def table(out: terminal.Output, columns: Sequence[Column], rows: Iterable[Row]) -> None:
    """Writes the rows under their titles; cells that are states are coloured."""
    grid = [[safe.line(column.text(row)) for column in columns] for row in rows]
    widths = _fit(columns, grid, out.width)
    shown = [index for index, columns_wide in enumerate(widths) if columns_wide is not None]
    for number, cells in enumerate([[column.title for column in columns], *grid]):
        parts: list[tuple[str, str]] = []
        for index in shown:
            text = width.cut(cells[index], widths[index] or 0, out.ellipsis)
            style = "bold" if number == 0 else terminal.STATE_STYLES.get(cells[index], "")
            last = index == shown[-1] and not columns[index].right
            padded = text if last else width.pad(text, widths[index] or 0, right=columns[index].right)
            # Only the word is coloured, so that a style never shows as a bar of blanks.
            at = padded.find(text) if text else 0
            parts += [
                (padded[:at], ""),
                (text, style),
                (padded[at + len(text) :] + ("" if last else _GAP), ""),
            ]
        out.line(*parts)


def facts(out: terminal.Output, pairs: Iterable[tuple[str, str]]) -> None:
    """Writes names and values, one pair a line; pairs without a value are left out."""
    kept = [(name, safe.line(value)) for name, value in pairs if value]
    longest = max((len(name) for name, _ in kept), default=0)
    for name, value in kept:
        out.line((name.ljust(longest), "dim"), _GAP, (value, terminal.STATE_STYLES.get(value, "")))


def counts(by_name: Mapping[str, int]) -> str:
    """`3 running, 17 completed`; zeros are left out, `none` where all are."""
    return (
        ", ".join(f"{count} {name}" for name, count in by_name.items() if count and name != "total") or "none"
    )


def instant(at: str | None) -> str:
    """An ISO instant as local time, `11-20 10:23:05`."""
    if not at:
        return ""
    from datetime import datetime

    try:
        return datetime.fromisoformat(at).astimezone().strftime("%m-%d %H:%M:%S")
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
        f"{name}={_value(value)}" for name, value in data.items() if value not in (None, "", [], {})
    )


def _value(value: object) -> str:
    if isinstance(value, dict | list):
        import json

        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f'"{text}"' if " " in text else text


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
