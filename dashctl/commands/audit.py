"""`dashctl audit …`: who did what, whether that record is whole, and taking it elsewhere."""

from __future__ import annotations

from dashctl import grammar, render
from dashctl.commands import Command
from dashd.wire import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from types import SimpleNamespace
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

LIST_ROWS = 100
PAGE_ROWS = 1_000
"""Rows asked for at a time."""
VERIFY_S = 600.0
"""A million rows take some seconds."""
BROKEN = 1
_COLUMNS = (
    render.Column("SEQ", lambda row: str(row["seq"]), right=True),
    render.Column("AT", lambda row: render.instant(row["at"]), drop=2),
    render.Column("WHO", "actor", least=12),
    render.Column("WHAT", "action"),
    render.Column("ON", "subject", least=8),
    render.Column("DETAILS", lambda row: _details(row["data"]), least=10, drop=1),
)


def list_(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lists who did what, newest first."""
    found: list[dict[str, Any]] = []
    before = 0
    while (left := args.limit - len(found)) > 0:
        page = dash.call(
            "audit.list",
            before=before or None,
            limit=min(left, LIST_ROWS),
            action=args.action,
            actor=args.actor,
            subject=args.subject,
        )
        found += page["rows"]
        before = page["next"]
        if not before:
            break
    if out.as_json:
        out.data({"rows": found})
    elif found:
        render.table(out, _COLUMNS, found)
    else:
        out.line("Nothing of that kind is on record.")
    return 0


def verify(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Says whether the record is whole; exit code 1 where it is not."""
    found = dash.call("audit.verify", head=args.head, deadline_s=VERIFY_S)
    if out.as_json:
        out.data(found)
    elif found["ok"]:
        out.line(
            ("ok: ", "green"), f"{found['rows']:,} rows, each sealed by the next; it ends at {found['head']}"
        )
    else:
        out.line(("broken: ", "red"), safe.line(found["why"]))
        out.line(f"The rows before it hold ({found['rows']:,}); the record ends at {found['head']}")
    return 0 if found["ok"] else BROKEN


def export(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Writes the record, oldest first, one JSON object a line; the last line is the head."""
    since = args.since
    while True:
        page = dash.call("audit.export", since=since, limit=PAGE_ROWS)
        for row in page["rows"]:
            out.data_line(row)
        since = page["next"]
        if not since:
            out.data_line({"head": page["head"]})
            return 0


def _details(data: dict[str, Any]) -> str:
    """What was refused, or what was asked for and came of it."""
    shown = {name: value for name, value in data.items() if name not in ("params", "uid", "client")}
    params = {name: value for name, value in data.get("params", {}).items() if value != ""}
    return render.values(shown | params)


def _listing(parser: ArgumentParser) -> None:
    parser.add_argument("--limit", type=grammar.whole, default=50, metavar="N", help="rows to show (50)")
    parser.add_argument("--action", metavar="PATTERN", help="a method or an event: budget.*, auth.refused")
    parser.add_argument("--actor", metavar="PATTERN", help="operator:*, orchestrator:NAME, dashd")
    parser.add_argument("--subject", metavar="ID", help="of this swarm, agent, task, budget, … alone")


def _verifying(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--head", metavar="SEQ:HASH", help="noted earlier (dashctl status, an export): is it still there?"
    )


def _exporting(parser: ArgumentParser) -> None:
    parser.add_argument("--since", type=grammar.whole, default=0, metavar="SEQ", help="rows after this one")


COMMANDS = {
    "list": Command(list_, "who did what, newest first", _listing),
    "verify": Command(
        verify,
        "whether the record is whole",
        _verifying,
        details="A record whose end was cut off looks whole. So note the head now and then, elsewhere\n"
        "(dashctl status --json, the last line of an export), and give it back with --head.",
    ),
    "export": Command(export, "the record as JSON lines, to be kept and checked elsewhere", _exporting),
}
