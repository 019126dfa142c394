"""`dashctl model …`: which models can be called, what they cost, and what the operator says of them."""

from __future__ import annotations

from dashctl import grammar, render, wording
from dashctl.calling import UsageError
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

COLUMNS = (
    render.Column("MODEL", "name"),
    render.Column("PROVIDER", "provider"),
    render.Column("IN $/M", lambda row: _per_mtok(row, "input"), right=True),
    render.Column("OUT $/M", lambda row: _per_mtok(row, "output"), right=True),
    render.Column("CONTEXT", lambda row: _count(row["context_tokens"]), right=True, drop=2),
    render.Column("HEALTH", "health", drop=1),
    render.Column("FIRST BYTE", lambda row: _ms(row["latency_ms"]), right=True, drop=3),
    render.Column("ALIASES", lambda row: ", ".join(row["aliases"]), least=8, drop=4),
)
ALIASES = (
    render.Column("ALIAS", "name"),
    render.Column("LEADS TO", lambda row: _leads_to(row["leads_to"]), least=20),
    render.Column("SET AS", "means", least=8, drop=1),
)
CALLS = (
    render.Column("CALL", "id", right=True),
    render.Column("AT", "at"),
    render.Column("BY", lambda row: row["agent"] or row["budget"]),
    render.Column("MODEL", lambda row: f"{row['provider']}/{row['model']}", drop=2),
    render.Column("USD", lambda row: f"{row['usd']:.6f}", right=True),
    render.Column("BASIS", "basis", drop=3),
    render.Column("ASKED", lambda row: _count(row["meta"].get("request_bytes")), right=True, drop=1),
    render.Column("ANSWERED", lambda row: _count(row["meta"].get("answer_bytes")), right=True, drop=1),
)
_SETTABLE = ("provider", "context_tokens", "output_tokens_max", "input_usd_per_mtok", "output_usd_per_mtok")


