"""`dashctl budget …`: who may spend how much, what was spent, and where it is going."""

from __future__ import annotations

from dashctl import calling, dollars, grammar, render
from dashctl.commands import Command
from dashd.wire import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from types import SimpleNamespace
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

ACTIONS = ("notify", "pause", "kill", "none")
EXPORT_ROWS = 1_000
"""Calls asked for at a time."""
_CHILDREN = (
    render.Column("BUDGET", "id"),
    render.Column("SPENT", lambda row: dollars.text(row["spent_usd"]), right=True),
    render.Column("HELD", lambda row: dollars.text(row["held_usd"] or None), right=True, drop=2),
    render.Column("LIMIT", lambda row: dollars.text(row["limit_usd"]), right=True),
    render.Column("LEFT", lambda row: dollars.text(row["left_usd"]), right=True),
    render.Column("PART", lambda row: dollars.text(row["allotment_usd"]), right=True, drop=1),
    render.Column("STATE", lambda row: _state(row)),
)
_CHANGES = (
    render.Column("AT", lambda row: render.instant(row["at"])),
    render.Column("WHAT", "kind"),
    render.Column("FROM", lambda row: dollars.text(row["from_usd"]), right=True),
    render.Column("TO", lambda row: dollars.text(row["to_usd"]), right=True),
    render.Column("WHY", lambda row: _why(row), least=10),
)
_EXPORTED = ("id", "at", "swarm", "agent", "task", "model", "provider")
_EXPORTED_FIGURES = ("input_tokens", "output_tokens", "usd", "basis", "confirmed")


