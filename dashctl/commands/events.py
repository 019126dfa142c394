"""`dashctl events`: what happened, and with --follow what happens.

With --json every event is a line of its own, so that a pipe can read them as they come.
"""

from __future__ import annotations

from dashctl import following, grammar, render
from dashctl.commands import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator
    from types import SimpleNamespace
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

LATEST = 20
NARROW = 100
"""Columns of a terminal below which an event has no date."""
_PAGE = 1_000
_STYLES = {
    "failed": "red",
    "dead": "red",
    "killed": "yellow",
    "lost": "yellow",
    "retrying": "yellow",
    "paused": "yellow",
    "completed": "cyan",
    "destroyed": "dim",
    "cancelled": "dim",
    "alert": "red",
    "error": "red",
}


def run(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Shows events; the latest by default, everything after --since with it."""
    wanted = {"swarm": args.swarm, "kinds": args.kind, "attention": args.attention or None}
    if args.since is None:
        found, cursor = _latest(dash, wanted, LATEST if args.limit is None else args.limit)
        _show_all(out, found)
    else:
        cursor = _since(args, dash, out, wanted)
    if args.follow:
        come_back = f"dashctl events --follow --since {cursor}"
        for events in following.batches(
            dash,
            out,
            since=cursor,
            swarm=args.swarm,
            kinds=args.kind or (),
            attention=args.attention or None,
            come_back=come_back,
        ):
            _show_all(out, events)
            out.flush()
    return 0


def _latest(dash: Dash, wanted: dict[str, Any], count: int) -> tuple[list[dict[str, Any]], int]:
    """The last `count` events that are wanted, and the cursor after them: looks back further and further."""
    end: int = dash.call("daemon.status")["last_seq"]
    window = max(count, 1)
    while True:
        since = max(end - window, 0)
        found: list[dict[str, Any]] = []
        for page in _pages(dash, wanted, since):
            found = (found + [event for event in page if event["seq"] <= end])[-count:] if count else []
            if page[-1]["seq"] >= end:
                break
        if len(found) >= count or since == 0:
            return found, end
        window *= 8


def _since(args: SimpleNamespace, dash: Dash, out: Output, wanted: dict[str, Any]) -> int:
    cursor: int = args.since
    left = args.limit
    for page in _pages(dash, wanted, cursor, limit=left):
        _show_all(out, page)
        cursor = page[-1]["seq"]
        if left is not None:
            left -= len(page)
            if left <= 0:
                break
    return cursor


def _pages(
    dash: Dash, wanted: dict[str, Any], since: int, limit: int | None = None
) -> Iterator[list[dict[str, Any]]]:
    """Pages of events, none of them empty, until there is no more now."""
    more = limit is None or limit > 0
    while more:
        page = dash.call("event.list", since=since, limit=min(limit or _PAGE, _PAGE), **wanted)
        if page["events"]:
            yield page["events"]
        since, more = page["cursor"], page["more"]


def _show_all(out: Output, events: list[dict[str, Any]]) -> None:
    for event in events:
        if out.as_json:
            out.data_line(event)
        else:
            _show(out, event)


def _show(out: Output, event: dict[str, Any]) -> None:
    about = event.get("task") or event.get("agent") or event.get("swarm") or "-"
    if event.get("task") and event.get("agent"):
        about += f" {event['agent']}"
    style = _STYLES.get(event["kind"].partition(".")[2], "")
    narrow = out.width is not None and out.width < NARROW
    at = render.instant(event["at"], shape="%H:%M:%S") if narrow else render.instant(event["at"])
    out.line(
        (f"{event['seq']:>6} {at}", "dim"),
        "  ",
        (event["kind"].ljust(15), style),
        f"  {about.ljust(21)}  ",
        render.values(event.get("data", {})),
    )


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--follow", "-f", action="store_true", help="go on as they happen, across restarts of dashd"
    )
    parser.add_argument(
        "--since", type=grammar.whole, metavar="SEQ", help="everything after this one; 0 is all"
    )
    parser.add_argument(
        "--limit", "-n", type=grammar.whole, metavar="N", help=f"at most so many (the last {LATEST})"
    )
    parser.add_argument(
        "--kind",
        "-k",
        action="append",
        metavar="PATTERN",
        help="such as task.dead or agent.*; again for more",
    )
    parser.add_argument("--swarm", "-s", metavar="SWARM", help="only of this swarm")
    parser.add_argument(
        "--attention", action="store_true", help="only what somebody should be interrupted for"
    )


COMMANDS = {"events": Command(run, "what happened, and what happens (--follow)", _arguments)}
