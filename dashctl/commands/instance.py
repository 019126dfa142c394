"""`dashctl instance …`: places where Pis run."""

from __future__ import annotations

from functools import partial

from dashctl import places, render
from dashctl.commands import Command
from dashd.wire import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from types import SimpleNamespace
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

ONE = "an instance"
COLUMNS = (
    render.Column("INSTANCE", "name"),
    render.Column("SOURCE", "source", drop=3),
    render.Column("HEALTH", lambda row: row["health"] + (", draining" if row["draining"] else "")),
    render.Column("LOAD", lambda row: f"{row['load']}/{row['capacity']}", right=True),
    render.Column("VERSION", lambda row: row["version"] or "", drop=2),
    render.Column("CAN", places.can, drop=3),
    render.Column("PROGRAM", lambda row: row["program"] or "", least=12, drop=1),
    render.Column("NOTE", "why", least=8),
)


def add(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Adds another installation of Pi."""
    found = dash.call(
        "instance.add",
        name=args.name,
        program=args.program,
        source=args.source,
        capabilities=args.capability,
        region=args.region,
        capacity=args.capacity,
    )
    if out.as_json:
        out.data(found)
        return 0
    out.line(f"Instance {found['name']} added: {found['program']}, {found['capacity']} Pis at once")
    out.line(f"Next: dashctl instance health {found['name']}")
    return 0


def list_(_args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lists the instances."""
    return places.list_(dash, out, "instance", COLUMNS, "There is no instance.")


def get(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Shows one instance."""
    return places.get(args, dash, out, "instance", COLUMNS)


def health(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Looks whether instances can start a Pi; exit code 1 where one cannot."""

    def version(each: dict[str, Any]) -> str:
        return f" ({safe.line(each['version'])})" if each["ok"] and each["version"] else ""

    return places.health(args, dash, out, "instance", version)


def drain(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lets an instance take nothing new, or work again; exit code 1 where more runs in it after the wait."""
    return places.drain(args, dash, out, "instance")


def remove(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Removes an added instance."""
    found = dash.call("instance.remove", name=args.name)
    if out.as_json:
        out.data(found)
    else:
        out.line(f"Instance {found['name']} is gone from Dash; its program stays where it is")
    return 0


def _adding(parser: ArgumentParser) -> None:
    places.one(parser, places.NEW_NAME)
    parser.add_argument("--program", metavar="PATH", help="its cli.js, by absolute path")
    parser.add_argument(
        "--source", choices=("static", "gateway"), help="static: on this host, and the only one for now"
    )
    places.adding(parser, "Pis at once (8)")


COMMANDS = {
    "add": Command(
        add,
        "add another installation of Pi on this host, or replace it",
        _adding,
        details="example: dashctl instance add next --program /opt/pi-next/node_modules/…/dist/bundle/cli.js",
    ),
    "list": Command(list_, "list the places where Pis run, and how they fare", None),
    "get": Command(get, "show an instance", partial(places.one, what=ONE)),
    "health": Command(
        health, "look whether instances can start a Pi", partial(places.some, what="instances")
    ),
    "drain": Command(drain, "let an instance take nothing new", partial(places.draining, what=ONE)),
    "remove": Command(remove, "remove an added instance; its program stays", partial(places.one, what=ONE)),
}
