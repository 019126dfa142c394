"""`dashctl task …`: the units of work in a swarm's queue."""

from __future__ import annotations

from dashctl import listing, many, render, terminal, waiting
from dashctl.commands import Command, agent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from types import SimpleNamespace

    from dashctl.calling import Dash
    from dashctl.terminal import Output

STATES = ("waiting", "ready", "running", "retrying", "completed", "dead", "cancelled")
ENDED = ("completed", "dead", "cancelled")
CANCEL_S = 90.0

COLUMNS = (
    render.Column("TASK", "id"),
    render.Column("STATE", "state"),
    render.Column("PRIORITY", "priority", drop=4),
    render.Column("AGENT", "agent", drop=3),
    render.Column("FAILS", "attempts", right=True, drop=2),
    render.Column("ITEM", "item", least=12, drop=1),
    render.Column("CAUSE", "cause", least=12, drop=5),
)


def list_(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lists tasks, oldest first."""
    return listing.show(
        args,
        dash,
        out,
        "task.list",
        COLUMNS,
        swarm=args.swarm,
        states=args.status,
        nothing="There are no such tasks.",
    )


def get(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Says how a task stands."""
    found = dash.call("task.get", task=args.task)
    if out.as_json:
        out.data(found)
        return 0
    out.line(
        ("Task ", "bold"),
        (found["id"], "bold"),
        ": ",
        (found["state"], terminal.STATE_STYLES.get(found["state"], "")),
    )
    served = f" (served as {found['level']})" if found["level"] != found["priority"] else ""
    render.facts(
        out,
        [
            ("item", found["item"]),
            ("text", found["text"]),
            ("swarm", found["swarm"]),
            ("agent", found["agent"] or ""),
            ("priority", found["priority"] + served),
            ("after", ", ".join(found["after"])),
            ("cause", found["cause"]),
            ("progress", " ".join(filter(None, (found["progress"], found["note"])))),
            ("retry at", render.instant(found["retry_at"])),
            ("created", render.instant(found["created_at"])),
            ("started", render.instant(found["started_at"])),
            ("ended", render.instant(found["ended_at"])),
        ],
    )
    if found["attempts"]:
        out.line()
        render.table(out, agent.ATTEMPT_COLUMNS, found["attempts"])
    if found["result"].strip():
        out.line()
        out.line(("Result", "bold"))
        out.block(found["result"], indent="  ")
    return 0


def cancel(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Cancels tasks and what depends on them."""
    results = many.Results(out, args.tasks)
    pending = [
        answer
        for answer in results.act(lambda task: dash.call("task.cancel", task=task))
        if answer["state"] not in ENDED
    ]
    if not args.no_wait:
        waiting.settled(
            dash,
            out,
            results,
            pending,
            noun="task",
            goal="cancelled",
            wait_s=args.within,
            kinds=("task.cancelled", "task.completed", "task.dead"),
        )
    return results.finish(
        lambda result: (
            f"{result['id']} {result['state'] if result['changed'] else 'is ' + result['state'] + ' already'}"
        )
    )


def retry(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Makes dead or cancelled tasks ready again."""
    results = many.Results(out, args.tasks)
    results.act(lambda task: dash.call("task.retry", task=task))
    return results.finish(
        lambda result: f"{result['id']} {'is ' + result['state'] + ('' if result['changed'] else ' already')}"
    )


def _listing(parser: ArgumentParser) -> None:
    parser.add_argument("--swarm", "-s", metavar="SWARM", help="only of this swarm")
    listing.by_state(parser, STATES)
    listing.arguments(parser)


def _one(parser: ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK")


def _some(parser: ArgumentParser) -> None:
    parser.add_argument("tasks", metavar="TASK", nargs="+")


def _cancelling(parser: ArgumentParser) -> None:
    _some(parser)
    waiting.arguments(parser, CANCEL_S)


COMMANDS = {
    "list": Command(list_, "list tasks, oldest first", _listing),
    "get": Command(get, "how a task stands, and its result", _one),
    "cancel": Command(cancel, "cancel tasks and what depends on them", _cancelling),
    "retry": Command(retry, "make dead or cancelled tasks ready again", _some),
}
