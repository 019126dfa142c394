"""`dashctl agent …`: the seats of a swarm and what runs in them."""

from __future__ import annotations

import os

from dashctl import calling, listing, many, money, reach, render, terminal, trees, waiting, wording
from dashctl.commands import Command, swarm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable, Sequence
    from types import SimpleNamespace
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

STATES = ("idle", "spawning", "running", "paused", "completed", "failed", "killed")
CHANGE_S = 90.0
"""Longer than the longest grace of an agent."""

ENDED = ("completed", "failed", "killed")


def _life_style(row: render.Row) -> str:
    """Only where it should be alive is an agent's death worth a colour."""
    return "dim" if row["state"] in ENDED else terminal.STATE_STYLES.get(row["liveness"], "")


def _state(row: render.Row) -> str:
    """An agent that runs and is kept from its work says what keeps it: `running: budget`."""
    kept = row["state"] == "running" and row.get("waits_for", "nothing") not in ("nothing", "end")
    return f"{row['state']}: {row['waits_for']}" if kept else str(row["state"])


COLUMNS = (
    render.Column("AGENT", "id"),
    render.Column("STATE", lambda row: _state(row)),
    render.Column("LIFE", "liveness", drop=6, style=_life_style),
    render.Column("TASK", "task", drop=5),
    render.Column("DONE", "tasks_ended", right=True, drop=4),
    render.Column("PROGRESS", "progress", right=True, drop=2),
    render.Column("NAME", lambda row: "" if row["name"] == row["id"] else row["name"], least=8, drop=7),
    render.Column("ITEM", "item", least=12, drop=1),
    render.Column("NOTE", "note", least=12, drop=3),
)


