"""What is said to OpenClaw, turn by turn: sans-I/O, a function of what it and `openclaw_turns.py` print.

    ready ──the runner is up──▶ starting ──the run begins──▶ working ──turn over──▶ leaving
                                   ▲                            │
                                   └── broken, message, no result ┘

A turn is over when its process is, and the answer it printed is the truth. What it logs on the way is a hint:
that a run has begun, which tool works, and how the proxy has refused a call.
"""

import re
from typing import Annotated, ClassVar, NamedTuple

import msgspec

from dashd.domain import brief, surrogates
from dashd.domain.attempt import Ending
from dashd.wire import safe

from .driver import History, Progress, Session, Stage, Told
from .line_conversation import (
    AGAIN,
    LINE_BYTES_MAX,
    NOTE_CHARACTERS_MAX,
    RESUME,
    RESUMED,
    RESUMES_MAX,
    STATUS,
    LineConversation,
    short,
)
from .lines import Lines
from .openclaw_protocol import LOG_BYTES_MAX

READY = Stage("ready", 60.0)
STARTING = Stage("starting", 300.0)
"""Until a run begins: ten seconds of one core, and as many as there are places may start at once."""
WORKING = Stage("working", None)
LEAVING = LineConversation.LEAVING
UNREAD = "You may not have been given this before:"
"""A turn can end before OpenClaw has put down what was said in it: another part of it held its database."""
LOOK = (
    "A tool may have worked on it all the same, and done all it should, a part of it, or nothing: look before"
    " you do it again."
)
"""With that, where nobody listened all the time: which tools have worked is heard of once."""
HEED = "Take this into account, then end as you were told to."
_WORDS = "dash: the supervisor does not admit this call"
REFUSED = (f"400 {_WORDS}", f'400: {{"error":{{"message":"{_WORDS}')
"""How a refused budget reads in OpenClaw's log, in the format openai-chat and in Anthropic's; the words are
the proxy's (`formats.refusals.NEUTRAL`).
"""
NOT_TAKEN = "400 refused"
"""What `gateway_link` says in the place of a model's words where the gateway has refused the turn itself."""

_BEGUN = b"embedded run agent start"
_TOOL_STARTS = b"embedded run tool start: "
_TOOL = re.compile(_TOOL_STARTS + rb".*\btool=(\S{1,80})")
_RAW = re.compile(rb"rawError=(.{1,500})")


class _Ready(msgspec.Struct, tag="ready"):
    """The runner is up. More fields are passed over, here and below."""

    resumed: bool = False
    """There is something in its session already, of an attempt that was lost with its gateway."""
    again: bool = False
    """An attempt was lost whose session is not there."""


class _Turn(msgspec.Struct, tag="turn"):
    """OpenClaw has been started for a turn."""

    again: bool = False
    """Or a gateway was given it before: it may have been at work while nobody listened."""


class _Begun(msgspec.Struct, tag="begun"):
    """Its run has begun: said by a gateway, otherwise in the log."""


class _Tool(msgspec.Struct, tag="tool"):
    """A tool works; the same."""

    name: str


class _Then(msgspec.Struct):
    """A turn that was given, by its key and how its message begins."""

    id: str
    begins: str = ""


class _Turned(msgspec.Struct, tag="turned"):
    """The runner's word on a turn that is over."""

    id: str
    answered: bool
    text: str = ""
    error: str = ""
    code: int | None = None
    signal: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None
    raw: str = ""
    """How the last call of a turn failed, from a gateway; otherwise in the log."""
    unbegun: bool = False
    """A gateway has refused it for now, and nothing was done before it."""
    changed: bool = False
    """Somebody else began to work in its session, and nothing was put before the model."""
    unheard: bool = False
    """What it came to is not known any more, and the end was told after it: dashd died over that."""
    then: _Then | None = None
    """It was over before dashd came back to the gateway, and this was given next."""


class _Open(NamedTuple):
    """The turn that is not over."""

    key: str
    text: str
    words: str
    """What the program was told, or was told earlier and may not have read."""


