"""Driver `command`: any program at all. The driver every later one is measured against.

`argv` is a template in which `{item}`, `{task}` and `{cwd}` are filled in; no shell is involved unless argv
names one. Exit 0 succeeds and the end of stdout is the result. A line
`@dash {"progress": [3, 5], "note": "…"}` on stdout reports progress; anything else a program prints means
nothing to Dash.
"""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dashd.domain import surrogates
from dashd.domain.attempt import Ending
from dashd.domain.speech import FormatName
from dashd.wire import errors

from .driver import Command, History, Printed, Progress, SessionFormat, Work
from .lines import Lines
from .results import RESULT_BYTES_MAX

MARKER = b"@dash "
LINE_BYTES_MAX = 65_536
"""Of a progress line; a longer line is passed over, whatever it holds."""
NOTE_CHARACTERS_MAX = 200
PASSED_ON = frozenset({"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"})
"""What an agent gets of the daemon's environment, and everything that starts with LC_; nothing else."""

PLACEHOLDERS = ("item", "task", "cwd")
_PLACEHOLDER = re.compile(r"(?<!\$)\{(\w{2,12})\}")
"""A word alone in braces; `${item}` is the shell's."""


class _Report(msgspec.Struct):
    """The JSON behind the marker; fields that a later version knows are passed over."""

    progress: (
        Annotated[list[Annotated[int, Meta(ge=0, le=2**53)]], Meta(min_length=1, max_length=2)] | None
    ) = None
    note: str = ""


class ProgressReader:
    """Finds `@dash` lines in stdout, however it is cut into pieces."""

    def __init__(self) -> None:
        self._lines = Lines(LINE_BYTES_MAX)

    @property
    def pending(self) -> bool:
        """True inside a line."""
        return self._lines.pending

    def feed(self, stream: int, output: bytes) -> list[Progress]:
        """The reports that end in this piece; malformed ones are the agent's own affair, passed over."""
        if stream != 1:
            return []
        return [report for line in self._lines.cut(output) if (report := parse(line))]


def parse(line: bytes) -> Progress | None:
    """The report in a line, if it is one."""
    if not line.startswith(MARKER):
        return None
    try:
        report: _Report = surrogates.decode(line[len(MARKER) :], _Report)
    except surrogates.UNREADABLE:
        return None
    done, total = [*(report.progress or []), None, None][:2]
    return Progress(done, total, report.note[:NOTE_CHARACTERS_MAX])


def _exit(code: int | None, output: bytes) -> Ending:
    """Exit 0 succeeds; everything else fails."""
    if code == 0:
        return Ending("succeeded", "exit code 0", result=output.decode("utf-8", "replace"), exit_code=0)
    return Ending("failed", f"exit code {code}", exit_code=code)


PRINTED = Printed(ProgressReader, _exit, RESULT_BYTES_MAX)


class CommandDriver:
    """Runs a command of the caller's."""

    name = "command"
    pause: Literal["hard", "soft"] = "hard"
    takes_messages = False
    can_ask = False
    breaks_off = False
    compacts = False
    needs_model = False
    formats: tuple[FormatName, ...] = ()
    keeps_session = False
    sessions: SessionFormat | None = None
    refusals: Literal["embedded", "pi", "openclaw"] = "embedded"
    first_bytes = 0
    printed: Printed | None = PRINTED

    def check(self, argv: Sequence[str] | None, cwd: str | None) -> tuple[list[str], str]:
        """The program must exist and the folder too, so that a typing error creates no swarm."""
        if not argv:
            raise errors.InvalidParams(
                "driver command needs argv, the command that each agent runs",
                hint='for example argv: ["bash", "-c", "wc -l < {item}"]',
                path="argv",
            )
        cwd = check_folder(cwd)
        if any("\0" in argument for argument in argv):
            raise errors.InvalidParams("an argument holds a NUL byte", hint="leave it out", path="argv")
        if "{" not in argv[0]:
            _check_program(argv[0], cwd)
        return list(argv), cwd

    def remarks(self, argv: Sequence[str]) -> list[str]:
        """`{itme}` is passed on as it is, which is right for awk and hardly ever meant."""
        found: dict[str, str] = {}
        for argument in argv:
            for word in _PLACEHOLDER.findall(argument):
                if word not in PLACEHOLDERS and (near := _near(word)):
                    found[word] = f"{{{word}}} in argv is passed on as it is; did you mean {{{near}}}?"
        return list(found.values())

    def command(self, work: Work, environ: Mapping[str, str]) -> Command:
        """The template filled in; values are inserted as they are and never read as templates themselves."""
        return Command(
            argv=tuple(_fill(argument, work) for argument in work.argv),
            env=environment(work, environ),
            cwd=work.cwd,
            stdin=False,
        )

    def told(self, work: Work) -> str:
        """Its command, and nothing else."""
        return ""

    def conversation(self, work: Work, history: History) -> None:
        """None: its program is told everything when it starts."""


def _near(word: str) -> str:
    """The placeholder that was probably meant; empty where it is some other word, such as awk's {print}."""
    import difflib  # only who is mistaken waits for it

    close = difflib.get_close_matches(word.lower(), PLACEHOLDERS, 1, 0.75)
    return close[0] if close else ""


def _fill(argument: str, work: Work) -> str:
    """One pass over the template, so that an item that contains `{task}` stays what it is."""
    values = {"{item}": work.item, "{task}": work.task, "{cwd}": work.cwd}
    filled, rest = [], argument
    while rest:
        at, token = min(
            ((rest.find(token), token) for token in values if token in rest), default=(len(rest), "")
        )
        filled += [rest[:at], values.get(token, "")]
        rest = rest[at + len(token) :]
    return "".join(filled)


def environment(work: Work, environ: Mapping[str, str]) -> dict[str, str]:
    """What an agent of every driver gets: little of the daemon's own environment, and who it is."""
    about = {"DASH_SWARM": work.swarm_id, "DASH_AGENT": work.agent_id, "DASH_TASK": work.task_id}
    return passed_on(environ) | about


def passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """What programs get of the daemon's own environment."""
    return {name: value for name, value in environ.items() if name in PASSED_ON or name.startswith("LC_")}


def check_folder(cwd: str | None) -> str:
    """The folder that agents work in; raises InvalidParams where they could not."""
    if cwd is None:
        raise errors.InvalidParams(
            "cwd is missing: the folder in which the agents work", hint="give an absolute path", path="cwd"
        )
    if not os.path.isabs(cwd):
        raise errors.InvalidParams(
            f"{cwd!r} is not an absolute path", hint="give an absolute path", path="cwd"
        )
    if not Path(cwd).is_dir():
        raise errors.InvalidParams(f"there is no folder {cwd}", hint="create it, or name another", path="cwd")
    if not os.access(cwd, os.X_OK):
        raise errors.InvalidParams(f"dashd may not enter {cwd}", hint=f"chmod u+x {cwd}", path="cwd")
    try:
        return os.path.realpath(cwd)  # once, here: a link that somebody changes later leads nowhere else
    except OSError as error:  # readlink of what is no link any more
        raise errors.InvalidParams(
            f"{cwd} changed while it was looked at: {error.strerror}",
            hint="try again when nobody moves it",
            path="cwd",
        ) from None


def _check_program(program: str, cwd: str) -> None:
    found = shutil.which(os.path.join(cwd, program) if os.sep in program else program)
    if found is None:
        raise errors.InvalidParams(
            f"there is no program {program!r} that dashd could run",
            hint="name one on the daemon's PATH, or give its absolute path",
            path="argv",
        )