def spawn(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Adds one agent with one task to a swarm, or makes a swarm of one."""
    if (args.swarm or args.parent) and (args.argv or args.driver or args.cwd or swarm.limits(args)):
        raise calling.UsageError(
            "an agent added to a swarm runs the swarm's command, driver, folder and limits",
            hint="leave out --swarm and --parent, and a swarm of one is made",
        )
    narrowed = reach.of_child(args)
    if narrowed and not args.parent:
        raise calling.UsageError(
            f"{', '.join(narrowed)}: that is for a child; say whose with --parent",
            hint="dashctl swarm create takes it for a swarm's agents",
        )
    cwd = None if args.swarm or args.parent else os.path.abspath(args.cwd or ".")
    made = dash.create(
        "agent.spawn",
        key=args.key,
        task=args.task,
        swarm=args.swarm,
        item=args.item,
        begin_from=args.begin_from,
        name=args.name,
        priority=args.priority,
        argv=args.argv,
        driver=args.driver,
        cwd=cwd,
        limits=swarm.limits(args),
        parent=args.parent,
        **narrowed,
    )
    if out.as_json:
        out.data(made)
    elif made.get("approval"):
        out.line(f"It waits for approval {made['approval']}: dashctl approval list")
    elif args.quiet:
        out.line(made["id"])
    else:
        how = "exists already" if made["deduplicated"] else "spawned"
        out.line(f"Agent '{made['id']}' {how} in swarm '{made['swarm']}' for task '{made['task']}'")
    return 0


def list_(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lists agents in the order they were made."""
    return listing.show(
        args,
        dash,
        out,
        "agent.list",
        COLUMNS,
        swarm=args.swarm,
        states=args.status,
        nothing="There are no such agents.",
    )


def get(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Says how an agent stands."""
    found = dash.call("agent.get", agent=args.agent)
    if out.as_json:
        out.data(found)
        return 0
    wanted = f", to be {_WANTED[found['wanted']]}" if found["wanted"] != "run" else ""
    out.line(
        ("Agent ", "bold"),
        (found["id"], "bold"),
        " ",
        "" if found["name"] == found["id"] else found["name"],
        ": ",
        (found["state"], terminal.STATE_STYLES.get(found["state"], "")),
        f" ({found['liveness']}{wanted})",
    )
    render.facts(
        out,
        [
            ("why", wording.for_person(found["why"]["text"])),
            ("swarm", found["swarm"]),
            ("parent", found["parent"] or ""),
            ("children", ", ".join(found.get("children", ()))),
            ("task", f"{found['task']} ({found['task_state']})" if found["task"] else ""),
            ("item", found["item"]),
            ("progress", " ".join(filter(None, (found["progress"], found["note"])))),
            ("driver", f"{reach.driver(found)}, pause is {found['pause']}"),
            ("pid", str(found["pid"] or "")),
            ("walls", _walls(found)),
            ("reaches", _reaches(found)),
            ("commands", _POLICIES.get(found.get("command_policy", ""), "")),
            ("created", render.instant(found["created_at"])),
            ("ended", render.instant(found["ended_at"])),
        ],
    )
    if found["attempts"]:
        out.line()
        render.table(out, ATTEMPT_COLUMNS, found["attempts"])
    return 0


def _walls(found: dict[str, Any]) -> str:
    grade = found.get("grade")
    if grade is None:
        return ""
    if grade == "0":
        return "none: it has all rights of its user"
    identity = found["identity"]
    told = f"its calls are told apart by its {identity}" if identity else "it calls nobody"
    return f"grade {grade}, {told}"


_POLICIES = {
    "asked": "it asks before it acts, where patterns or gates say so: guidance, no wall",
    "not_asked": "it asks nobody: patterns and gates of commands, paths and tools keep nothing",
}


def _reaches(found: dict[str, Any]) -> str:
    """What a child's walls give; an agent without a parent has what its swarm says."""
    if not found.get("parent"):
        return ""
    write, read, hosts = (", ".join(found[name]) for name in ("write", "read", "hosts"))
    history = " and, by git, all that its repository has committed" if found.get("history") else ""
    return f"writes {write or 'nothing'}, reads {read or 'nothing'}{history}, reaches {hosts or 'no host'}"


def why(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Says what an agent waits for."""
    found = dash.call("agent.why", agent=args.agent)
    if out.as_json:
        out.data(found)
        return 0
    out.line((found["agent"], "bold"), f": {wording.for_person(found['text'])}")
    render.facts(
        out,
        [
            ("waits for", found["waits_for"]),
            ("on", ", ".join(found["on"])),
            ("since", render.instant(found["since"])),
            ("goes on", render.instant(found["until"])),
        ],
    )
    return 0


def kill(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Ends agents and their processes."""

    def call(agent: str) -> dict[str, Any]:
        return dash.call("agent.kill", agent=agent, requeue=args.requeue or None)

    return _change(
        args,
        dash,
        out,
        call,
        reached=ENDED,
        kinds=waiting.AGENT_ENDS,
        goal="killed",
    )


def pause(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Stops agents in place."""
    return _change(
        args,
        dash,
        out,
        lambda agent: dash.call("agent.pause", agent=agent, hard=args.hard or None),
        reached=("paused", "idle", "completed", "failed", "killed"),
        kinds=("agent.paused", *waiting.AGENT_ENDS),
        goal="paused",
    )


def resume(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lets paused agents go on."""
    return _change(
        args,
        dash,
        out,
        lambda agent: dash.call("agent.resume", agent=agent),
        reached=("running", "spawning", "idle", "completed", "failed", "killed"),
        kinds=("agent.resumed", *waiting.AGENT_ENDS),
        goal="running",
    )


def retry(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Makes the last task of agents ready again."""
    results = many.Results(out, args.agents)
    results.act(lambda agent: dash.call("agent.retry", agent=agent))
    return results.finish(lambda result: f"{result['id']} has its last task again (agent {result['state']})")


def message(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Says something to a running agent."""
    text = out.stdin.read() if args.text == "-" else args.text
    when = "now" if args.now else "after" if args.after else None
    sent = dash.call("agent.message", agent=args.agent, text=text, when=when)
    if out.as_json:
        out.data(sent)
    else:
        heard = {"now": "at once", "after": "after what it is at", None: "with its next step"}[when]
        out.line(f"{sent['agent']} gets message {sent['number']} {heard}")
    return 0


def set_model(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Swaps the model of an agent, from its next call on."""
    if bool(args.model) == args.swarms:
        raise calling.UsageError("name a model, or --swarms to give the agent back its swarm's")
    # Not dash.call(**given): there None is "not given", and here it is the swarm's model.
    given = {"agent": args.agent, "model": args.model}
    found = dash.client.call("agent.set_model", given, deadline_s=calling.ANSWER_S)
    if out.as_json:
        out.data(found)
    else:
        out.line(f"{found['agent']} calls {found['first']} of {found['provider']} from its next call on")
    return 0


def logs(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Shows what an agent printed."""
    from dashctl import agent_logs

    return agent_logs.run(args, dash, out)


def result(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Prints what an agent's last task returned."""
    found = dash.call("agent.result", agent=args.agent)
    if out.as_json:
        out.data(found)
        return 0
    if found["task"] is None:
        out.note(f"{found['agent']} has had no task yet.")
        return calling.EXIT_FAILED
    out.block(found["result"])
    if found["truncated"]:
        out.note("(only the end is kept; dashctl agent logs has more)")
    if found["task_state"] != "completed":
        out.note(
            f"task {found['task']} is {found['task_state']}{': ' if found['cause'] else ''}{found['cause']}"
        )
        return calling.EXIT_FAILED
    return 0


def _change(
    args: SimpleNamespace,
    dash: Dash,
    out: Output,
    call: Callable[[str], dict[str, Any]],
    *,
    reached: Sequence[str],
    kinds: Sequence[str],
    goal: str,
) -> int:
    results = many.Results(out, args.agents)
    pending = [answer for answer in results.act(call) if answer["state"] not in reached]
    if not args.no_wait:
        waiting.settled(dash, out, results, pending, noun="agent", kinds=kinds, goal=goal, wait_s=args.within)
    return results.finish(lambda result: _sentence(result, goal))


def _sentence(result: dict[str, Any], goal: str) -> str:
    if not result["changed"]:
        return f"{result['id']} is {result['state']} already"
    if result["state"] == goal:
        return f"{result['id']} {goal}"
    return (
        f"{result['id']} is {result['state']}, to be {goal}"
        if _comes(result, goal)
        else f"{result['id']} {result['state']}"
    )


def _comes(result: dict[str, Any], goal: str) -> bool:
    return result["state"] not in ENDED and result["state"] != goal


_WANTED = {"run": "run", "pause": "paused", "kill": "killed"}

ATTEMPT_COLUMNS = (
    render.Column("TRY", "number", right=True),
    render.Column("TASK", "task", drop=4),
    render.Column("STATE", "state"),
    render.Column("EXIT", lambda row: _exit(row), drop=2),
    render.Column("RAN", lambda row: render.duration(row["active_s"]), right=True, drop=3),
    render.Column("STARTED", lambda row: render.instant(row["started_at"]), drop=5),
    render.Column("REASON", "reason", least=12, drop=1),
)


def _exit(attempt: render.Row) -> str:
    if attempt["exit_signal"]:
        return f"signal {attempt['exit_signal']}"
    return "" if attempt["exit_code"] is None else str(attempt["exit_code"])


def _spawning(parser: ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK", help="what is wanted")
    parser.add_argument("--swarm", "-s", metavar="SWARM", help="add it to this swarm")
    parser.add_argument("--parent", metavar="AGENT", help="its parent: it gets a part of that one's rights")
    parser.add_argument("--item", metavar="X", help="{item} in the command")
    parser.add_argument("--name", metavar="NAME")
    parser.add_argument(
        "--priority", choices=swarm.PRIORITIES, metavar="LEVEL", help="critical, high, medium or low"
    )
    parser.add_argument("--driver", metavar="NAME", help="the agent program's driver")
    parser.add_argument("--cwd", metavar="DIR", help="where it works (here)")
    parser.add_argument("--begin-from", metavar="CHECKPOINT", help="of a session: it goes on from a copy")
    swarm.limit_arguments(parser)
    reach.child_arguments(parser)
    parser.add_argument("--key", metavar="KEY", help="the same key never spawns a second agent")
    parser.add_argument("--quiet", "-q", action="store_true", help="print the id alone")


def _listing(parser: ArgumentParser) -> None:
    parser.add_argument("--swarm", "-s", metavar="SWARM", help="only of this swarm")
    listing.by_state(parser, STATES)
    listing.arguments(parser)


def _one(parser: ArgumentParser) -> None:
    parser.add_argument("agent", metavar="AGENT")


def _some(parser: ArgumentParser) -> None:
    parser.add_argument("agents", metavar="AGENT", nargs="+")


def _changing(parser: ArgumentParser) -> None:
    _some(parser)
    waiting.arguments(parser, CHANGE_S)


def _killing(parser: ArgumentParser) -> None:
    _changing(parser)
    parser.add_argument("--requeue", action="store_true", help="give their tasks back to the queue")


def _pausing(parser: ArgumentParser) -> None:
    _changing(parser)
    parser.add_argument(
        "--hard", action="store_true", help="stop their processes now, not at their next model call"
    )


def _logging(parser: ArgumentParser) -> None:
    from dashctl import agent_logs

    agent_logs.arguments(parser)


def _messaging(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("text", metavar="TEXT", help="what to say; - reads it from stdin")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--after", action="store_true", help="it hears it once it has done what it is at")
    when.add_argument("--now", action="store_true", help="what it is at is broken off first, its tool too")


def _swapping(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("model", metavar="MODEL", nargs="?", type=money.model, help=money.MODEL_HELP)
    parser.add_argument("--swarms", action="store_true", help="what its swarm calls")


COMMANDS = {
    "spawn": Command(
        spawn,
        "add one agent with one task",
        _spawning,
        takes_argv=True,
        details="example: dashctl agent spawn 'count lines' -- wc -l README.md",
    ),
    "list": Command(list_, "list agents", _listing),
    "get": Command(get, "how an agent stands", _one),
    "why": Command(why, "what an agent waits for", _one),
    "logs": Command(logs, "what an agent printed", _logging),
    "diff": Command(trees.diff, "what an agent has changed in its clone", trees.diff_arguments),
    "result": Command(result, "what an agent's last task returned", _one),
    "message": Command(message, "say something to a running agent", _messaging),
    "pause": Command(pause, "stop agents in place", _pausing),
    "resume": Command(resume, "let paused agents go on", _changing),
    "kill": Command(
        kill,
        "end agents and their processes",
        _killing,
        details="Agents that are named are ended without a question; their tasks are cancelled.",
    ),
    "set-model": Command(set_model, "swap an agent's model without a restart", _swapping),
    "retry": Command(retry, "make the last task of agents ready again", _some),
}
