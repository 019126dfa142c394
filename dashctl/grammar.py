"""The command line: argparse for the one command that was called, and help for all of them.

Options are never abbreviated, so that a new option cannot change what an old script means. A mistake is
answered with what was meant, where that can be guessed.
"""

from __future__ import annotations

import argparse
import textwrap
from types import SimpleNamespace

from dashctl import commands
from dashctl.calling import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import NoReturn

COLOR_CHOICES = ("auto", "always", "never")
_HELP_COLUMNS = 80
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


class Parser(argparse.ArgumentParser):
    """argparse, with Dash's way of saying what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError instead of printing and leaving."""
        raise UsageError(self._meant(message), hint=f"{self.prog} --help")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            name = "/".join(action.option_strings) or action.metavar or action.dest
            raise UsageError(
                f"{name} cannot be '{value}'{closest(str(value), known)}", hint=f"one of: {', '.join(known)}"
            )

    def _meant(self, message: str) -> str:
        what, _, words = message.partition(": ")
        if what != "unrecognized arguments":
            return message
        word = words.split(" ")[0]
        if word.startswith("-"):
            options = [option for action in self._actions for option in action.option_strings]
            return f"there is no option '{word.partition('=')[0]}'{closest(word.partition('=')[0], options)}"
        return f"'{words}' is more than this command takes"


def parser_of(words: Sequence[str], command: commands.Command) -> Parser:
    """The parser of one command."""
    parser = Parser(
        prog=" ".join(("dashctl", *words)),
        description=command.summary,
        epilog=command.details or None,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if command.arguments:
        command.arguments(parser)
    if command.takes_argv:
        parser.usage = parser.format_usage().removeprefix("usage: ").rstrip() + " [-- COMMAND …]"
    shared = parser.add_argument_group("everywhere")
    shared.add_argument("--json", action="store_true", help="answer in JSON, errors too")
    shared.add_argument("--socket", metavar="PATH", help="dashd's socket (DASH_SOCKET)")
    shared.add_argument("--state-dir", metavar="DIR", help="dashd's state folder (DASH_STATE_DIR)")
    shared.add_argument(
        "--color",
        choices=COLOR_CHOICES,
        default="auto",
        metavar="WHEN",
        help="auto, always or never (NO_COLOR, FORCE_COLOR)",
    )
    return parser


def parse(words: Sequence[str], command: commands.Command, rest: Sequence[str]) -> SimpleNamespace:
    """The arguments of one command. Raises UsageError; `--help` prints and raises SystemExit."""
    if command.passes_on:
        return _pass_on(rest)
    own, argv = list(rest), None
    if command.takes_argv and "--" in own:
        at = own.index("--")
        own, argv = own[:at], own[at + 1 :]
        if not argv:
            raise UsageError("after -- there must be a command", hint="… -- python3 check.py {item}")
    args = parser_of(words, command).parse_intermixed_args(own, SimpleNamespace())
    if command.takes_argv:
        args.argv = argv
    return args


def _pass_on(rest: Sequence[str]) -> SimpleNamespace:
    args = commands.bare(as_json="--json" in rest)
    args.argv = list(rest)
    return args


def closest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` where a known word is near, else nothing."""
    import difflib

    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{found[0]}'?" if found else ""


def unknown(problem: commands.Unknown) -> UsageError:
    """What to say about words that name no command."""
    where = " ".join(filter(None, ("dashctl", problem.noun)))
    return UsageError(
        f"there is no command '{where} {problem.word}'{closest(problem.word, problem.among)}",
        hint=f"{where} --help",
    )


def duration_s(text: str) -> float:
    """Seconds, from `90`, `90s`, `5m`, `1.5h`, `2d` or `500ms`. Raises argparse.ArgumentTypeError."""
    digits = "" if " " in text else text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(digits) :] or "s"
    try:
        if unit in _UNITS_S and 0 <= (value := float(digits) * _UNITS_S[unit]) < float("inf"):
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"'{text}' is not a duration; write 90s, 5m or 1.5h")


def whole(text: str) -> int:
    """A whole number from 0. Raises argparse.ArgumentTypeError."""
    if text.isdecimal() and text.isascii():
        return int(text)
    raise argparse.ArgumentTypeError(f"'{text}' is not a whole number")


def top_help() -> str:
    """What `dashctl` alone prints."""
    lines = ["usage: dashctl COMMAND …", "", "Runs swarms of coding agents, through dashd.", ""]
    for module in ("daemon", "events", "local", "complete"):
        lines += _summaries(module, "")
    lines.append("")
    for noun, summary in commands.NOUNS.items():
        verbs = textwrap.wrap(", ".join(commands.of_module(noun)), _HELP_COLUMNS - 18)
        lines += [f"  {noun + ' …':<16}{summary}:", *(" " * 18 + some for some in verbs)]
    lines += [
        "",
        "Everywhere: --json, --socket PATH, --state-dir DIR, --color WHEN.",
        "`dashctl COMMAND --help` says more.",
        "First steps: dashctl up, then dashctl demo.",
    ]
    return "\n".join(lines)


def noun_help(noun: str) -> str:
    """What `dashctl NOUN` alone prints."""
    return "\n".join(
        [
            f"usage: dashctl {noun} COMMAND …",
            "",
            f"{noun}: {commands.NOUNS[noun]}.",
            "",
            *_summaries(noun, ""),
            "",
            f"`dashctl {noun} COMMAND --help` says more.",
        ]
    )


def _summaries(module: str, prefix: str) -> list[str]:
    table = commands.of_module(module)
    return [
        f"  {prefix + word:<16}{command.summary}"
        for word, command in table.items()
        if not word.startswith("_")
    ]
