"""`dashctl worktree …`: the clones of a repository that agents work in."""

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

STATES = ("creating", "ready", "saving", "removing", "removed")
ANSWER_S_MAX = 330.0
"""Longer than dashd waits for the work itself."""
_COLUMNS = (
    render.Column("ID", "id"),
    render.Column("STATE", "state"),
    render.Column("FILES", "files", right=True, drop=2),
    render.Column("BRANCH", "branch", least=12),
    render.Column("NOTE", lambda row: _note(row), least=12, drop=1),
    render.Column("PATH", "path", least=12, drop=3),
)


def list_(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lists clones, in order of creation."""
    found = dash.call("worktree.list", swarm=args.swarm, states=args.state, limit=args.limit)
    if out.as_json:
        out.data(found)
    elif found["items"]:
        render.table(out, _COLUMNS, found["items"])
    else:
        out.line("There are no such worktrees. A swarm has some with: dashctl swarm create TASK --repo DIR …")
    return 0


def create(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Makes an agent's clone ahead of its task."""
    return _show(out, dash.call("worktree.create", deadline_s=ANSWER_S_MAX, agent=args.agent))


def cleanup(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Saves and removes clones; exit code 1 where one stays."""
    if (args.worktree is None) == (args.swarm is None):
        raise calling.UsageError("name a worktree, or a swarm with --swarm", hint="dashctl worktree list")
    found = dash.call(
        "worktree.cleanup",
        deadline_s=ANSWER_S_MAX,
        worktree=args.worktree,
        swarm=args.swarm,
        give_up=args.give_up or None,
    )
    return _show(out, found)


def salvage(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Saves a clone as a commit in the repository; it stays."""
    return _show(out, dash.call("worktree.salvage", deadline_s=ANSWER_S_MAX, worktree=args.worktree))


def _show(out: Output, found: dict[str, Any]) -> int:
    if out.as_json:
        out.data(found)
    else:
        for row in found["items"]:
            out.line(f"Worktree '{row['id']}' is {row['state']}{_saved(row)}")
            if row["problem"]:
                out.block(row["problem"], indent="  ! ")
    return 1 if any(row["problem"] and row["state"] != "removed" for row in found["items"]) else 0


def _saved(row: dict[str, Any]) -> str:
    if row["salvage"]:  # where there is a problem, it says what is not in there
        return f"; saved{'' if row['problem'] else ' whole'} as refs/dash/salvage/{row['id']}"
    return f"; all of it is in {row['branch']}" if row["state"] == "removed" and row["branch"] else ""


def _note(row: Any) -> str:  # noqa: ANN401
    if row["problem"]:
        return safe.line(row["problem"])
    if row["due_at"]:
        return f"goes at {render.instant(row['due_at'])}"
    return f"look first at {', '.join(row['flagged'])}" if row["flagged"] else ""


def _listing(parser: ArgumentParser) -> None:
    parser.add_argument("--swarm", metavar="SWARM", help="of this swarm alone")
    parser.add_argument("--state", action="append", choices=STATES, metavar="STATE", help=", ".join(STATES))
    parser.add_argument("--limit", type=grammar.whole, metavar="N", help="how many to show (20)")


def _making(parser: ArgumentParser) -> None:
    parser.add_argument("agent", metavar="AGENT")


def _cleaning(parser: ArgumentParser) -> None:
    parser.add_argument("worktree", metavar="ID", nargs="?", help="as `worktree list` shows it")
    parser.add_argument("--swarm", metavar="SWARM", help="all of this swarm")
    parser.add_argument(
        "--give-up", action="store_true", help="also what is too large to be saved, and is lost then"
    )


def _naming(parser: ArgumentParser) -> None:
    parser.add_argument("worktree", metavar="ID", help="as `worktree list` shows it")


COMMANDS = {
    "list": Command(list_, "the clones there are", _listing),
    "create": Command(create, "make an agent's clone ahead of its task", _making),
    "cleanup": Command(
        cleanup,
        "save and remove clones in which nobody works",
        _cleaning,
        details="Nothing is removed before all of it is in your repository: as a branch, or as a commit\n"
        "under refs/dash/salvage/.",
    ),
    "salvage": Command(salvage, "save a clone, .git and ignored files too; it stays", _naming),
}
