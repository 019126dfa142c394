"""`dashctl session …`: the conversations of agents, as trees that can be copied, cut and gone on with."""

from __future__ import annotations

import os

from dashctl import calling, grammar, listing, render, waiting
from dashctl.commands import Command
from dashd.wire import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Sequence
    from types import SimpleNamespace
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

TEXT_WIDTH_MAX = 100
TREE_STEPS_MAX = 1_000
SHOWN_STEPS_MAX = 200
"""The most that dashd gives at once, of a tree and in full."""
MIGRATE_S = 150.0
"""Longer than dashd waits for the end of what is migrated."""
STEER_S = 90.0
"""Longer than the longest grace of an agent."""
_RESTING = ("waiting", "closed", "gone")
"""What may become of one that was to be paused or to run on."""
_COLUMNS = (
    render.Column("SESSION", "id"),
    render.Column("STATE", "state"),
    render.Column("NAME", lambda row: row["name"], drop=1),
    render.Column("AGENT", "agent", drop=3),
    render.Column("TASK", "task", drop=4),
    render.Column("DRIVER", "driver", drop=5),
    render.Column("BEGUN FROM", lambda row: row["begun_from"] or "", drop=2),
    render.Column("GOES ON AT", lambda row: row["head"] or "", drop=1),
)


