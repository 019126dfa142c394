"""`dashctl agent logs`: what an agent printed, its end or all of it, and on as it comes.

The offset is the cursor: a follower that loses dashd goes on where it was.
"""

from __future__ import annotations

from dashctl import calling, following, grammar
from dashd import client_blocking
from dashd.wire import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator
    from types import SimpleNamespace
    from typing import Any

    from dashctl.calling import Dash
    from dashctl.terminal import Output

PIECE_BYTES = 262_144
WAIT_S = 60.0
"""The longest that dashd waits for more in one call."""


def run(args: SimpleNamespace, dash: Dash, out: Output) -> int:
    """Shows the log, and follows it with -f until the attempt has ended."""
    if args.raw and out.is_terminal:
        raise calling.UsageError(
            "--raw is for files and pipes: an agent's control characters could mislead a terminal",
            hint=f"dashctl agent logs --raw {args.agent} > agent.log",
        )
    shown = _Shown(args, out)
    for piece in _pieces(args, dash, out):
        shown.add(piece)
        last = piece
    shown.end()
    if last["attempt"] is None and not out.as_json:
        out.note(f"{args.agent} has printed nothing: it has not started yet.")
    elif args.follow and not out.as_json:
        out.note(f"(attempt {last['attempt']} has ended)")
    return 0


def _pieces(args: SimpleNamespace, dash: Dash, out: Output) -> Iterator[dict[str, Any]]:
    """At least one piece; with --follow until nothing more comes."""
    offset = 0 if args.all else None
    attempt = args.attempt
    wait_s = None
    while True:
        try:
            piece = dash.call(
                "agent.logs",
                agent=args.agent,
                attempt=attempt,
                offset=offset,
                bytes_max=PIECE_BYTES,
                stream=args.stream,
                wait_s=wait_s,
                deadline_s=WAIT_S + calling.ANSWER_S,
            )
        except client_blocking.CallFailed as failure:
            if not (args.follow and following.went_away(failure)):
                raise
            following.reconnect(dash, out, come_back=f"dashctl agent logs -f {args.agent}")
            continue
        yield piece
        grown = piece["next_offset"] != offset
        if piece["attempt"] is not None:
            # From here on the same attempt: an offset means nothing in another one.
            attempt, offset = piece["attempt"], piece["next_offset"]
        if not args.follow and not (args.all and piece["text"] and grown):
            return
        if args.follow and piece["ended"] and not piece["text"]:
            return
        wait_s = WAIT_S if args.follow else None


class _Shown:
    """Writes pieces, and never half an escape sequence of one."""

    def __init__(self, args: SimpleNamespace, out: Output) -> None:
        self.args, self.out = args, out
        self.kept = ""
        self.at_line_start = True
        self.first = True

    def add(self, piece: dict[str, Any]) -> None:
        if self.out.as_json:
            if self.args.follow or self.args.all:
                if piece["text"] or self.first:
                    self.out.data_line(piece)
            else:
                self.out.data(self._tailed(piece))
        elif self.args.raw:
            self.out.raw(self._tailed(piece)["text"])
        else:
            text, self.kept = safe.split_open_sequence(self.kept + self._tailed(piece)["text"])
            self._write(text)
        self.first = False

    def end(self) -> None:
        if not self.out.as_json and not self.args.raw:
            self._write(self.kept)
            if not self.at_line_start:
                self._write("\n")

    def _write(self, text: str) -> None:
        if text:
            self.out.stream(text)
            self.at_line_start = text.endswith("\n")

    def _tailed(self, piece: dict[str, Any]) -> dict[str, Any]:
        """The first piece cut to the last lines that were asked for."""
        if not self.first or self.args.tail is None:
            return piece
        lines = piece["text"].splitlines(keepends=True)
        return {**piece, "text": "".join(lines[len(lines) - min(self.args.tail, len(lines)) :])}


def arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of `agent logs`."""
    parser.add_argument("agent", metavar="AGENT")
    parser.add_argument(
        "--follow", "-f", action="store_true", help="go on as it prints, until its attempt has ended"
    )
    parser.add_argument(
        "--tail", "-n", type=grammar.whole, metavar="LINES", help="only the last lines of what is there"
    )
    parser.add_argument("--all", action="store_true", help="from the beginning (the last 256 KiB)")
    parser.add_argument(
        "--attempt", type=grammar.whole, metavar="N", help="of the agent's N-th attempt (the last)"
    )
    parser.add_argument(
        "--stream", choices=("both", "stdout", "stderr"), metavar="WHICH", help="both, stdout or stderr"
    )
    parser.add_argument("--raw", action="store_true", help="as it was printed; not on a terminal")