def status(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Says how a budget stands and where it is going."""
    found = dash.call("budget.status", budget=args.budget, children=True)
    if out.as_json:
        out.data(found)
        return 0
    _node(out, found["budget"], found["prices_date"])
    if found["forecast"]:
        out.line()
        out.line(("Forecast: ", "bold"), safe.line(found["forecast"]["text"]))
        _sentences(out, "could help", found["forecast"]["suggestions"])
    _sentences(out, "now", found["options"])
    if found["children"]:
        out.line()
        render.table(out, _CHILDREN, found["children"])
    return 0


def set_(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Sets a budget's limits and actions."""
    given: dict[str, Any] = {"budget": args.budget, "why": args.why}
    if args.no_limit:
        if args.limit is not None:
            raise calling.UsageError("--limit and --no-limit contradict each other")
        given["limit_usd"] = None
    elif args.limit is not None:
        given["limit_usd"] = args.limit
    if args.tokens is not None:
        given["limit_tokens"] = args.tokens
    actions = {name: action for name in ("at_75", "at_90", "at_100") if (action := getattr(args, name))}
    if actions:
        given["actions"] = actions
    if args.thaw:
        given["thaw"] = True
    if set(given) == {"budget", "why"}:
        raise calling.UsageError("nothing to set", hint="dashctl budget set --help")
    # Not dash.call(**given): there None is "not given", and here it takes the limit away.
    answer = dash.client.call(
        "budget.set",
        {name: value for name, value in given.items() if name != "why" or value},
        deadline_s=calling.ANSWER_S,
    )
    return _changed(out, answer, "set")


def extend(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Adds to a budget; what had stopped goes on."""
    if args.usd is None and args.tokens is None:
        raise calling.UsageError(
            "nothing to add", hint=f"dashctl budget extend {args.budget} USD, or --tokens N"
        )
    answer = dash.create(
        "budget.extend", key=args.key, budget=args.budget, usd=args.usd, tokens=args.tokens, why=args.why
    )
    return _changed(out, answer, "was extended already" if answer["deduplicated"] else "extended")


def history(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lists a budget's changes, newest first."""
    found = dash.call("budget.history", budget=args.budget, limit=args.limit)
    if out.as_json:
        out.data(found)
    else:
        render.table(out, _CHANGES, found["changes"])
    return 0


def export(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Writes every settled call, as CSV or with --json one object a line."""
    import csv
    import io
    import json

    names = (*_EXPORTED, *_EXPORTED_FIGURES)
    since = 0
    if not out.as_json:
        out.line(",".join(names))
    while True:
        page = dash.call("budget.export", swarm=args.swarm, since=since, limit=EXPORT_ROWS)
        for row in page["rows"]:
            if out.as_json:
                out.line(json.dumps(row, ensure_ascii=False))
                continue
            line = io.StringIO()
            cells = [_plain(row["usd"]) if name == "usd" else row[name] for name in names]
            csv.writer(line).writerow(cells)
            out.line(safe.line(line.getvalue().rstrip("\r\n")))
        since = page["next"]
        if not since:
            return 0


def _plain(usd: float) -> str:
    """For a spreadsheet: all nine decimals, no sign of a currency."""
    from decimal import Decimal

    return f"{Decimal(repr(usd)):.9f}"


def _node(out: Output, node: dict[str, Any], prices_date: str) -> None:
    of = "" if node["limit_usd"] is None else f" of {dollars.text(node['limit_usd'])}"
    actions = node["actions"]
    told = [
        f"{mark} % {actions.get(f'at_{mark}', default)}"
        for mark, default in ((75, "notify"), (90, "notify"), (100, "pause"))
    ]
    tokens = f"{node['spent_tokens']:,}"
    if node["limit_tokens"] is not None:
        tokens += f" of {node['limit_tokens']:,}"
    render.facts(
        out,
        [
            ("budget", f"{node['id']} ({node['kind']})"),
            ("spent", f"{dollars.text(node['spent_usd'])}{of}"),
            ("unconfirmed", dollars.text(node["unconfirmed_usd"] or None)),
            ("held", dollars.text(node["held_usd"] or None)),
            ("left", dollars.text(node["left_usd"])),
            ("reserve", dollars.text(node["reserve_usd"] or None)),
            ("part", dollars.text(node["allotment_usd"])),
            ("overrun", dollars.text(node["overrun_usd"] or None)),
            ("tokens", tokens),
            ("agents", str(node["live"])),
            ("state", _state(node)),
            ("at", ", ".join(told)),
            ("prices of", prices_date),
        ],
    )


def _state(node: Any) -> str:  # noqa: ANN401
    if node["frozen"]:
        return f"frozen: {node['frozen']}"
    return node.get("blocked") or {100: "at its end", 90: "critical", 75: "warning"}.get(node["reached"], "")


def _why(row: Any) -> str:  # noqa: ANN401
    """What has changed besides dollars, and why."""
    before, after = row.get("from_tokens"), row.get("to_tokens")
    tokens = f"tokens {_tokens(before)} -> {_tokens(after)}" if before != after else ""
    return "; ".join(part for part in (tokens, row.get("actions", ""), row["why"]) if part)


def _tokens(limit: int | None) -> str:
    return "no limit" if limit is None else f"{limit:,}"


def _sentences(out: Output, title: str, sentences: list[str]) -> None:
    from dashctl import wording

    for each in sentences:
        out.line((f"  {title}: ", "dim"), safe.line(wording.for_person(each)))


def _changed(out: Output, answer: dict[str, Any], done: str) -> int:
    if out.as_json:
        out.data(answer)
        return 0
    node = answer["budget"]
    limit = dollars.text(node["limit_usd"]) or "no limit"
    tokens = node["limit_tokens"]
    used = "" if tokens is None else f", {node['spent_tokens']:,} of {tokens:,} tokens"
    goes_on = f"; {answer['resumed']} that had stopped go on" if answer["resumed"] else ""
    out.line(
        f"Budget '{node['id']}' {done}: {dollars.text(node['spent_usd'])} spent of {limit}{used}{goes_on}"
    )
    if answer.get("approval"):
        out.note(
            f"Nothing was added yet: it waits for a yes: dashctl approval resolve {answer['approval']} allow"
        )
    elif node.get("blocked"):
        out.note(f"The next call does not go yet: {safe.line(node['blocked'])}")
    return 0


def _one(parser: ArgumentParser) -> None:
    parser.add_argument("budget", metavar="BUDGET", help="project, or the id of a swarm, an agent or a task")


def _optional(parser: ArgumentParser) -> None:
    parser.add_argument(
        "budget", metavar="BUDGET", nargs="?", default="project", help="a swarm's or an agent's id (project)"
    )


def _setting(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("--limit", type=dollars.amount, metavar="USD", help="dollars it may spend in all")
    parser.add_argument("--no-limit", action="store_true", help="take its own limit away")
    parser.add_argument("--tokens", type=grammar.whole, metavar="N", help="tokens it may use in all")
    parser.add_argument(
        "--thaw", action="store_true", help="let calls go on that an overrun has frozen (see model set)"
    )
    for mark in (75, 90, 100):
        parser.add_argument(
            f"--at-{mark}",
            choices=ACTIONS,
            metavar="ACTION",
            help=f"notify, pause, kill or none at {mark} %%",
        )
    parser.add_argument("--why", metavar="TEXT", help="kept in its history")


def _extending(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("usd", metavar="USD", nargs="?", type=dollars.amount, help="dollars to add")
    parser.add_argument(
        "--tokens", type=grammar.whole, metavar="N", help="tokens to add, where it limits them"
    )
    parser.add_argument("--why", metavar="TEXT", help="kept in its history")
    parser.add_argument("--key", metavar="KEY", help="the same key never adds twice")


def _looking_back(parser: ArgumentParser) -> None:
    _optional(parser)
    parser.add_argument("--limit", type=grammar.whole, metavar="N", help="changes to show (100)")


def _exporting(parser: ArgumentParser) -> None:
    parser.add_argument("--swarm", metavar="SWARM", help="of this swarm alone")


COMMANDS = {
    "status": Command(status, "how a budget stands and where it is going", _optional),
    "set": Command(set_, "set a budget's limits and actions", _setting),
    "extend": Command(extend, "add to a budget; what had stopped goes on", _extending),
    "history": Command(history, "changes of a budget, newest first", _looking_back),
    "export": Command(export, "every settled model call, as CSV or JSON lines", _exporting),
}