def list_(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lists sessions in the order they began."""
    return listing.show(
        args,
        dash,
        out,
        "session.list",
        _COLUMNS,
        swarm=args.swarm,
        agent=args.agent,
        new=True if args.new else None,
        nothing="There are no such sessions: a session begins when an agent of pi or openclaw does.",
    )


def create(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Makes one for a task that comes later."""
    cwd = os.path.abspath(args.cwd or ".")
    found = dash.call("session.create", name=args.name, cwd=cwd, driver=args.driver)
    if out.as_json:
        out.data(found)
    else:
        name = safe.line(found["name"])
        out.line(
            f"Session '{name}' ({found['id']}) waits for an agent of {found['driver']} in {found['cwd']}:"
        )
        out.line(f"  dashctl swarm create TASK --driver {found['driver']} --cwd … --begin-from '{name}'")
    return 0


def get(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Shows one, and its checkpoints."""
    found = dash.call("session.get", session=args.session)
    if out.as_json:
        out.data(found)
        return 0
    if found["state"] == "new":
        name = safe.line(found["name"])
        out.line(f"Session '{name}' ({found['id']}) was made for {found['cwd']}; nobody has begun it")
        return 0
    name = f" ({safe.line(found['name'])})" if found["name"] else ""
    out.line(f"Session '{found['id']}'{name} of agent {found['agent']} is {found['state']}")
    if found["begun_from"]:
        out.line(f"  begun from checkpoint {found['begun_from']}")
    if found["head"]:
        out.line(f"  goes on at checkpoint {found['head']}")
    for each in found["checkpoints"]:
        name = f" {safe.line(each['name'])}" if each["name"] else ""
        steps = "1 step" if each["steps"] == 1 else f"{each['steps']} steps"
        size = _size(each["bytes"])
        out.line(f"  {each['id']}{name}  {each['kind']}, {steps} to {safe.line(each['step'])}, {size}")
    return 0


def tree(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Shows what was said, a step a line; `*` is where it goes on."""
    found = dash.call("session.tree", session=args.session, limit=args.limit, checkpoint=args.checkpoint)
    if out.as_json:
        out.data(found)
        return 0
    _say_earlier(out, found, TREE_STEPS_MAX)
    for step in found["steps"]:
        mark = "*" if step["id"] == found["leaf"] else " "
        kept = ", ".join(map(safe.line, found["checkpoints"].get(step["id"], ())))
        text = safe.line(step["text"])[:TEXT_WIDTH_MAX]
        indent = "  " * min(step["depth"], 20)
        out.line(
            f"{mark} {safe.line(step['id'])} {indent}{step['role']}: {text}{f'  [{kept}]' if kept else ''}"
        )
    return 0


def _say_earlier(out: Output, found: dict[str, Any], steps_max: int) -> None:
    """How to see what is not shown: in one answer there is only so much."""
    if not found["more"]:
        return
    whole = f"dashctl session export {found['session']} FILE has all"
    more = f"--limit N shows up to {steps_max:,}, " if len(found["steps"]) < steps_max else ""
    out.line(f"({found['more']:,} earlier steps; {more}{whole})")


def show(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Shows what was said on the way to a step, in full."""
    found = dash.call("session.show", session=args.session, step=args.at, limit=args.limit)
    if out.as_json:
        out.data(found)
        return 0
    _say_earlier(out, found, SHOWN_STEPS_MAX)
    for step in found["steps"]:
        out.line(f"{step['role']} ({safe.line(step['id'])})")
        out.block(step["text"] + ("\n[cut]" if step["cut"] else ""), indent="  ")
    return 0


def export(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Writes a whole conversation to a new file of mode 0600."""
    path = os.path.abspath(args.file)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise calling.UsageError(
            f"{path}: {error.strerror}", hint="name a file that is not there yet"
        ) from None
    kind = "jsonl" if args.jsonl else "markdown"
    offset: int | None = 0
    try:
        with open(file, "w", encoding="utf-8") as opened:
            while offset is not None:
                piece = dash.call("session.export", session=args.session, format=kind, offset=offset)
                opened.write(piece["text"])
                offset = piece["next_offset"]
    except BaseException:
        os.unlink(path)  # nothing is left half written
        raise
    out.line(f"Session '{args.session}' is in {path}")
    return 0


def prime(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Prints what a fresh session may begin with."""
    found = dash.call("session.prime", session=args.session)
    out.data(found) if out.as_json else out.block(found["text"])
    return 0


def checkpoint(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Keeps a copy."""
    said = {"session": args.session, "name": args.name, "at": args.at}
    return _kept(out, dash.create("session.checkpoint", key=args.key, **said))


def branch(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Keeps a named copy up to a step."""
    said = {"session": args.session, "at": args.at, "name": args.name}
    return _kept(out, dash.create("session.branch", key=args.key, **said))


def archive(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Keeps all of it for good."""
    return _kept(out, dash.call("session.archive", session=args.session))


def _kept(out: Output, found: dict[str, object]) -> int:
    if out.as_json:
        out.data(found)
    else:
        name = f" as {safe.line(str(found['name']))}" if found["name"] else ""
        out.line(
            f"Checkpoint '{found['id']}' holds session {found['session']}{name}; goes on at {found['step']}"
        )
    return 0


def forget(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Removes a copy for good."""
    found = dash.call("session.forget", checkpoint=args.checkpoint)
    if out.as_json:
        out.data(found)
        return 0
    name = f" ({safe.line(found['name'])})" if found["name"] else ""
    out.line(f"Checkpoint '{found['id']}'{name} of session {found['session']} is no more")
    kept, most = _size(found["kept_bytes"]), _size(found["bytes_max"])
    out.line(f"  it took {_size(found['bytes'])}; the others take {kept} of {most}")
    return 0


def _size(count: int) -> str:
    mib = count / (1 << 20)
    return f"{mib:,.1f} MiB" if mib >= 1 else f"{-(-count // 1_024)} KiB"


def rewind(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Has it go on from an earlier step."""
    return _move("session.rewind", args, dash, out)


def switch(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Has it go on in another branch."""
    return _move("session.switch", args, dash, out)


def restore(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Has it go on from a checkpoint."""
    return _move("session.restore", args, dash, out)


def _move(method: str, args: SimpleNamespace, dash: Dash, out: Output) -> int:
    found = dash.call(method, session=args.session, to=args.to)
    if out.as_json:
        out.data(found)
    else:
        session, step = found["session"], safe.line(found["step"])
        out.line(f"Session '{session}' goes on at {step} (checkpoint {found['head']})")
        out.line(f"  dashctl session resume {session}")
    return 0


def fork(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Begins a new agent with a copy."""
    said = {"session": args.session, "task": args.task, "at": args.at, "swarm": args.swarm, "name": args.name}
    return _forked(out, dash.create("session.fork", key=args.key, **said))


def migrate(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Goes on with it in another swarm, and ends it where it was."""
    said = {"session": args.session, "swarm": args.swarm, "task": args.task}
    return _forked(out, dash.create("session.migrate", key=args.key, deadline_s=MIGRATE_S, **said))


def _forked(out: Output, found: dict[str, Any]) -> int:
    if out.as_json:
        out.data(found)
        return 0
    step = safe.line(str(found["step"]))
    where = f"from step {step}" if step else "when the other one has ended"
    out.line(f"Agent '{found['agent']}' goes on {where} with task {found['task']}")
    return _noted(out, found)


def _noted(out: Output, found: dict[str, Any]) -> int:
    """On which files it works, and whether it waits for a yes."""
    for note in found["notes"]:
        out.line(f"  {safe.line(note)}")
    if found["approval"]:
        out.line(f"  it waits for approval {found['approval']}: dashctl approval list")
    return 0


def pause(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Holds its agent."""
    found = dash.call("session.pause", session=args.session)
    return _changed(args, dash, out, found, goal="paused", reached=("paused", *_RESTING))


def resume(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lets a paused one run, or gives a closed one more to do."""
    said = {"session": args.session, "task": args.task}
    found = dash.create("session.resume", key=args.key, **said)
    return _changed(args, dash, out, found, goal="open", reached=("open", *_RESTING))


def compact(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Has what was said summed up."""
    found = dash.create("session.compact", key=args.key, session=args.session, keep=args.keep)
    if out.as_json:
        out.data(found)
    elif found["task"]:
        out.line(
            f"Agent '{found['agent']}' sums up a copy of session {found['session']}: task {found['task']}"
        )
        out.line(f"  dashctl session resume {found['agent']} --task TASK  goes on with it then")
        _noted(out, found)
    else:
        out.line(f"Session '{found['session']}' is summed up at the end of its agent's turn")
    return 0


def terminate(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Ends its agent; its checkpoints stay."""
    found = dash.call("session.terminate", session=args.session)
    return _changed(args, dash, out, found, goal="closed", reached=("closed", "gone"))


def _changed(
    args: SimpleNamespace,
    dash: Dash,
    out: Output,
    found: dict[str, Any],
    *,
    goal: str,
    reached: Sequence[str],
) -> int:
    waits = not found["task"] and found["state"] not in reached
    if waits and not args.no_wait:
        waiting.session_settled(dash, out, found, reached=reached, goal=goal, wait_s=args.within)
    if out.as_json:
        out.data(found)
    elif found["task"]:
        out.line(f"Agent '{found['agent']}' goes on with session {found['session']}: task {found['task']}")
        _noted(out, found)
    else:
        to_be = f", to be {goal}" if waits and args.no_wait else ""
        said = to_be or ("" if found["changed"] else " already")
        out.line(f"Session '{found['session']}' is {found['state']}{said}")
    return 0


def _one(parser: ArgumentParser) -> None:
    parser.add_argument("session", metavar="SESSION", help="as `session list` shows it, or an agent")


def _steering(parser: ArgumentParser) -> None:
    _one(parser)
    waiting.arguments(parser, STEER_S)


def _keyed(parser: ArgumentParser) -> None:
    parser.add_argument("--key", metavar="KEY", help="the same key never does it twice")


def _listing(parser: ArgumentParser) -> None:
    parser.add_argument("--swarm", "-s", metavar="SWARM", help="of this swarm alone")
    parser.add_argument("--agent", metavar="AGENT", help="of this agent alone")
    parser.add_argument("--new", action="store_true", help="instead: those that nobody has begun")
    listing.arguments(parser)


def _creating(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="to call it by")
    parser.add_argument("--cwd", metavar="DIR", help="the folder of who begins in it (the current one)")
    parser.add_argument("--driver", metavar="DRIVER", help="openclaw or pi; as of a swarm, if none is named")


def _seeing(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("--limit", type=grammar.whole, metavar="N", help="how many steps (200)")
    parser.add_argument("--checkpoint", metavar="ID", help="as it was in this checkpoint")


def _showing(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("--at", metavar="STEP", help="up to this step (where it goes on)")
    parser.add_argument("--limit", type=grammar.whole, metavar="N", help="how many steps (20)")


def _exporting(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("file", metavar="FILE", help="made new")
    parser.add_argument("--jsonl", action="store_true", help="as its program wrote it, every branch")


def _keeping(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("--name", metavar="NAME", help="to call it by")
    parser.add_argument("--at", metavar="STEP", help="up to this step alone (all of it)")
    _keyed(parser)


def _branching(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("at", metavar="STEP")
    parser.add_argument("name", metavar="NAME")
    _keyed(parser)


def _forgetting(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="its id, as `session get` shows it")


def _moving(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("to", metavar="STEP", help="a step, a checkpoint or its name")


def _forking(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("task", metavar="TASK", help="what the new agent is to do")
    parser.add_argument("--at", metavar="STEP", help="a step or checkpoint (where it goes on)")
    parser.add_argument("--swarm", "-s", metavar="SWARM", help="where it works (its own, or a new one)")
    parser.add_argument("--name", metavar="NAME", help="the new agent's")
    _keyed(parser)


def _migrating(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("swarm", metavar="SWARM", help="of the same driver")
    parser.add_argument("--task", metavar="TASK", help="what it is to do there (go on)")
    _keyed(parser)


def _resuming(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("--task", metavar="TASK", help="what a closed one is to do (go on)")
    _keyed(parser)
    waiting.arguments(parser, STEER_S)


def _compacting(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("--keep", metavar="TEXT", help="what the summary should not leave out")
    _keyed(parser)


COMMANDS = {
    "create": Command(create, "make one for a task that comes later", _creating),
    "list": Command(list_, "the conversations there are", _listing),
    "get": Command(get, "one conversation and its checkpoints", _one),
    "tree": Command(tree, "its steps, every branch", _seeing),
    "show": Command(show, "what was said on the way to a step", _showing),
    "export": Command(export, "write a conversation to a file", _exporting),
    "prime": Command(prime, "sum it up for a fresh agent, without a model", _one),
    "checkpoint": Command(checkpoint, "keep a copy", _keeping),
    "branch": Command(branch, "keep a copy up to a step, under a name", _branching),
    "archive": Command(archive, "keep all of one for good", _one),
    "forget": Command(forget, "remove a copy that nothing goes on from, for good", _forgetting),
    "rewind": Command(rewind, "have it go on from an earlier step", _moving),
    "switch": Command(switch, "have it go on in another branch", _moving),
    "restore": Command(restore, "have it go on from a checkpoint", _moving),
    "fork": Command(fork, "begin a new agent with a copy", _forking),
    "migrate": Command(migrate, "go on with it in another swarm", _migrating),
    "pause": Command(pause, "hold its agent", _steering),
    "resume": Command(resume, "go on with it", _resuming),
    "compact": Command(compact, "have what was said summed up, to go on with less", _compacting),
    "terminate": Command(terminate, "end its agent; checkpoints stay", _steering),
}
