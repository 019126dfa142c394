"""The only door to stdout, stderr and the keyboard.

Whatever is written passes `safe` here, and colour is added after it, so that nothing an agent wrote
reaches a terminal as it was (invariant 12). Data goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import os

from dashd.wire import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TextIO

    Part = str | tuple[str, str]
    """Text, or `(text, style)`."""

STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
WIDTH_DEFAULT = 80

STATE_STYLES = {
    "running": "green",
    "active": "green",
    "ready": "green",
    "completed": "cyan",
    "succeeded": "cyan",
    "paused": "yellow",
    "retrying": "yellow",
    "stopping": "yellow",
    "partial": "yellow",
    "lost": "yellow",
    "failed": "red",
    "dead": "red",
    "killed": "red",
    "degraded": "red",
    "destroyed": "dim",
    "cancelled": "dim",
    "waiting": "dim",
    "idle": "dim",
}
"""Colours repeat what the word says; they are never the only signal."""


class Output:
    """Where a command writes."""

    def __init__(
        self,
        stdout: TextIO,
        stderr: TextIO,
        stdin: TextIO,
        environ: Mapping[str, str],
        *,
        as_json: bool = False,
        color: str = "auto",
    ) -> None:
        """`color`: auto (NO_COLOR, FORCE_COLOR, CLICOLOR_FORCE and TERM=dumb decide), always or never."""
        self.as_json = as_json
        self.stdin = stdin
        self._stdout, self._stderr = stdout, stderr
        self.is_terminal = stdout.isatty()
        self.notes_on_terminal = stderr.isatty()
        self.width = _columns(stdout, environ) if self.is_terminal else None
        """Columns of the terminal; None where there is none, and nothing is cut then."""
        self.unicode = (getattr(stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
        self.ellipsis = "…" if self.unicode else "..."
        self.color = _wants_color(color, environ, self.is_terminal)
        self._notes_color = _wants_color(color, environ, self.notes_on_terminal)
        self._passing = ""

    def line(self, *parts: Part) -> None:
        """One line of data; each part is sanitised, then coloured."""
        self._stdout.write(_join(parts, self.color) + "\n")

    def block(self, text: str, *, indent: str = "") -> None:
        """Text of several lines, sanitised."""
        for text_line in safe.block(text.rstrip("\n")).split("\n"):
            self._stdout.write(f"{indent}{text_line}".rstrip() + "\n")

    def stream(self, text: str) -> None:
        """A piece of running text, sanitised, shown at once and without a line end of ours."""
        self._stdout.write(safe.block(text))
        self._stdout.flush()

    def laid_out(self, text: str) -> None:
        """Lines that a layouter of ours made, with its own colours, from text that `safe` has seen."""
        self._stdout.write(text)

    def raw(self, text: str) -> None:
        """Text as it is. Only for a stdout that is no terminal, where the person asked for it."""
        assert not self.is_terminal, "raw text never goes to a terminal"
        self._stdout.write(text)
        self._stdout.flush()

    def data(self, value: object) -> None:
        """`value` as JSON: indented on a terminal, else on one line."""
        self._stdout.write(safe.as_json(value, indent=2 if self.is_terminal else None) + "\n")
        self._stdout.flush()

    def data_line(self, value: object) -> None:
        """`value` as one line of JSON Lines."""
        self._stdout.write(safe.as_json(value, compact=True) + "\n")
        self._stdout.flush()

    def note(self, *parts: Part) -> None:
        """One line for the person, on stderr."""
        self.passing("")
        self._stdout.flush()
        self._stderr.write(_join(parts, self._notes_color) + "\n")
        self._stderr.flush()

    def passing(self, text: str) -> None:
        """A line on a terminal's stderr that the next one replaces; nothing elsewhere."""
        if not self.notes_on_terminal or text == self._passing:
            return
        self._stderr.write(f"\r\x1b[K{safe.line(text)}" if text else "\r\x1b[K")
        self._stderr.flush()
        self._passing = text

    def failure(self, error: dict[str, Any], *, subject: str = "") -> None:
        """An error on stderr: `error: …` and `hint: …`, or the same as one JSON object."""
        if self.as_json:
            self.passing("")
            self._stderr.write(safe.as_json({"error": error}) + "\n")
            self._stderr.flush()
            return
        about = f"{subject}: " if subject else ""
        path = f" ({error['path']})" if error.get("path") and error["path"] not in error["message"] else ""
        self.note(("error:", "red"), f" {about}{error['message'].rstrip('.')}{path}")
        if error.get("hint"):
            from dashctl import wording

            self.note(("hint:", "cyan"), f" {wording.for_person(error['hint'])}")

    def ask(self, question: str) -> bool:
        """Whether the person says yes; anything but y or yes, and the end of input, is a no."""
        self.passing("")
        self._stdout.flush()
        self._stderr.write(f"{safe.line(question)} [y/N] ")
        self._stderr.flush()
        return self.stdin.readline().strip().lower() in ("y", "yes")

    def flush(self) -> None:
        """Hands everything to the system; raises BrokenPipeError where nobody reads."""
        self.passing("")
        self._stdout.flush()


def _join(parts: tuple[Part, ...], color: bool) -> str:
    shown = []
    for part in parts:
        text, style = (part, "") if isinstance(part, str) else part
        text = safe.line(text)
        code = STYLES.get(style) if color and text else None
        shown.append(f"\x1b[{code}m{text}\x1b[0m" if code else text)
    return "".join(shown)


def _columns(stdout: TextIO, environ: Mapping[str, str]) -> int:
    wanted = environ.get("COLUMNS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    try:
        return os.get_terminal_size(stdout.fileno()).columns or WIDTH_DEFAULT
    except (OSError, ValueError):
        return WIDTH_DEFAULT


def _wants_color(choice: str, environ: Mapping[str, str], is_terminal: bool) -> bool:
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if any(environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return is_terminal and environ.get("TERM") != "dumb"