def list_(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Lists the models that can be used."""
    found = dash.call("model.list", provider=args.provider)
    if out.as_json:
        out.data(found)
        return 0
    render.table(out, COLUMNS, found["models"])
    if found["aliases"]:
        out.line()
        render.table(out, ALIASES, found["aliases"])
    out.line()
    out.line(("Default: ", "bold"), safe.line(f"{found['default']}, because {found['why_default']}"))
    return 0


def get(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Says what is known of a model."""
    _show(out, dash.call("model.get", model=args.model))
    return 0


def set_(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Sets a model's price, aliases or abilities; a price makes an unknown one usable."""
    given: dict[str, Any] = {name: getattr(args, name) for name in _SETTABLE}
    given["aliases"] = [] if args.no_alias else args.alias or None
    given["capabilities"] = args.capability or None
    if all(value is None for value in given.values()):
        raise UsageError("nothing to set", hint="dashctl model set --help")
    _show(out, dash.call("model.set", model=args.model, **given))
    return 0


def calls(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Shows what was said in model calls, where that is kept."""
    found = dash.call(
        "model.calls", of=args.of, limit=args.limit, before=args.before, texts=args.full or None
    )
    if out.as_json:
        out.data(found)
        return 0
    if not found["calls"]:
        why = " (proxy.bodies is off: nothing is)" if found["kept"] == "off" else ""
        out.line(f"No call is kept{why}")
    for row in found["calls"] if args.full else ():
        _said(out, row)
    if found["calls"] and not args.full:
        render.table(out, CALLS, found["calls"])
    if found["next"]:
        out.line(f"Older ones: --before {found['next']}")
    return 0


def _said(out: Output, row: dict[str, Any]) -> None:
    """Texts line by line: what an agent or a model wrote must not move the cursor."""
    out.line((f"{row['id']} {row['at']} {row['agent'] or row['budget']} {safe.line(row['model'])}", "bold"))
    for name in ("request", "answer"):
        for number, text in enumerate((row[name] or "(not kept)").splitlines() or [""]):
            out.line((f"  {name if not number else '':<8} ", "dim"), safe.line(text))
    out.line()


def _show(out: Output, row: dict[str, Any]) -> None:
    if out.as_json:
        out.data(row)
        return
    pretends = " (a stand-in: it only pretends)" if row["stand_in"] else ""
    render.facts(
        out,
        [
            ("model", f"{row['name']}{pretends}"),
            ("provider", row["provider"]),
            ("aliases", ", ".join(row["aliases"])),
            ("a call tries", _leads_to(row["leads_to"]) if len(row["leads_to"]) > 1 else ""),
            ("able to", ", ".join(row["capabilities"])),
            ("input", f"${row['input_usd_per_mtok']:g} a million tokens"),
            ("output", f"${row['output_usd_per_mtok']:g} a million tokens"),
            *_tiers(row),
            ("prices", f"{row['price_source']}, {row['price_date']}"),
            ("context", _count(row["context_tokens"])),
            ("output up to", _count(row["output_tokens_max"])),
            ("health", row["health"]),
            ("first byte", _ms(row["latency_ms"])),
        ],
    )
    if row["problem"]:
        out.note(("note:", "yellow"), f" {wording.for_person(row['problem'])}")


def _per_mtok(row: Mapping[str, Any], side: str) -> str:
    """With a + where longer calls cost more; model get says how much."""
    return f"{row[f'{side}_usd_per_mtok']:g}{'+' if row.get('tiers') else ''}"


def _tiers(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (
            f"above {tier['over_input_tokens']:,}",
            f"${tier['input_usd_per_mtok']:g} in, ${tier['output_usd_per_mtok']:g} out, of the whole call;"
            " each call holds the dearest",
        )
        for tier in row.get("tiers") or ()
    ]


def _leads_to(names: list[str]) -> str:
    return " -> ".join(names) or "nobody serves it"


def _count(tokens: int | None) -> str:
    return "" if tokens is None else f"{tokens:,}"


def _ms(latency_ms: float | None) -> str:
    return "" if latency_ms is None else f"{latency_ms:.0f} ms"


def _price(text: str) -> float:
    from dashctl import dollars

    return dollars.amount(text)


def _listing(parser: ArgumentParser) -> None:
    parser.add_argument("--provider", metavar="NAME", help="of this provider alone")


def _looking(parser: ArgumentParser) -> None:
    parser.add_argument("of", metavar="ID", nargs="?", help="of a swarm, an agent or a key alone")
    parser.add_argument("--full", action="store_true", help="with what was said")
    parser.add_argument("--limit", type=grammar.whole, metavar="N", help="how many (20)")
    parser.add_argument("--before", type=grammar.whole, metavar="CALL", help="older than this one")


def _one(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a name or an alias")


def _setting(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a name; with --alias also a chain 'a -> b'")
    parser.add_argument("--provider", metavar="NAME", help="the only provider that serves it")
    for word in ("input", "output"):
        parser.add_argument(
            f"--{word}",
            dest=f"{word}_usd_per_mtok",
            type=_price,
            metavar="USD",
            help=f"price of a million {word} tokens",
        )
    parser.add_argument(
        "--alias", action="append", metavar="WORD", help="another name; 'default' is the default"
    )
    parser.add_argument("--no-alias", action="store_true", help="take its aliases away")
    parser.add_argument(
        "--capability", action="append", metavar="WORD", help="what it can do: code, vision …"
    )
    parser.add_argument(
        "--context", dest="context_tokens", type=grammar.whole, metavar="N", help="tokens it holds"
    )
    parser.add_argument(
        "--output-max",
        dest="output_tokens_max",
        type=grammar.whole,
        metavar="N",
        help="tokens it writes at most",
    )


COMMANDS = {
    "list": Command(list_, "list the models that can be used, and the default", _listing),
    "get": Command(get, "what is known of a model", _one),
    "set": Command(set_, "set a model's price, aliases or abilities", _setting),
    "calls": Command(calls, "what was said in model calls, where that is kept", _looking),
}
