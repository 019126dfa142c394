"""`dashctl swarm …`: many agents on one goal."""

from __future__ import annotations

from dashctl import (
    asking,
    calling,
    grammar,
    listing,
    many,
    money,
    reach,
    render,
    report,
    status_view,
    trees,
    waiting,
)
from dashctl.commands import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from types import SimpleNamespace
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

PRIORITIES = ("critical", "high", "medium", "low")
STRATEGIES = ("parallel", "pipeline", "map-reduce")
OPEN_STATES = ("creating", "active", "paused")
STATES = (*OPEN_STATES, "completed", "failed", "destroyed")
COLUMNS = (
    *status_view.COLUMNS[:2],
    render.Column("OUTCOME", "outcome", drop=4),
    *status_view.COLUMNS[2:-1],
    render.Column("CREATED", lambda row: render.instant(row["created_at"]), drop=3),
    status_view.COLUMNS[-1],
)

BOUNDS = {
    "memory_mb": "MiB of memory, all processes of an agent together (4096)",
    "processes": "processes and threads of an agent (512)",
    "disk_mb": "MiB by which the folders that it may write can grow (10240)",
    "cpu_s": "seconds of processor time of each process (no bound)",
}
DESTROY_S = 90.0
"""Longer than the longest grace of an agent."""