class OpenClawConversation(LineConversation):
    """See Conversation."""

    PROGRAM = "openclaw"
    EXPIRED: ClassVar = {
        READY.name: f"not_ready: openclaw's runner did not answer within {READY.limit_s:g} s",
        STARTING.name: f"not_started: openclaw did not begin its turn within {STARTING.limit_s:g} s",
    }

    def __init__(self, first: str, history: History, session: Session | None = None) -> None:
        """`first` is the brief; `session` says whether somebody was killed in it."""
        super().__init__(READY, history)
        # One that died may have done so before it was told what it is about.
        killed = session is not None and (session.resumed or session.broken_off)
        self._first = f"{RESUMED}\n\n{first}" if killed else first
        self._log = Lines(LINE_BYTES_MAX)
        self._open: _Open | None = None
        """One at a time: that a turn was given says that the one before it was over."""
        self._worked = False
        """A tool has worked in this turn, so that what it was told is in its session."""
        self._missed = False
        """A tool may have worked on what may be unread, and nobody heard of it."""
        self._count = 0
        self._held: list[Told] = []
        """Messages that came while a turn was under way."""
        self._raw = ""
        """How the last call of this turn failed, in OpenClaw's own words."""

    @property
    def starting(self) -> bool:
        """Until its first run has begun."""
        return self.stage is READY or (self.stage is STARTING and self._count == 1)

    @property
    def pending(self) -> bool:
        """True inside a line."""
        return self._lines.pending or self._log.pending

    def feed(self, stream: int, output: bytes) -> list[Progress]:
        """See OutputReader."""
        found = super().feed(stream, output)
        if stream != 1:
            found += [progress for line in self._log.cut(output) if (progress := self._read_log(line))]
        return found

    def tell(self, told: Told) -> None:
        """See Conversation."""
        if self.stage is LEAVING:
            return
        if told.kind in ("message", "after"):
            self._held.append(told)
        elif told.kind == "leave":
            self._end(told.key)
        elif told.kind == "expire":
            self._expire(told)

    def _read_log(self, line: bytes) -> Progress | None:
        at = line.find(_TOOL_STARTS)
        if at >= 0 and (found := _TOOL.match(line[at : at + LOG_BYTES_MAX])):
            return self._works(found[1].decode("utf-8", "replace"))
        if found := _RAW.search(line):
            self._raw = found[1].decode("utf-8", "replace")
        elif self.stage is STARTING and _BEGUN in line:
            self.stage = WORKING
        return None

    def _read(self, line: bytes) -> Progress | None:
        try:
            frame = surrogates.decode(line, _Ready | _Turn | _Begun | _Tool | _Turned)
        except surrogates.UNREADABLE:
            return None
        match frame:
            case _Ready() if self.stage is READY:
                before = RESUMED if frame.resumed else AGAIN if frame.again else ""
                self._prompt(f"{before}\n\n{self._first}" if before else self._first)
            case _Turn():
                self._missed = self._missed or frame.again
                return Progress(None, None, f"turn {self._count}")
            case _Begun() if self.stage is STARTING:
                self.stage = WORKING
            case _Tool():
                return self._works(frame.name)
            case _Turned() if self._open is not None and frame.id == self._open.key:
                self._turned(frame, self._open)
        return None

    def _works(self, tool: str) -> Progress:
        self._worked = True
        return Progress(None, None, tool[:NOTE_CHARACTERS_MAX])

    def _turned(self, turned: _Turned, turn: _Open) -> None:
        """A turn is over: what next?"""
        if self.stage is LEAVING:
            return
        self._open = None
        unread = "" if self._worked else turn.words
        self._missed, self._worked = self._missed and not self._worked, False
        raw, self._raw = turned.raw or self._raw, ""
        if turned.then is not None:
            self._follow(turned.then, turn)
        elif turned.signal is not None:
            reason = f"openclaw ended (signal {turned.signal}) while {self.stage.name}"
            self._fail(reason, signal=turned.signal)
        elif turned.unbegun and self._count == 1:
            self._outcome = Ending("never", f"its gateway did not take it: {short(turned.error)}")
            self._end("end")
        elif turned.unheard:
            self._outcome = Ending("lost", "it had ended, and what it came to is not known any more")
            self._end("end")
        elif turned.error or not turned.answered:
            self._failed_turn(turned, turn, raw, unread)
        elif self._held:
            self._hear(self._held[0])
        else:
            self._answered_task(turned.text)

    def _failed_turn(self, turned: _Turned, turn: _Open, raw: str, unread: str) -> None:
        """A refused budget is final; a call that was cut is asked for again, in the same session, and with
        what may not have come into it.
        """
        if raw.startswith(REFUSED):
            self._over_budget()
        elif raw == NOT_TAKEN:
            self._fail(f"the gateway did not take its turn: {short(safe.line(turned.error))}")
        elif STATUS.match(raw):
            self._fail(f"no model answered: {short(raw)}")
        elif not turned.answered:
            words = short(turned.error or self._last_words.decode("utf-8", "replace").strip())
            self._fail(f"openclaw ended (exit code {turned.code}) without an answer: {words}")
        elif self._resumes >= RESUMES_MAX:
            self._fail(f"no model answered: {short(turned.error)}")
        elif turned.changed:
            self._again(turn)
        else:
            self._resume(unread)

    def _follow(self, then: _Then, turn: _Open) -> None:
        """What a turn came to is seen by what was given next: that again, whatever was told meanwhile."""
        told = next((each for each in self._held if each.key == then.id), None)
        if told is not None:
            self._hear(told)
        elif then.begins.startswith(RESUME):
            self._missed = LOOK in then.begins
            self._resume(turn.words if UNREAD in then.begins else "")
        elif brief.ask_again().startswith(then.begins) and not self._asked_again:
            self._asked_again = True
            self._prompt(brief.ask_again())
        else:
            self._again(turn)

    def _hear(self, told: Told) -> None:
        self._resumes = 0
        self._held.remove(told)
        self._missed = False
        heed = f"{told.text}\n\n{HEED}"
        self._turn(told.key, heed, heed)

    def _resume(self, unread: str) -> None:
        self._resumes += 1
        before = f"{RESUME} {LOOK}" if self._missed else RESUME
        resume = f"{before} {UNREAD}\n\n{unread}" if unread else RESUME
        self._turn(self._next(), resume, unread)

    def _again(self, turn: _Open) -> None:
        self._resumes += 1
        self._turn(self._next(), turn.text, turn.words)

    def _prompt(self, text: str) -> None:
        self._turn(self._next(), text, text)

    def _next(self) -> str:
        return f"turn:{self._count + 1}"

    def _turn(self, key: str, text: str, words: str) -> None:
        """`words` are those of `text` that are to be said again where they were not read."""
        self._count += 1
        self._open = _Open(key, text, words)
        self.stage = STARTING
        self._say(key, message=text)
