"""`dashctl program …`: agent programs, installed in pinned versions into Dash's own folder."""

from __future__ import annotations

from dashctl import render
from dashctl.calling import EXIT_FAILED
from dashctl.commands import Command
from dashd.wire import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from types import SimpleNamespace

    from dashctl.calling import Dash
    from dashctl.terminal import Output

INSTALL_S = 960.0
"""A little longer than dashd gives an installation."""
CHECK_S = 120.0
COLUMNS = (
    render.Column("PROGRAM", "name"),
    render.Column("VERSION", "version"),
    render.Column("STATE", "state"),
    render.Column("PATH", "path", least=12, drop=1),
    render.Column("NOTE", "note", least=8),
)


def install(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Installs programs, and what they need; what is there already stays."""
    done = []
    for name in args.names:
        if not out.as_json:
            out.line(f"Installing {safe.line(name)}; it can take a minute")
        found = dash.call("program.install", deadline_s=INSTALL_S, name=name)
        done.append(found)
        if not out.as_json:
            word = f"installed in {found['took_s']:.1f} s" if found["changed"] else "there already"
            out.line((found["name"], "bold"), f" {found['version']}: {word}: {found['path']}")
    if out.as_json:
        out.data(done)
    return 0


def list_(_args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lists the programs that drivers use."""
    found = dash.call("program.list")["programs"]
    if out.as_json:
        out.data(found)
    else:
        render.table(out, COLUMNS, found)
    return 0


def check(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Looks at every file of programs and runs them once; exit code 1 where something is wrong."""
    here = ("installed", "configured", "on PATH", "unusable")
    names = args.names or [
        row["name"] for row in dash.call("program.list")["programs"] if row["state"] in here
    ]
    checked = [dash.call("program.check", deadline_s=CHECK_S, name=name) for name in names]
    if out.as_json:
        out.data(checked)
    for each in checked if not out.as_json else ():
        word, style = ("ok", "green") if each["ok"] else ("not ok", "red")
        out.line((each["name"], "bold"), f" {each['version']}: ", (word, style))
        for line in (*each["faults"], *each["notes"]):
            out.line(f"  {line}")
    if not checked and not out.as_json:
        out.line("No program is installed or configured. Next: dashctl program install openclaw")
    return 0 if all(each["ok"] for each in checked) else EXIT_FAILED


def _some(parser: ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="*", help="programs (all that are here)")


def _at_least_one(parser: ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="+", help="openclaw, pi, node")


COMMANDS = {
    "install": Command(
        install, "install agent programs in the versions that Dash was tested with", _at_least_one
    ),
    "list": Command(list_, "list agent programs and where they are", None),
    "check": Command(check, "look at every file of programs, and run them once", _some),
}