def create(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Creates a swarm, and with --wait stays until it has ended."""
    if args.dry_run:
        return plan(args, dash, out)
    made = dash.create("swarm.create", key=args.key, **_parameters(args, out))
    how = "exists already" if made["deduplicated"] else "created"
    sentence = f"Swarm '{made['id']}' {how} with {asking.plural(made['agents'], 'agent')}"
    if made["tasks"] != made["agents"]:
        sentence += f" for {asking.plural(made['tasks'], 'task')}"
    if out.as_json:
        if not args.wait:
            out.data(made)
    elif args.quiet:
        out.line(made["id"])
    else:
        out.line(sentence)
        for note in made["notes"]:
            out.note(("note:", "yellow"), f" {note}")
        if not args.wait:
            out.note(f"It runs by itself. Its end: dashctl swarm report {made['id']} --wait")
    return _wait_and_report(dash, out, made["id"], made["cursor"], quiet=args.quiet) if args.wait else 0


def plan(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Prices a swarm; nothing is created."""
    found = dash.call("swarm.plan", **_parameters(args, out))
    if out.as_json:
        out.data(found)
    else:
        money.show_plan(out, found)
    return 0


def costs(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Says what a swarm has cost."""
    found = dash.call("swarm.costs", swarm=args.swarm)
    if out.as_json:
        out.data(found)
    else:
        money.show_costs(out, found)
    return 0


def list_(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lists swarms, newest first."""
    return listing.show(
        args,
        dash,
        out,
        "swarm.list",
        COLUMNS,
        states=args.status,
        nothing="There are no such swarms. One is made by: dashctl swarm create TASK -- COMMAND …",
    )


def get(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Says how a swarm stands."""
    found = dash.call("swarm.get", swarm=args.swarm)
    if out.as_json:
        out.data(found)
        return 0
    ending = " (ending: its last processes are going)" if found["ending"] else ""
    out.line(
        ("Swarm ", "bold"),
        (found["id"], "bold"),
        f"{status_view.name_of(found)}: ",
        (found["state"], _style(found)),
        ending,
    )
    bounds = found["limits"]
    render.facts(
        out,
        [
            ("outcome", found["outcome"] or ""),
            ("tasks", render.counts(found["tasks"])),
            ("agents", f"{render.counts(found['agents'])} (at most {found['agents_max']} at once)"),
            ("task", found["task"]),
            ("command", " ".join(found["argv"])),
            ("cwd", found["cwd"]),
            ("strategy", f"{found['strategy']}, priority {found['priority']}"),
            ("driver", reach.driver(found)),
            (
                "limits",
                f"{render.duration(bounds.get('timeout_s', 300))} per attempt, "
                f"{bounds.get('retries', 3)} retries, {render.duration(bounds.get('grace_s', 5))} of grace",
            ),
            *reach.facts(found),
            ("lease", f"{render.duration(found['lease_s'])} without dashd"),
            ("created", render.instant(found["created_at"])),
            ("ended", render.instant(found["ended_at"])),
            ("duration", render.duration(found["duration_s"])),
            ("output", "" if found.get("output_kept", True) else "removed; results are kept"),
        ],
    )
    return 0


def show_report(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Gives the account of a swarm, with --wait once it has ended."""
    if args.wait:
        found = dash.call("swarm.get", swarm=args.swarm)
        if found["state"] in OPEN_STATES:
            return _wait_and_report(dash, out, args.swarm, found["cursor"], detail=_detail(args))
    account = dash.call("swarm.report", swarm=args.swarm, detail=_detail(args))
    _show(out, account)
    return _verdict(account) if args.wait else 0


def pause(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Stops swarms in place."""
    return _change(args, dash, out, "swarm.pause", "paused")


def resume(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lets paused swarms go on."""
    return _change(args, dash, out, "swarm.resume", "resumed")


def scale(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Sets how many agents work at once."""
    scaled = dash.call("swarm.scale", swarm=args.swarm, agents=args.agents)
    if out.as_json:
        out.data(scaled)
        return 0
    changes = [f"{scaled[name]} {name}" for name in ("added", "removed") if scaled[name]]
    if scaled["leaving"]:
        changes.append(f"{scaled['leaving']} leave after their task")
    out.line(
        f"Swarm '{scaled['id']}' has {asking.plural(scaled['agents'], 'agent')}"
        f" ({', '.join(changes) or 'as before'})"
    )
    return 0


def destroy(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Ends swarms and all their processes, and waits until they are gone."""
    before = many.Results(out, args.swarms).act(lambda swarm: dash.call("swarm.get", swarm=swarm))
    live = sum(asking.live_agents(found["agents"]) for found in before)
    if before:
        what = f"{asking.plural(len(before), 'swarm')} with {asking.plural(live, 'live agent')}"
        named = " ".join(found["id"] for found in before)
        asking.confirm(
            out,
            f"Destroy {what} ({named})?",
            yes=args.yes,
            refusal=f"this would destroy {what}",
            hint=f"dashctl swarm destroy {named} --yes",
        )
    cursors = {found["id"]: found["cursor"] for found in before}
    results = many.Results(out, args.swarms)
    pending = []
    for answer in results.act(lambda swarm: dash.call("swarm.destroy", swarm=swarm)):
        if answer["state"] in OPEN_STATES:
            answer["cursor"] = cursors[answer["id"]]
            pending.append(answer)
    if not args.no_wait:
        waiting.settled(
            dash,
            out,
            results,
            pending,
            noun="swarm",
            kinds=("swarm.destroyed",),
            goal="destroyed",
            wait_s=args.timeout,
        )
    return results.finish(lambda result: f"Swarm '{result['id']}' {_destroyed(result)}")


def limits(args: SimpleNamespace) -> dict[str, float] | None:
    """The limits that were given; None where none was."""
    given = {"timeout_s": args.timeout, "retries": args.retries, "grace_s": args.grace}
    given |= {name: getattr(args, name) for name in BOUNDS}
    return {name: value for name, value in given.items() if value is not None} or None


def limit_arguments(parser: ArgumentParser) -> None:
    """Adds what a task may use."""
    parser.add_argument(
        "--timeout", type=grammar.duration_s, metavar="TIME", help="run time of one attempt (5m)"
    )
    parser.add_argument("--retries", type=grammar.whole, metavar="N", help="attempts after the first (3)")
    parser.add_argument(
        "--grace",
        type=grammar.duration_s,
        metavar="TIME",
        help="between the polite and the hard end of a process tree (5s)",
    )
    for name, text in BOUNDS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=grammar.whole, metavar="N", help=text)


def _parameters(args: SimpleNamespace, out: Output) -> dict[str, Any]:
    """What swarm.create and swarm.plan are given; None is: not given."""
    return {
        "task": args.task,
        "agents": args.agents,
        "items": _items(args, out),
        "argv": args.argv,
        "name": args.name,
        "label": args.label,
        "strategy": args.strategy,
        "driver": args.driver,
        "priority": args.priority,
        "limits": limits(args),
        "lease_s": args.lease,
        **trees.parameters(args),
        **reach.parameters(args),
        **money.parameters(args),
    }


def _items(args: SimpleNamespace, out: Output) -> list[str] | None:
    if args.items_from is None:
        return args.item or None
    try:
        if args.items_from == "-":
            text = out.stdin.read()
        else:
            with open(args.items_from, encoding="utf-8") as source:
                text = source.read()
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or "not UTF-8 text"
        raise calling.UsageError(f"reading items from '{args.items_from}': {reason}") from None
    read = [line for line in text.splitlines() if line.strip()]
    if not read:
        raise calling.UsageError(
            f"'{args.items_from}' has no items", hint="one item a line; blank lines do not count"
        )
    return [*(args.item or []), *read]


def _change(args: SimpleNamespace, dash: Dash, out: Output, method: str, done: str) -> int:
    results = many.Results(out, args.swarms)
    results.act(lambda swarm: dash.call(method, swarm=swarm))
    return results.finish(
        lambda result: (
            f"Swarm '{result['id']}' {done if result['changed'] else 'is already ' + result['state']}"
        )
    )


def _destroyed(result: dict[str, Any]) -> str:
    if result["state"] in OPEN_STATES:
        return "is being destroyed"
    if result["state"] == "destroyed" and result["changed"]:
        return "destroyed"
    if result["changed"]:
        return f"had ended ({result['state']}); what its agents printed is removed, its results are kept"
    return f"has ended already: {result['state']}"


def _wait_and_report(
    dash: Dash, out: Output, swarm: str, cursor: int, *, detail: str | None = None, quiet: bool = False
) -> int:
    out.flush()
    waiting.swarm_end(dash, out, swarm, cursor)
    account = dash.call("swarm.report", swarm=swarm, detail=detail)
    if not quiet:
        if not out.as_json:
            out.line()
        _show(out, account)
    return _verdict(account)


def _show(out: Output, account: dict[str, Any]) -> None:
    if out.as_json:
        out.data(account)
    else:
        report.show(out, account)


def _verdict(account: dict[str, Any]) -> int:
    return 0 if account["outcome"] == "complete" else calling.EXIT_FAILED


def _detail(args: SimpleNamespace) -> str | None:
    return "full" if args.full else None


def _style(found: dict[str, Any]) -> str:
    from dashctl import terminal

    return terminal.STATE_STYLES.get(found["state"], "")


def _creating(parser: ArgumentParser) -> None:
    _describing(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what it would cost; create nothing")
    parser.add_argument("--key", metavar="KEY", help="the same key never creates a second swarm")
    parser.add_argument(
        "--wait",
        "-w",
        action="store_true",
        help="stay until it has ended, then report; exit 0 only if all of it completed",
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="print the id alone")


def _describing(parser: ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK", help="what is wanted, for every agent; {task} in the command")
    parser.add_argument("--agents", "-a", type=grammar.whole, metavar="N", help="how many work at once (1)")
    parser.add_argument(
        "--item",
        "-i",
        action="append",
        metavar="X",
        help="one task each, {item} in the command; again for more",
    )
    parser.add_argument("--items-from", metavar="FILE", help="items, one a line; - reads them from stdin")
    parser.add_argument("--name", metavar="NAME")
    parser.add_argument("--label", metavar="WORD", help="what its costs are counted under: a build, a branch")
    parser.add_argument(
        "--strategy", choices=STRATEGIES, metavar="HOW", help="parallel, pipeline or map-reduce"
    )
    parser.add_argument("--driver", metavar="NAME", help="the agent program's driver")
    parser.add_argument("--cwd", metavar="DIR", help="where the agents work (here)")
    parser.add_argument(
        "--priority", choices=PRIORITIES, metavar="LEVEL", help="critical, high, medium or low"
    )
    limit_arguments(parser)
    parser.add_argument(
        "--lease",
        type=grammar.duration_s,
        metavar="TIME",
        help="how long agents live on while dashd is away (2m); 0 ends them with it",
    )
    trees.arguments(parser)
    reach.arguments(parser)
    money.arguments(parser)


def _listing(parser: ArgumentParser) -> None:
    listing.by_state(parser, STATES)
    listing.arguments(parser)


def _one(parser: ArgumentParser) -> None:
    parser.add_argument("swarm", metavar="SWARM")


def _some(parser: ArgumentParser) -> None:
    parser.add_argument("swarms", metavar="SWARM", nargs="+")


def _reporting(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("--full", action="store_true", help="longer results, and more of them")
    parser.add_argument(
        "--wait", "-w", action="store_true", help="wait for the end first; exit 0 only if all of it completed"
    )


def _scaling(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("agents", metavar="N", type=grammar.whole)


def _destroying(parser: ArgumentParser) -> None:
    _some(parser)
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until its processes are gone")
    parser.add_argument(
        "--timeout",
        type=grammar.duration_s,
        default=DESTROY_S,
        metavar="TIME",
        help="how long to wait for that (90s)",
    )


COMMANDS = {
    "create": Command(
        create,
        "create a swarm and start it",
        _creating,
        takes_argv=True,
        details="example: dashctl swarm create 'lint' --agents 4 --item a.py --item b.py --wait "
        "-- python3 -m py_compile {item}",
    ),
    "plan": Command(plan, "what a swarm would cost, before it exists", _describing, takes_argv=True),
    "costs": Command(costs, "what a swarm has cost", _one),
    "list": Command(list_, "list swarms, newest first", _listing),
    "get": Command(get, "how a swarm stands", _one),
    "report": Command(show_report, "the account of a swarm", _reporting),
    "land": trees.LAND,
    "pause": Command(pause, "stop swarms in place", _some),
    "resume": Command(resume, "let paused swarms go on", _some),
    "scale": Command(scale, "set how many agents work at once", _scaling),
    "destroy": Command(
        destroy,
        "end swarms and all their processes, remove their output",
        _destroying,
        details="Results and causes are kept, and clones are saved before they go.",
    ),
}
