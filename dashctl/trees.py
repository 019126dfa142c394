"""Repositories at the console: the flags that give a swarm one, what came back of it, and the last step."""

from __future__ import annotations

import os

from dashctl import asking
from dashctl.commands import Command
from dashd.wire import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Mapping
    from types import SimpleNamespace
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

CLEANUPS = ("immediate", "on-success", "delayed", "manual")
LAND_S_MAX = 300.0
"""Longer than dashd waits for a rebase and for the landing itself."""
_FILES_MAX = 20
"""That a report names of each agent."""


GIVEN = ("base", "begin_from", "workspace", "cleanup", "shared", "isolated")


def arguments(parser: ArgumentParser) -> None:
    """Adds the flags of a swarm on a repository."""
    parser.add_argument(
        "--repo", metavar="DIR", help="a git repository: each agent works in a clone, and a branch comes back"
    )
    parser.add_argument("--base", metavar="REF", help="what work starts from (HEAD)")
    parser.add_argument(
        "--begin-from", metavar="CHECKPOINT", help="of a session: each agent goes on from a copy of it"
    )
    parser.add_argument(
        "--workspace",
        choices=("agent", "swarm"),
        metavar="WHOSE",
        help="a clone for each agent, or one (agent)",
    )
    parser.add_argument(
        "--cleanup",
        choices=CLEANUPS,
        metavar="WHEN",
        help="when clones are saved and removed: immediate, on-success (the default), delayed or manual",
    )
    parser.add_argument(
        "--shared",
        action="append",
        metavar="NAME",
        help="a dependency folder that agents get read-only (node_modules, .venv)",
    )
    parser.add_argument(
        "--isolated", action="append", metavar="NAME", help="one of these that each agent makes for itself"
    )


def parameters(args: SimpleNamespace) -> dict[str, Any]:
    """What swarm.create is given, `cwd` included; None is: not given."""
    given = {name: getattr(args, name) for name in GIVEN}
    if args.repo is None:
        return {"cwd": os.path.abspath(args.cwd or "."), **given}
    named = os.path.realpath(args.repo)
    top = _top(named)
    cwd = os.path.realpath(args.cwd) if args.cwd else (named if named != top else None)
    return {"repo": top, "cwd": cwd, **given}


def _top(folder: str) -> str:
    """The top folder of the repository that a folder is in; the folder itself where it is in none."""
    here = folder
    while not os.path.exists(os.path.join(here, ".git")):
        above = os.path.dirname(here)
        if above == here:
            return folder
        here = above
    return here


def facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How a swarm's repository is shown."""
    if not found.get("repo"):
        return []
    whose = "each agent has a clone" if found["workspace"] == "agent" else "all share one clone"
    return [("repo", f"{found['repo']} at {found['base'][:12]}: {whose}, cleanup {found['cleanup']}")]


def show_files(out: Output, trees: list[dict[str, Any]]) -> None:
    """What came back, by clone, with what to look at before it is run."""
    if not trees:
        return
    out.line()
    out.line(("Came back", "bold"))
    for tree in trees:
        total = len(tree["files"]) + tree["more_files"]
        what = asking.plural(total, "file") if tree["commit"] else "nothing yet"
        out.line(f"  {tree['branch'] or tree['worktree']}  {what}", (f"  (clone {tree['state']})", "dim"))
        for file in tree["files"][:_FILES_MAX]:
            flags = f"  runs or is believed: {', '.join(file['flags'])}" if file["flags"] else ""
            out.line(f"    {file['status']}  {safe.line(file['path'])}", (safe.line(flags), "yellow"))
        if (more := total - len(tree["files"][:_FILES_MAX])) > 0:
            out.line(f"    and {more} more")
        if tree["salvage"]:
            whole = "" if tree["problem"] else " whole"  # the problem says what is not in there
            out.line(f"    saved{whole}: refs/dash/salvage/{tree['worktree']}")
        if tree["problem"]:
            out.block(tree["problem"], indent="    ! ")


def land(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Moves a branch of the user's, files and all, to what the swarm's merges have come to."""
    found = dash.call(
        "swarm.land", deadline_s=LAND_S_MAX, swarm=args.swarm, onto=args.onto, rebase=args.rebase or None
    )
    if out.as_json:
        out.data(found)
    elif found["approval"]:
        out.line(f"It waits for a yes: dashctl approval resolve {found['approval']} allow")
    elif found["state"] != "landed":
        out.line(f"It is {found['state']}; dashctl events --swarm {found['id']} tells of its end")
    elif found["before"] == found["commit"]:
        out.line(f"{found['onto']} is at {found['commit'][:12]} already")
    else:
        out.line(f"{found['onto']} moved from {found['before'][:12]} to {found['commit'][:12]}")
    return 0


def landing_arguments(parser: ArgumentParser) -> None:
    """Adds what is landed, and onto what."""
    parser.add_argument("swarm", metavar="SWARM")
    parser.add_argument("--onto", metavar="BRANCH", help="of your repository (the one that is checked out)")
    parser.add_argument(
        "--rebase", action="store_true", help="put the result on top of a branch that has moved on, first"
    )


def diff(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Says what an agent has changed, committed or not."""
    found = dash.call("agent.diff", agent=args.agent, patch_bytes=0 if args.stat else None)
    if out.as_json:
        out.data(found)
        return 0
    for file in found["files"]:
        lines = (
            "binary" if file["lines_added"] is None else f"+{file['lines_added']} -{file['lines_removed']}"
        )
        flags = f"  {', '.join(file['flags'])}" if file["flags"] else ""
        out.line(f"{file['status']}  {safe.line(file['path'])}  {lines}", (safe.line(flags), "yellow"))
    for nested in found["nested"]:
        out.line(f"nested repository  {safe.line(nested)}")
    if found["more_files"]:
        out.line(f"and {found['more_files']} more")
    if not (found["files"] or found["nested"]):
        out.line("Nothing has changed.")
    if found["patch"]:
        out.line()
        out.block(found["patch"], indent="")
        if found["patch_cut"]:
            out.note("The patch is cut; the branch, or --json, has more.")
    return 0


def diff_arguments(parser: ArgumentParser) -> None:
    """Adds whose."""
    parser.add_argument("agent", metavar="AGENT")
    parser.add_argument("--stat", action="store_true", help="the files alone, without the patch")


LAND = Command(
    land,
    "move your branch to what its merges have come to",
    landing_arguments,
    details="Refused, with the paths, unless that checkout is clean; then branch, index and files move.",
)
