"""Driver `embedded`: Dash's own small agent, which needs nothing installed but a model behind the proxy.

The program is `embedded_agent.py`, one stdlib-only file. Its last line on stdout is the result, `{summary,
files_changed, tests, follow_ups}`; `@dash` lines before it report progress. A refused budget is final:
another try would be refused again.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from dashd.domain import surrogates
from dashd.domain.attempt import Ending
from dashd.domain.speech import FormatName
from dashd.jail import view
from dashd.wire import errors

from .command import ProgressReader, check_folder, environment
from .driver import OVER_BUDGET, Command, History, Printed, SessionFormat, Work
from .results import RESULT_BYTES_MAX

PROGRAM = Path(__file__).with_name("embedded_agent.py")
_REASONS = {
    3: OVER_BUDGET,
    4: "no model answered",
    5: "the model did not come to an end",
}


class Result(msgspec.Struct):
    """What an embedded agent returns."""

    summary: str
    files_changed: list[str]
    tests: list[str]
    follow_ups: list[str]


def _exit(code: int | None, output: bytes) -> Ending:
    """Exit 0 with a well-formed result succeeds."""
    if code == 0:
        return _result(output)
    reason = _REASONS.get(code or 0, f"exit code {code}")
    return Ending("failed", reason, exit_code=code, retry=code != 3)


def _result(output: bytes) -> Ending:
    last = output.rstrip().rpartition(b"\n")[2]
    try:
        found: Result = surrogates.decode(last, Result)
    except surrogates.UNREADABLE:
        return Ending("failed", "it ended without a result", exit_code=0)
    return Ending("succeeded", "finished", result=msgspec.json.encode(found).decode(), exit_code=0)


PRINTED = Printed(ProgressReader, _exit, RESULT_BYTES_MAX)


class EmbeddedDriver:
    """Runs Dash's own agent."""

    name = "embedded"
    pause: Literal["hard", "soft"] = "soft"
    takes_messages = False
    can_ask = True
    breaks_off = False
    compacts = False
    needs_model = True
    formats: tuple[FormatName, ...] = ("openai-chat",)
    keeps_session = False
    sessions: SessionFormat | None = None
    refusals: Literal["embedded", "pi", "openclaw"] = "embedded"
    first_bytes = 3_000
    printed: Printed | None = PRINTED

    def check(self, argv: Sequence[str] | None, cwd: str | None) -> tuple[list[str], str]:
        """It brings its own program, so `argv` is refused; the folder must exist."""
        if argv:
            raise errors.InvalidParams(
                "driver embedded runs its own program and takes no argv",
                hint="leave argv out, or name driver command",
                path="argv",
            )
        return [], check_folder(cwd)

    def remarks(self, argv: Sequence[str]) -> list[str]:
        """None: it takes no argv."""
        return []

    def command(self, work: Work, environ: Mapping[str, str]) -> Command:
        """The agent's program with its brief and its way to the model, and little else."""
        assert work.model is not None, "an embedded agent was started without a model"
        own = {
            "DASH_BRIEF": json.dumps({"task": work.task, "item": work.item}),
            "DASH_MODEL_URL": work.model.url,
            "DASH_MODEL_KEY": work.model.key,
            "DASH_MODEL": work.model.name,
        }
        if work.asks:
            own["DASH_ASK"] = ",".join(work.asks)
        program = f"{view.CODE}/dashd/drivers/{PROGRAM.name}" if work.isolated else str(PROGRAM)
        argv = (view.python(), "-I", "-S", program)
        return Command(argv=argv, env=environment(work, environ) | own, cwd=work.cwd, stdin=False)

    def told(self, work: Work) -> str:
        """As its program puts it, from its environment."""
        item = f"Your item: {work.item}\n" if work.item else ""
        return f"Task: {work.task}\n{item}Folder: {work.cwd}"

    def conversation(self, work: Work, history: History) -> None:
        """None: its program is told everything when it starts."""
