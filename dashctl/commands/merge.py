"""`dashctl merge …`: the queue in which what agents brought back is put together."""

from __future__ import annotations

import shlex

from dashctl import calling, grammar, render, wording
from dashctl.commands import Command
from dashd.wire import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from types import SimpleNamespace
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

STATES = ("queued", "running", "merged", "conflict", "failed", "cancelled")
ENDED = ("merged", "conflict", "failed", "cancelled")
WAIT_S = 60.0
_EXPANDED = "$`"
_OPERATORS = "&|;<>()\n"
_COLUMNS = (
    render.Column("ID", "id"),
    render.Column("STATE", "state"),
    render.Column("WORK OF", "worktree"),
    render.Column("INTO", "target", least=12, drop=1),
    render.Column("NOTE", lambda row: _note(row), least=12, drop=2),
)


def enqueue(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Queues merges, and with --wait stays until they have ended."""
    gates = [_argv(gate) for gate in args.gate or ()] or None
    made = dash.create(
        "merge.enqueue",
        key=args.key,
        swarm=args.swarm,
        agents=args.agents or None,
        target=args.target,
        gates=gates,
    )
    if args.wait:
        return _wait(dash, out, args.swarm, made)
    if out.as_json:
        out.data(made)
        return 0
    for row in made["items"]:
        out.line(f"Merge '{row['id']}' of {row['worktree']} into {row['target']} is queued")
    _notes(out, made)
    return 0


def _argv(gate: str) -> list[str]:
    """A gate's words. Raises UsageError for what only a shell would understand: none runs here.

    `true && false` would be `true` with two arguments, and let everything through.
    """
    if sign := _shell_syntax(gate):
        raise calling.UsageError(
            f"--gate {gate!r} has {sign} in it, and no shell reads it",
            hint=f"--gate {shlex.quote(f'sh -c {shlex.quote(gate)}')}, or '…' around what is meant literally",
        )
    try:
        words = shlex.split(gate)
    except ValueError as error:
        raise calling.UsageError(
            f"--gate {gate!r} cannot be read: {str(error).lower()}", hint="--gate 'make test'"
        ) from None
    if not words:
        raise calling.UsageError("--gate is empty", hint="--gate 'make test'")
    return words


def _shell_syntax(text: str) -> str:
    """The first thing outside of quotes that a shell would act on; in double quotes, an expansion."""
    quote, at = "", 0
    while at < len(text):
        sign = text[at]
        if sign == "\\" and quote != "'":
            at += 1
        elif quote:
            if sign == quote:
                quote = ""
            elif quote == '"' and sign in _EXPANDED:
                return sign
        elif sign in "'\"":
            quote = sign
        elif sign in _EXPANDED + _OPERATORS:
            return sign if sign != "\n" else "a line break"
        at += 1
    return ""


def list_(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lists merges, newest first."""
    found = dash.call("merge.list", swarm=args.swarm, states=args.state, limit=args.limit)
    if out.as_json:
        out.data(found)
    elif found["items"]:
        render.table(out, _COLUMNS, found["items"])
        if found["next"]:
            out.note(f"there are more than these {len(found['items'])}; --limit shows up to 100")
    else:
        out.line("There are no such merges. One is queued by: dashctl merge enqueue SWARM")
    return 0


def status(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Says how a merge stands."""
    found = dash.call("merge.status", merge=args.merge)
    if out.as_json:
        out.data(found)
    else:
        _show(out, found)
    return 0


def cancel(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Takes a merge out of the queue, or ends one that runs."""
    found = dash.call("merge.cancel", merge=args.merge)
    if out.as_json:
        out.data(found)
    elif found["changed"]:
        out.line(f"Merge '{found['id']}' is being cancelled")
    else:
        out.line(f"Merge '{found['id']}' is {found['state']} already")
    return 0


def _wait(dash: Dash, out: Output, swarm: str, made: dict[str, Any]) -> int:
    """Until each has ended, those too that were in the queue before; 0 only where all are merged."""
    waiting = [row["id"] for row in (*made["known"], *made["items"])]
    cursor, kinds = made["cursor"], [f"merge.{state}" for state in ENDED]
    while _unfinished(dash, waiting):
        found = dash.call(
            "event.wait",
            deadline_s=WAIT_S + calling.ANSWER_S,
            swarm=swarm,
            since=cursor,
            kinds=kinds,
            timeout_s=WAIT_S,
        )
        cursor = found["cursor"]
    ended = [dash.call("merge.status", merge=merge) for merge in waiting]
    if out.as_json:
        out.data({"items": ended})
    else:
        for row in ended:
            _show(out, row)
        _notes(out, made)
    return 0 if all(row["state"] == "merged" for row in ended) else 1


def _unfinished(dash: Dash, merges: list[str]) -> bool:
    return any(dash.call("merge.status", merge=merge)["state"] not in ENDED for merge in merges)


def _show(out: Output, row: dict[str, Any]) -> None:
    into = f" {row['target']}, now at {row['result'][:12]}" if row["result"] else f" {row['target']}"
    out.line(f"Merge '{row['id']}' of {row['worktree']} is {row['state']}: into{into}{_ahead(row)}")
    for path in row["files"]:
        out.line(f"  both changed  {safe.line(path)}")
    if row["problem"]:
        out.block(row["problem"], indent="  ")
    if row.get("suggestion"):
        out.block(wording.for_person(row["suggestion"]), indent="  ")


def _notes(out: Output, made: dict[str, Any]) -> None:
    for note in made["notes"]:
        out.note(("note:", "yellow"), f" {note}")


def _ahead(row: dict[str, Any]) -> str:
    return f" ({row['ahead']} before it)" if row["ahead"] else ""


def _note(row: Any) -> str:  # noqa: ANN401
    if row["files"]:
        return f"both changed {', '.join(safe.line(path) for path in row['files'])}"
    return safe.line(row["problem"]) if row["problem"] else _ahead(row).strip()


def _queueing(parser: ArgumentParser) -> None:
    parser.add_argument("swarm", metavar="SWARM")
    parser.add_argument("agents", metavar="AGENT", nargs="*", help="in this order (all with work)")
    parser.add_argument("--target", metavar="BRANCH", help="below dash/SWARM/ (dash/SWARM/result)")
    parser.add_argument(
        "--gate",
        action="append",
        metavar="COMMAND",
        help="must end with 0 in the merged tree: 'make test'; no shell",
    )
    parser.add_argument(
        "--wait", "-w", action="store_true", help="stay until all have ended; 0 if all merged"
    )
    parser.add_argument("--key", metavar="KEY", help="the same key never queues twice")


def _listing(parser: ArgumentParser) -> None:
    parser.add_argument("--swarm", metavar="SWARM", help="of this swarm alone")
    parser.add_argument("--state", action="append", choices=STATES, metavar="STATE", help=", ".join(STATES))
    parser.add_argument("--limit", type=grammar.whole, metavar="N", help="how many to show (20)")


def _naming(parser: ArgumentParser) -> None:
    parser.add_argument("merge", metavar="ID", help="as `merge list` shows it")


COMMANDS = {
    "enqueue": Command(
        enqueue,
        "queue what agents brought back",
        _queueing,
        details="Each is rebased onto the target in a scratch clone, in a jail; the gates run there too,\n"
        "without network; then the target moves, or nothing does. Yours moves by: dashctl swarm land",
    ),
    "list": Command(list_, "the queue, and what came of it", _listing),
    "status": Command(status, "how a merge stands", _naming),
    "cancel": Command(cancel, "take a merge out of the queue", _naming),
}
