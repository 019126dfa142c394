"""`dashctl gateway …`: processes that agents run in together. A token is read from stdin, never from argv."""

from __future__ import annotations

from functools import partial

from dashctl import places, render
from dashctl.calling import UsageError
from dashctl.commands import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from types import SimpleNamespace
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

ONE = "a gateway"
TOKEN_CHARACTERS_MAX = 10_000
ADD_S = 60.0
"""Its token's command is run before it is answered."""
COLUMNS = (
    render.Column("GATEWAY", "name"),
    render.Column("KIND", "kind"),
    render.Column("HEALTH", lambda row: row["health"] + (", draining" if row["draining"] else "")),
    render.Column("WALLS", lambda row: row["grade"] or "", drop=3),
    render.Column("LOAD", lambda row: f"{row['load']}/{row['capacity']}", right=True),
    render.Column("VERSION", lambda row: row["version"] or "", drop=2),
    render.Column("CAN", places.can, drop=3),
    render.Column("OF", lambda row: row["swarm"] or row["url"], least=12, drop=1),
    render.Column("NOTE", "why", least=8),
)


def add(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Adds an existing gateway; its token comes on stdin, or from a command that prints it."""
    given: dict[str, object] = {
        "name": args.name,
        "url": args.url,
        "capabilities": args.capability,
        "region": args.region,
        "capacity": args.capacity,
        "unsafe_no_jail": args.unsafe_no_jail or None,
    }
    if args.token_command is None:
        given["token"] = _token(out)
    elif args.token_command:
        given["token_command"] = args.token_command
    else:
        raise UsageError("after --token-command there must be a program", hint="… pass show gateway")
    found = dash.call("gateway.add", deadline_s=ADD_S, **given)
    if out.as_json:
        out.data(found)
        return 0
    out.line(
        f"Gateway {found['name']} added: {found['url']}, without walls; once it answers, it is given the work"
        " of swarms with --mode gateway --unsafe-no-jail"
    )
    out.line(f"Next: dashctl gateway health {found['name']}")
    return 0


def list_(_args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lists the gateways."""
    none = "There is no gateway; a swarm with --mode gateway gets one of its own."
    return places.list_(dash, out, "gateway", COLUMNS, none)


def get(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Shows one gateway."""
    return places.get(args, dash, out, "gateway", COLUMNS)


def health(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Asks gateways whether they are ready and take the token; exit code 1 where one does not."""

    def took(each: dict[str, Any]) -> str:
        return "" if each["latency_ms"] is None else f" ({each['latency_ms']:.0f} ms)"

    return places.health(args, dash, out, "gateway", took)


def drain(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lets a gateway take nothing new, or work again; exit code 1 where more runs in it after the wait."""
    return places.drain(args, dash, out, "gateway")


def remove(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Removes an added gateway and its token."""
    found = dash.call("gateway.remove", name=args.name)
    if out.as_json:
        out.data(found)
    else:
        out.line(f"Gateway {found['name']} and its token are gone from Dash; the gateway itself runs on")
    return 0


def _token(out: Output) -> str:
    """One word from stdin; a person at a terminal types it unseen."""
    if out.stdin.isatty():
        import getpass

        token = getpass.getpass("Token (not shown): ")
    else:
        token = out.stdin.read(TOKEN_CHARACTERS_MAX + 1)
    if not token.strip():
        raise UsageError(
            "no token came on stdin", hint="dashctl gateway add … < TOKENFILE, or --token-command PROGRAM"
        )
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise UsageError(f"what came on stdin is longer than {TOKEN_CHARACTERS_MAX} characters; no token is")
    return token.strip()


def _adding(parser: ArgumentParser) -> None:
    places.one(parser, places.NEW_NAME)
    parser.add_argument("--url", required=True, metavar="URL", help="on loopback: ws://127.0.0.1:18789")
    places.adding(parser, "runs at once (8)")
    parser.add_argument(
        "--unsafe-no-jail", action="store_true", help="you know that Dash puts no walls around it"
    )
    parser.add_argument(
        "--token-command",
        nargs="...",  # argparse.REMAINDER: the command's options are its own
        metavar="WORD",
        help="the program that prints the token, with its options, run now and at each start; give this last",
    )


COMMANDS = {
    "add": Command(
        add,
        "add an existing gateway on this host, or replace it; its token is read from stdin",
        _adding,
        details="example: dashctl gateway add desk --url ws://127.0.0.1:18789 --unsafe-no-jail < TOKENFILE",
    ),
    "list": Command(list_, "list the gateways and how they fare", None),
    "get": Command(get, "show a gateway", partial(places.one, what=ONE)),
    "health": Command(
        health,
        "ask gateways whether they are ready and take the token",
        partial(places.some, what="gateways"),
    ),
    "drain": Command(drain, "let a gateway take nothing new", partial(places.draining, what=ONE)),
    "remove": Command(remove, "remove an added gateway and its token", partial(places.one, what=ONE)),
}
