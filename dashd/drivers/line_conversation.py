"""What conversations with programs that speak JSON lines share: lines in, inputs out, a result at the end.

Sans-I/O, like every conversation. What a program says, and what is said to it, is its own driver's.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import ClassVar

import msgspec

from dashd.domain import brief
from dashd.domain.attempt import Ending
from dashd.jail.holder_link import INPUT_BYTES_MAX
from dashd.jail.launch_folder import ExitRecord

from . import results
from .driver import OVER_BUDGET, Asks, History, Input, Progress, Stage, Told
from .lines import Lines

LINE_BYTES_MAX = 4 << 20
"""A longer line is passed over; none that is read comes near."""
INPUTS_MAX, ASKS_MAX = 20_000, 10_000
"""Of one attempt: each is kept in a row."""
FAULTS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a line of another shape than it should have can lead to."""
NOTE_CHARACTERS_MAX = 120
LAST_WORDS_BYTES_MAX = 2_000
REASON_CHARACTERS_MAX = 500
RESUMES_MAX = 5
"""In a row: what breaks every call, or every stream, is not mended by asking."""
STATUS = re.compile(r"^[1-5]\d\d\b")
"""How the words begin of a call that was answered, with a refusal: it did not break off."""
RESUME = "The connection to the model broke off. Go on from where you were."
RESUMED = (
    "Your program was killed while you worked on this, and goes on in the same session. The last tool call "
    "may have done all it should, a part of it, or nothing: look before you do it again. Then go on."
)

AGAIN = (
    "An attempt at this before you was lost at its work. It may have done all of it, a part, or nothing: look"
    " at what there is before you do a step that it may have done. Then go on."
)


class LineConversation:
    """See Conversation; whoever inherits it has `starting`, `tell`, `_read` and `_prompt`."""

    PROGRAM: ClassVar[str]
    LEAVING: ClassVar = Stage("leaving", 10.0)
    EXPIRED: ClassVar[Mapping[str, str]]
    """What it means that a stage has taken too long, by its name."""

    def __init__(self, stage: Stage, history: History) -> None:
        self.inputs: list[Input] = []
        self.asks: list[Asks] = []
        self.stage = stage
        self._history = dict(history)
        self._keys: set[str] = set()
        self._lines = Lines(LINE_BYTES_MAX)
        self._last_words = b""
        self._asked_again = False
        self._resumes = 0
        """How often it was told to go on, in a row."""
        self._outcome: Ending | None = None

    @property
    def pending(self) -> bool:
        """True inside a line."""
        return self._lines.pending

    def feed(self, stream: int, output: bytes) -> list[Progress]:
        """See OutputReader."""
        if stream != 1:
            self._last_words = (self._last_words + output)[-LAST_WORDS_BYTES_MAX:]
            return []
        return [progress for line in self._lines.cut(output) if (progress := self._understood(line))]

    def _understood(self, line: bytes) -> Progress | None:
        """Whatever a program, or a tool of its, prints: it ends its own attempt at most, and not dashd."""
        if len(self.inputs) >= INPUTS_MAX or len(self.asks) >= ASKS_MAX:
            self._fail_once(f"too_much: {self.PROGRAM} has asked for more than an attempt may")
            return None
        try:
            return self._read(line)
        except FAULTS as error:  # of ours, and the same line would bring it back at each start of dashd
            self._fail_once(f"not_understood: {self.PROGRAM} printed what Dash cannot read ({error!r:.200})")
            return None

    def _fail_once(self, reason: str) -> None:
        if self._outcome is None:
            self._fail(reason)

    def ending(self, exited: ExitRecord) -> Ending:
        """See Conversation; what was found out while it ran counts for more than how the process ended."""
        return dataclasses.replace(
            self._judge(exited), cpu_ms=exited.cpu_ms, rss_max_kib=exited.max_rss_kib, exit_code=exited.code
        )

    def tell(self, told: Told) -> None:
        """See Conversation."""
        raise NotImplementedError

    def _read(self, line: bytes) -> Progress | None:
        """What a line of the program's means."""
        raise NotImplementedError

    def _prompt(self, text: str) -> None:
        """Puts something before the model, after all that it has read so far."""
        raise NotImplementedError

    def _judge(self, exited: ExitRecord) -> Ending:
        if exited.reason == "start":
            return Ending("failed", f"could not start: {exited.error}")
        if self._outcome is not None:
            return self._outcome
        how = f"signal {exited.signal}" if exited.signal is not None else f"exit code {exited.code}"
        words = short(self._last_words.decode("utf-8", "replace").strip())
        said = f": {words}" if words else ""
        reason = f"{self.PROGRAM} ended ({how}) while {self.stage.name}{said}"
        return Ending("failed", reason, exit_signal=exited.signal)

    def _answered_task(self, text: str, *, cut: bool = False) -> None:
        """The model has said its last word: the result, or it is asked for once more. One that was `cut` off
        at its length, and is so again, is none.
        """
        found = results.find(text)
        if found is None and not self._asked_again:
            self._asked_again = True
            self._prompt(brief.ask_again())
            return
        if found is None and cut:
            self._fail("its answer was cut off at the length that a model may answer at once")
            return
        if found is None and not text.strip():
            self._fail("it ended without a result")
            return
        result, cut = results.encode(found or results.Result(text.strip()))
        how = "finished" if found else "finished, without the result in the shape that was asked for"
        self._outcome = Ending("succeeded", how, result=result, result_cut=cut)
        self._end("end")

    def _fail(self, reason: str, key: str = "end", *, retry: bool = True, signal: int | None = None) -> None:
        self._outcome = Ending("failed", reason, retry=retry, exit_signal=signal)
        self._end(key)

    def _over_budget(self) -> None:
        """A refused budget is final."""
        self._fail(OVER_BUDGET, retry=False)

    def _expire(self, told: Told) -> None:
        stuck = f"stuck: {self.PROGRAM} did not get past {told.text}"
        self._fail(self.EXPIRED.get(told.text, stuck), told.key)

    def _end(self, key: str) -> None:
        """End of file is what a program ends by in an orderly way, its tools with it."""
        self.stage = self.LEAVING
        self._add_input(Input(key, b"", eof=True))

    def _say(self, key: str, **command: object) -> None:
        line = msgspec.json.encode({"id": key} | command) + b"\n"
        self._add_input(Input(key, line))

    def _add_input(self, made: Input) -> None:
        if made.key in self._keys:
            return
        if len(made.data) > INPUT_BYTES_MAX:
            self._fail_once(f"too_much: what {self.PROGRAM} is to be told at once is more than it can be")
            return
        self._keys.add(made.key)
        self.inputs.append(made)
        for told in self._history.pop(made.key, ()):
            self.tell(told)


def short(text: str) -> str:
    """As much of it as a reason may hold."""
    return text if len(text) <= REASON_CHARACTERS_MAX else f"{text[:REASON_CHARACTERS_MAX]}…"
