"""`dashctl key …`: keys with which OpenAI's and Anthropic's clients call models through Dash, and those that
say to dashd who calls (`--kind orchestrator|operator`, shown by DASH_KEY).
"""

from __future__ import annotations

import os

from dashctl import dollars, grammar, money, render
from dashctl.commands import Command
from dashd.wire import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from types import SimpleNamespace
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

COLUMNS = (
    render.Column("KEY", "id"),
    render.Column("NAME", "name", least=8),
    render.Column("KIND", "kind", drop=4),
    render.Column("STATE", "state"),
    render.Column("SPENT", lambda row: dollars.text(row["spent_usd"]) or "", right=True),
    render.Column("LIMIT", lambda row: dollars.text(row["limit_usd"]) or "", right=True),
    render.Column("UNDER", "budget", drop=2),
    render.Column("LAST USED", lambda row: row["last_used_at"] or "never", drop=1),
    render.Column("EXPIRES", lambda row: row["expires_at"] or "never", drop=3),
)
DAY_S = 86_400
EXPIRES_S_MAX = 3_650 * DAY_S
GRACE_S_MAX = 30 * DAY_S
KINDS = ("proxy", "orchestrator", "operator")
RATES = ("requests_per_minute", "tokens_per_minute", "requests_per_day", "tokens_per_day")


def create(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Makes a key and shows its secret, this once."""
    given: dict[str, Any] = {
        "name": args.name,
        "kind": args.kind,
        "budget": args.budget,
        "limit_usd": args.limit,
        "limit_tokens": args.tokens,
        "model": args.model,
        "within": args.within,
        "unsafe_no_jail": args.unsafe_no_jail or None,
        "expires_in_s": args.expires,
    }
    return _told(out, dash.call("key.create", **given, **{name: getattr(args, name) for name in RATES}))


def list_(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lists the keys."""
    found = dash.call("key.list", all=args.all or None)
    if out.as_json:
        out.data(found)
        return 0
    if not found["keys"]:
        out.line("There is no key, so no port is open for programs outside.")
        out.line("Next: dashctl key create NAME --limit 5")
        return 0
    render.table(out, COLUMNS, found["keys"])
    out.line()
    _where(out, found)
    return 0


def rotate(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Gives a key a new secret and shows it, this once."""
    return _told(out, dash.call("key.rotate", key=args.key, grace_s=args.grace))


def revoke(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Ends a key: calls with it are refused from now on."""
    found = dash.call("key.revoke", key=args.key)
    if out.as_json:
        out.data(found)
    else:
        out.line(
            f"Key {found['id']} {'opens nothing any more' if found['changed'] else 'was revoked before'}"
        )
    return 0


def _told(out: Output, found: dict[str, Any]) -> int:
    if out.as_json:
        out.data(found)
        return 0
    key = found["key"]
    out.line(f"Key {key['id']} of {safe.line(key['name'])}. Its secret is shown this once:")
    out.line()
    out.line(f"  {safe.line(found['secret'])}")
    out.line()
    if key["kind"] != "proxy":
        out.line(
            f"Whoever shows it is {key['kind']}:{safe.line(key['name'])}: DASH_KEY=… dashctl, or dash-mcp"
        )
        return 0
    _where(out, found)
    out.line(f"What it spends: dashctl budget status {key['id']}")
    return 0


def _where(out: Output, found: dict[str, Any]) -> None:
    if found["problem"]:
        out.line(("The door is shut: ", "red"), safe.line(found["problem"]))
        return
    if not found["url"]:
        out.line("No key is for model calls, so no port is open for programs outside.")
        return
    url = safe.line(found["url"])
    out.line(f"OpenAI's clients:    OPENAI_BASE_URL={url}")
    out.line(f"Anthropic's clients: ANTHROPIC_BASE_URL={url.removesuffix('/v1')}")


def _lasting(text: str) -> int:
    """Whole seconds from 1: a key that is good for no time is a mistake."""
    return _seconds(text, 1, EXPIRES_S_MAX)


def _grace(text: str) -> int:
    return _seconds(text, 0, GRACE_S_MAX)


def _seconds(text: str, least: int, most: int) -> int:
    import argparse

    found = grammar.duration_s(text)
    if least <= found <= most and found == int(found):
        return int(found)
    raise argparse.ArgumentTypeError(
        f"'{text}' is not from {least}s to {most // DAY_S}d in whole seconds; write 30d, 12h or 90s"
    )


def _creating(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="whose it is: editor, ci, anna")
    parser.add_argument(
        "--kind",
        choices=KINDS,
        help="proxy: for model calls (the default); the others say to dashd who calls",
    )
    parser.add_argument("--limit", type=dollars.amount, metavar="USD", help="dollars it may spend in all")
    parser.add_argument("--tokens", type=grammar.whole, metavar="N", help="tokens it may use in all")
    parser.add_argument("--budget", metavar="BUDGET", help="the budget above its own (project)")
    parser.add_argument(
        "--model", type=money.model, metavar="MODEL", help="what its calls go to, whatever they name"
    )
    parser.add_argument(
        "--within",
        action="append",
        metavar="DIR",
        type=os.path.abspath,
        help="an orchestrator's: what its swarms reach lies below; again for more",
    )
    parser.add_argument(
        "--unsafe-no-jail", action="store_true", help="an orchestrator's: it may start agents without walls"
    )
    parser.add_argument("--expires", type=_lasting, metavar="TIME", help="how long it is good: 30d")
    for name in RATES:
        what, _, period = name.split("_")
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=grammar.whole,
            metavar="N",
            help=f"{what} a {period}; 0: no limit",
        )


def _listing(parser: ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="those that were revoked too")


def _one(parser: ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", help="its id or its name")


def _rotating(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("--grace", type=_grace, metavar="TIME", help="how long the old secret stays good")


COMMANDS = {
    "create": Command(create, "make a key; its secret is shown once", _creating),
    "list": Command(list_, "list the keys, and where they are used", _listing),
    "rotate": Command(rotate, "give a key a new secret", _rotating),
    "revoke": Command(revoke, "end a key", _one),
}
