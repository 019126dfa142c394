"""Lists that come in pages: read to the end or to a limit, and shown as a table, as ids or as JSON."""

from __future__ import annotations

from dashctl import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Sequence
    from types import SimpleNamespace
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

PAGE = 100
"""The most that dashd gives at once."""


def show(
    args: SimpleNamespace,
    dash: Dash,
    out: Output,
    method: str,
    columns: Sequence[render.Column],
    *,
    nothing: str,
    **wanted: object,
) -> int:
    """Shows what `method` lists; `wanted` are its filters. `nothing` is said where there is none."""
    rows, total = _read(dash, method, args.limit, wanted)
    if args.quiet:
        for row in rows:
            out.line(row["id"])
    elif out.as_json:
        out.data(rows)
    elif rows:
        render.table(out, columns, rows)
    else:
        out.note(nothing)
    if len(rows) < total and not out.as_json:
        out.note(f"{len(rows)} of {total}; --limit shows more, without it all are shown")
    return 0


def by_state(parser: ArgumentParser, states: Sequence[str]) -> None:
    """Adds the choice of states, `args.status`."""
    parser.add_argument(
        "--status", action="append", choices=states, metavar="STATE", help="only these; again for more"
    )


def arguments(parser: ArgumentParser) -> None:
    """Adds what every list takes."""
    from dashctl import grammar

    parser.add_argument("--limit", "-n", type=grammar.whole, metavar="N", help="at most so many (all)")
    parser.add_argument("--quiet", "-q", action="store_true", help="ids only")


def _read(
    dash: Dash, method: str, limit: int | None, wanted: dict[str, Any]
) -> tuple[list[dict[str, Any]], int]:
    rows: list[dict[str, Any]] = []
    cursor = None
    while True:
        left = PAGE if limit is None else min(PAGE, max(limit - len(rows), 1))
        page = dash.call(method, limit=left, cursor=cursor, **wanted)
        rows += page["items"]
        cursor = page["next_cursor"]
        if not cursor or not page["items"] or (limit is not None and len(rows) >= limit):
            return (rows if limit is None else rows[:limit]), page["total"]
