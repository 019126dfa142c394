"""The tables of a report on a terminal, laid out by rich; loaded for nothing else.

Every cell is a `rich.text.Text` of sanitised text, so neither escape sequences nor rich's own markup in
what an agent wrote mean anything.
"""

from __future__ import annotations

import io
from typing import Any

from rich import box, console, table, text

from dashctl import report as report_text
from dashctl import terminal
from dashd.wire import safe


def show(out: terminal.Output, report: dict[str, Any]) -> None:
    """Writes failures and results as tables in the terminal's width."""
    if report["failures"]:
        grid = _table("Failed", "task", "item", "why", "tries")
        for failure in report["failures"]:
            why = "\n".join(filter(None, (failure["cause"], failure["last_lines"].rstrip())))
            grid.add_row(
                _cell(failure["task"]),
                _cell(failure["item"]),
                _cell(why, failure["cause"]),
                _cell(str(failure["attempts"])),
            )
        _print(out, grid)
    if report["results"]:
        grid = _table("Results", "task", "item", "result")
        for result in report["results"]:
            shown = result["result"].rstrip() + (" …" if result["truncated"] else "")
            shown = "\n".join(filter(None, (shown, report_text.not_kept(result))))
            grid.add_row(_cell(result["task"]), _cell(result["item"]), _cell(shown))
        _print(out, grid)


def _table(title: str, *columns: str) -> table.Table:
    grid = table.Table(
        title=title,
        title_style="bold",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        header_style="dim",
    )
    for column in columns:
        grid.add_column(
            column,
            no_wrap=column in ("task", "tries"),
            overflow="fold",
            ratio={"item": 1, "why": 3, "result": 3}.get(column),
            justify="right" if column == "tries" else "left",
        )
    return grid


def _cell(content: str, stressed: str = "") -> text.Text:
    cell = text.Text(safe.block(content).expandtabs(4))
    if stressed:
        cell.stylize("red", 0, len(safe.block(stressed)))
    return cell


def _print(out: terminal.Output, grid: table.Table) -> None:
    laid_out = console.Console(
        file=io.StringIO(),
        width=out.width or terminal.WIDTH_DEFAULT,
        force_terminal=out.color,
        color_system="standard" if out.color else None,
        no_color=not out.color,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    laid_out.print(grid)
    shown = laid_out.file.getvalue()  # type: ignore[attr-defined]  # it is our StringIO
    out.laid_out("\n".join(line.rstrip() for line in shown.split("\n")))
