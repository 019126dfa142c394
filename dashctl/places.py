"""What `dashctl gateway` and `dashctl instance` have in common: to look at places, ask and drain them."""

from __future__ import annotations

from dashctl import grammar, render
from dashctl.calling import ANSWER_S, EXIT_FAILED, UsageError
from dashd.wire import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable, Sequence
    from types import SimpleNamespace
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

NEW_NAME = "what to call it: a letter, then letters, digits, - and _"
HEALTH_S = 60.0
WAIT_S = 600.0


def can(row: render.Row) -> str:
    """What it can do that others cannot, and where it is."""
    return " ".join(filter(None, (*row["capabilities"], row["region"])))


def list_(dash: Dash, out: Output, noun: str, columns: Sequence[render.Column], none: str) -> int:
    """All of them, or that there is none."""
    found = dash.call(f"{noun}.list")[f"{noun}s"]
    if out.as_json:
        out.data(found)
    elif found:
        render.table(out, columns, found)
    else:
        out.line(none)
    return 0


def get(args: SimpleNamespace, dash: Dash, out: Output, noun: str, columns: Sequence[render.Column]) -> int:
    """One of them."""
    found = dash.call(f"{noun}.get", name=args.name)
    if out.as_json:
        out.data(found)
    else:
        render.table(out, columns, [found])
    return 0


def health(
    args: SimpleNamespace, dash: Dash, out: Output, noun: str, more: Callable[[dict[str, Any]], str]
) -> int:
    """Asks those named, or all; exit code 1 where one is not well. `more` is said of each."""
    names = args.names or [row["name"] for row in dash.call(f"{noun}.list")[f"{noun}s"]]
    asked = [dash.call(f"{noun}.health", deadline_s=HEALTH_S, name=name) for name in names]
    if out.as_json:
        out.data(asked)
    elif not asked:
        out.line(f"There is no {noun}.")
    for each in asked if not out.as_json else ():
        style = "green" if each["ok"] else "red"
        text = f": {safe.line(each['text'])}{more(each)}"
        out.line((each["name"], "bold"), ": ", (each["health"], style), text)
    return 0 if all(each["ok"] for each in asked) else EXIT_FAILED


def drain(args: SimpleNamespace, dash: Dash, out: Output, noun: str) -> int:
    """Lets one take nothing new, or work again; exit code 1 where more runs in it after the wait."""
    if args.off and args.wait is not None:
        raise UsageError("with --off there is nothing to wait for", hint="leave --wait out")
    wait_s = args.wait or 0.0
    found = dash.call(
        f"{noun}.drain", deadline_s=ANSWER_S + wait_s, name=args.name, on=not args.off, wait_s=args.wait
    )
    if out.as_json:
        out.data(found)
    else:
        state = "takes work again" if args.off else "takes nothing new"
        as_before = "" if found["changed"] else ", as before"
        out.line(f"{noun.capitalize()} {found['name']} {state}{as_before}")
        for agent in found["running"] if not args.off else ():
            out.line(f"  {agent} works in it")
    return EXIT_FAILED if args.wait is not None and found["running"] else 0


def one(parser: ArgumentParser, what: str) -> None:
    """Which."""
    parser.add_argument("name", metavar="NAME", help=what)


def some(parser: ArgumentParser, what: str) -> None:
    """Which ones."""
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"{what} (all)")


def draining(parser: ArgumentParser, what: str) -> None:
    """Which, and for how long to wait."""
    one(parser, what)
    parser.add_argument("--off", action="store_true", help="it takes work again")
    parser.add_argument(
        "--wait",
        nargs="?",
        type=grammar.duration_s,
        const=WAIT_S,
        metavar="TIME",
        help="until nothing runs in it, but not for longer than this (10m)",
    )


def adding(parser: ArgumentParser, capacity: str) -> None:
    """What is said of a place that is added."""
    parser.add_argument(
        "--capability", action="append", default=[], metavar="WORD", help="what it can do that others cannot"
    )
    parser.add_argument("--region", metavar="WORD", help="where it is, in your words")
    parser.add_argument("--capacity", type=int, metavar="N", help=capacity)
