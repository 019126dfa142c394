"""`dashctl approval …`: the one inbox of what waits for a yes."""

from __future__ import annotations

from dashctl import calling, grammar, render
from dashctl.commands import Command
from dashd.wire import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from types import SimpleNamespace
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

STATES = ("open", "allowed", "denied", "withdrawn", "any")
NOT_DECIDED = 1
_COLUMNS = (
    render.Column("ID", "id"),
    render.Column("STATE", "state", drop=3),
    render.Column("WHAT", "what", least=20),
    render.Column("BY", "asked_by", least=10, drop=1),
    render.Column("GATE", "gate", drop=2),
    render.Column("UNTIL", lambda row: _until(row)),
    render.Column("WHY", lambda row: _why(row), least=10, drop=4),
)


def list_(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lists what waits for a yes, newest first."""
    found = dash.call("approval.list", state=args.state, swarm=args.swarm, limit=args.limit)
    if out.as_json:
        out.data(found)
    elif not found["items"]:
        out.line(
            "Nothing waits for a yes." if args.state in (None, "open") else "There are no such approvals."
        )
    else:
        render.table(out, _COLUMNS, found["items"])
        if found["next"]:
            out.note(f"there are more than these {len(found['items'])}; --limit shows up to 100")
    return 0


def resolve(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Allows or denies; exit code 1 where one is still open, or was decided otherwise before."""
    words: list[str] = [args.first, *args.more]
    approvals, decision = words[:-1], words[-1]
    if decision not in ("allow", "deny"):
        raise calling.UsageError(
            f"'{decision}' is no decision", hint="dashctl approval resolve ap1 ap2 allow --note 'worth it'"
        )
    answer = dash.call("approval.resolve", approvals=approvals, decision=decision, note=args.note)
    if out.as_json:
        out.data(answer)
    else:
        for each in answer["items"]:
            out.line(f"{each['id']} ", _outcome(each))
    wanted = {"allow": "allowed", "deny": "denied"}[decision]
    return 0 if all(each["state"] == wanted for each in answer["items"]) else NOT_DECIDED


def _outcome(found: dict[str, Any]) -> str:
    if found["state"] == "open":
        return f"is still open: it waits for {safe.line(found['waits_for'])}"
    return found["state"] if found["changed"] else f"was {found['state']} already; that stands"


def _until(row: Any) -> str:  # noqa: ANN401
    if row["state"] != "open":
        return f"{render.instant(row['decided_at'])} by {row['decided_by']}"
    return f"{render.instant(row['deadline'])}, then {row['at_deadline']}"


def _why(row: Any) -> str:  # noqa: ANN401
    return row["note"] or render.values(row["context"])


def _listing(parser: ArgumentParser) -> None:
    parser.add_argument("--state", choices=STATES, metavar="STATE", help=f"{', '.join(STATES)} (open)")
    parser.add_argument("--swarm", metavar="SWARM", help="of this swarm alone")
    parser.add_argument("--limit", type=grammar.whole, metavar="N", help="how many to show (20)")


def _resolving(parser: ArgumentParser) -> None:
    parser.usage = f"{parser.prog} ID [ID …] allow|deny [--note TEXT]"  # one decision for all of them
    parser.add_argument("first", metavar="ID", help="as `approval list` shows it")
    parser.add_argument("more", metavar="allow|deny", nargs="+", help="more ids, then one decision for all")
    parser.add_argument("--note", metavar="TEXT", help="why; who asked reads it")


COMMANDS = {
    "list": Command(list_, "what waits for a yes", _listing),
    "resolve": Command(
        resolve,
        "allow or deny, one or many at once",
        _resolving,
        details="One decision for all that are named. "
        "Where two persons must agree, each shows a key of their own by DASH_KEY.",
    ),
}
