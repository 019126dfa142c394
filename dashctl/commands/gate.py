"""`dashctl gate …`: the rules by which something needs a yes, or is refused."""

from __future__ import annotations

from dashctl import calling, dollars, grammar, render
from dashctl.commands import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from types import SimpleNamespace
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

KINDS = ("command", "path", "tool", "money", "landing", "depth")
VERDICTS = ("ask", "allow", "deny")
_COLUMNS = (
    render.Column("NAME", "name"),
    render.Column("KIND", "kind"),
    render.Column("ABOUT", lambda row: _about(row), least=12),
    render.Column("VERDICT", "verdict"),
    render.Column("WHO DECIDES", lambda row: _who(row)),
    render.Column("IN TIME", lambda row: _in_time(row), drop=1),
)


def list_(_args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lists the rules."""
    found = dash.call("gate.list")
    if out.as_json:
        out.data(found)
    elif found["gates"]:
        render.table(out, _COLUMNS, found["gates"])
    else:
        out.line("There are no gates: nothing waits for a yes.")
    return 0


def set_(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Sets a rule."""
    given = {
        "name": args.name,
        "kind": args.kind,
        "pattern": args.pattern,
        "above": args.above,
        "verdict": args.verdict,
        "who": "orchestrator" if args.delegate else None,
        "two_person": args.two_person or None,
        "deadline_s": args.deadline,
        "at_deadline": args.at_deadline,
    }
    # Not dash.call(**given): its own deadline has the same name.
    wanted = {name: value for name, value in given.items() if value is not None}
    answer = dash.client.call("gate.set", wanted, deadline_s=calling.ANSWER_S)
    if out.as_json:
        out.data(answer)
    else:
        out.line(
            f"Gate '{answer['name']}': {answer['kind']} {_about(answer)}: {answer['verdict']} {_who(answer)}"
        )
    return 0


def remove(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Removes a rule; what waits because of it goes on waiting."""
    answer = dash.call("gate.remove", name=args.name)
    if out.as_json:
        out.data(answer)
    else:
        out.line(f"Gate '{args.name}' {'is removed' if answer['changed'] else 'was not there'}")
    return 0


def _about(row: Any) -> str:  # noqa: ANN401
    if row["kind"] == "money":
        return f"above {dollars.text(row['above'])}"
    if row["kind"] == "depth":
        return f"above {row['above']:g}"
    return row["pattern"] or "any"


def _who(row: Any) -> str:  # noqa: ANN401
    if row["verdict"] != "ask":
        return ""
    if row["two_person"]:
        return "two keys"
    return "operator or orchestrator" if row["who"] == "orchestrator" else "operator"


def _in_time(row: Any) -> str:  # noqa: ANN401
    if row["verdict"] != "ask":
        return ""
    return f"{render.duration(row['deadline_s'])}, then {row['at_deadline']}"


def _setting(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a name of your choice")
    parser.add_argument("kind", metavar="KIND", choices=KINDS, help=", ".join(KINDS))
    parser.add_argument(
        "--pattern", metavar="PATTERN", help="of a command, path, tool or target: 'git push*'"
    )
    parser.add_argument("--above", type=dollars.amount, metavar="N", help="dollars, or levels of children")
    parser.add_argument("--verdict", choices=VERDICTS, metavar="VERDICT", help="ask, allow or deny (ask)")
    parser.add_argument("--delegate", action="store_true", help="an orchestrator's key may decide too")
    parser.add_argument("--two-person", action="store_true", help="two keys must say yes")
    parser.add_argument("--deadline", type=grammar.duration_s, metavar="TIME", help="how long it waits (1h)")
    parser.add_argument(
        "--at-deadline", choices=("allow", "deny"), metavar="DECISION", help="if nobody decides (deny)"
    )


def _naming(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="as `gate list` shows it")


COMMANDS = {
    "list": Command(list_, "the rules"),
    "set": Command(
        set_,
        "set a rule",
        _setting,
        details="money, landing and depth are enforced by dashd. command, path and tool hold where an\n"
        "agent's program asks before it acts: they guide, the walls are elsewhere. deny wins over\n"
        "allow, and allow over ask.",
    ),
    "remove": Command(remove, "remove a rule", _naming),
}
