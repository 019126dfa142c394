"""What a swarm may spend, as flags; what it would cost and has cost, as text."""

from __future__ import annotations

from dashctl import dollars, render
from dashd.wire import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from types import SimpleNamespace
    from typing import Any

    from dashctl.terminal import Output

_COSTS = (
    render.Column("USD", lambda row: dollars.text(row["usd"]), right=True),
    render.Column("SHARE", lambda row: f"{row['share']:.0%}", right=True),
    render.Column(
        "UNCONFIRMED", lambda row: dollars.text(row["unconfirmed_usd"] or None), right=True, drop=2
    ),
    render.Column("CALLS", "calls", right=True),
    render.Column("IN", lambda row: f"{row['input_tokens']:,}", right=True, drop=1),
    render.Column("OUT", lambda row: f"{row['output_tokens']:,}", right=True, drop=1),
    render.Column("", lambda row: "top" if row["top"] else ""),
)
_WAITS = (
    render.Column("PRIORITY", "priority"),
    render.Column("TASKS", "tasks", right=True),
    render.Column("MEAN WAIT", lambda row: render.duration(row["mean_s"]), right=True),
    render.Column("LONGEST", lambda row: render.duration(row["longest_s"]), right=True),
)


MODEL_HELP = (
    'what is called: a name, an alias, \'a -> b\', or \'{"capabilities": ["code"], "prefer": "cost"}\''
)


def model(text: str) -> str | dict[str, Any]:
    """A model's name, or what it must be, as JSON. Raises argparse.ArgumentTypeError."""
    if not text.lstrip().startswith("{"):
        return text
    import argparse
    import json

    try:
        return dict(json.loads(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not JSON: {error}") from None


def arguments(parser: ArgumentParser) -> None:
    """Adds what a swarm may spend."""
    parser.add_argument("--model", type=model, metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--budget", type=dollars.amount, metavar="USD", help="dollars, never passed")
    parser.add_argument(
        "--agent-budget",
        type=dollars.each,
        metavar="USD",
        help="a cap for each agent, or 'even': its part of the budget",
    )
    parser.add_argument(
        "--agent-budgets", type=dollars.by_agent, metavar="LIST", help="caps of their own: a:10,b:5"
    )
    parser.add_argument(
        "--reserve",
        type=dollars.percent,
        metavar="PERCENT",
        help="of the budget, kept for agents added later",
    )


def parameters(args: SimpleNamespace) -> dict[str, Any]:
    """The same as parameters of swarm.create; None where nothing was given."""
    names = ("model", "budget", "agent_budget", "agent_budgets", "reserve")
    return {name: getattr(args, name) for name in names}


def _shares(plan: dict[str, Any]) -> str:
    """`a $10.00 at most, the others $0.50 each, not a cap`."""
    caps, usd = plan.get("agent_caps_usd") or {}, plan["agent_usd"]
    found = [f"{name} {dollars.text(cap)} at most" for name, cap in caps.items()]
    if usd is not None:
        each = f"{dollars.text(usd)} {'each' if plan['agent_cap'] else 'each, not a cap'}"
        found.append(f"the others {each}" if found else each)
    return ", ".join(found)


def show_plan(out: Output, plan: dict[str, Any]) -> None:
    """What a swarm would cost, what that assumes, and what one agent would be told."""
    tasks = f"{plan['tasks']} tasks, {plan['agents']} at once"
    usd = plan["budget_usd"]
    render.facts(
        out,
        [
            ("tasks", tasks),
            ("driver", plan["driver"]),
            ("model", plan["model"] or "none"),
            ("calls", f"{plan['calls']:,}" if plan["calls"] else ""),
            ("estimate", f"{dollars.text(plan['usd'])} ({dollars.text(plan['task_usd'])} a task)"),
            ("to start", dollars.text(plan["start_usd"] or None)),
            (
                "budget",
                "" if usd is None else f"{dollars.text(usd)}{'' if plan['enough'] else ', not enough'}",
            ),
            ("reserve", dollars.text(plan["reserve_usd"] or None)),
            ("agents", _shares(plan)),
            ("prices of", plan["prices_date"]),
        ],
    )
    for each in plan["assumptions"]:
        out.note(f"assumed: {each}")
    for note in plan["notes"]:
        out.note(("note:", "yellow"), f" {note}")
    out.line()
    out.line(("One agent is told:", "bold"))
    for line in plan["brief"].splitlines():
        out.line(f"  {safe.line(line)}")


def show_costs(out: Output, costs: dict[str, Any]) -> None:
    """What a swarm has cost, by agent, model and day."""
    held = f", {dollars.text(costs['held_usd'])} held for calls under way" if costs["held_usd"] else ""
    calls, into, out_of = costs["calls"], costs["input_tokens"], costs["output_tokens"]
    render.facts(
        out,
        [
            ("spent", f"{dollars.text(costs['usd'])}{held}"),
            ("unconfirmed", dollars.text(costs["unconfirmed_usd"] or None)),
            ("calls", f"{calls:,} with {into:,} tokens in and {out_of:,} out"),
            ("computing", f"{render.duration(costs['compute_s'])} in {render.duration(costs['active_s'])}"),
            ("prices of", costs["prices_date"]),
        ],
    )
    for title, name in (("AGENT", "agents"), ("MODEL", "models"), ("DAY", "days"), ("LABEL", "labels")):
        if costs.get(name):
            out.line()
            render.table(out, (render.Column(title, _key), *_COSTS), costs[name])
    if costs["queue_waits"]:
        out.line()
        render.table(out, _WAITS, costs["queue_waits"])


def _key(row: render.Row) -> str:
    return row["key"] or "(no agent)"
