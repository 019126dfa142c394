"""What is said to Pi in its RPC mode, from `get_state` to the end: sans-I/O, a function of what Pi prints.

    ready ──get_state answered──▶ accepted ──prompt taken──▶ working ──agent_settled──▶ leaving
                                      ▲                                     │
                                      └── cut stream, message, no result ───┘

One JSON object a line, both ways. `agent_settled` is the only end of a run; `agent_end` comes several times.
A dialog of Pi's is answered with a refusal at once, so that none ever blocks.
"""

import contextlib
import re
from typing import Any, ClassVar

import msgspec

from dashd.domain import surrogates
from dashd.domain.asking import TEXT_CHARS_MAX, Ask, Kind
from dashd.domain.attempt import Ending

from . import results
from .driver import Asks, History, Progress, Session, Stage, Told
from .line_conversation import (
    NOTE_CHARACTERS_MAX,
    RESUME,
    RESUMED,
    RESUMES_MAX,
    STATUS,
    LineConversation,
    short,
)

READY = Stage("ready", 120.0)
"""From the start: half a second for one, half a minute for a hundred at once on two cores."""
ACCEPTED = Stage("accepted", 60.0)
SUMMING = Stage("summing", None)
"""Accepted, and it sums up what was said before it takes its task: a model call, which may be held."""
WORKING = Stage("working", None)
LEAVING = LineConversation.LEAVING
COMPACTED = (
    "What was said so far has been summed up for you, and what you had begun since was broken off: look "
    "before you do it again. Then go on."
)
HEED = "Take the last message into account, then end as you were told to."

ALREADY, TOO_SMALL = "Already compacted", "Nothing to compact"
"""How Pi says why it sums nothing up."""
GATE_TITLE = "dash.tool_call"
KEY_CHARACTERS_MAX = 80
"""Of the name that Pi gives a question; its own have half of that."""
ASK = "ask:"

_READ = tuple(
    b'{"type":"' + name
    for name in (
        b"message_end",
        b"agent_settled",
        b"tool_execution_start",
        b"extension_ui_request",
        b"compaction_start",
    )
)
_TURN_END = b'{"type":"turn_end"'
_DIALOGS = frozenset({"select", "confirm", "input", "editor"})
_NOISE = b"Warning: No project session found"
"""How a line begins that Pi says where its session is to begin."""
_BUDGET = re.compile(r"insufficient_quota|^402\b")


class _Asked(msgspec.Struct):
    """What pi_gate.js asks about; a path only where it would be written."""

    tool: str
    command: str | None = None
    path: str | None = None

    def asks(self, call: str) -> tuple[Ask, ...]:
        """By kind of gate."""
        found: list[tuple[Kind, str | None]] = [
            ("tool", self.tool),
            ("command", self.command),
            ("path", self.path),
        ]
        return tuple(Ask(kind, text, f"{call}/{kind}") for kind, text in found if text)


class _TurnEnd(msgspec.Struct):
    """The end of a turn."""

    toolResults: list[Any]


class PiConversation(LineConversation):
    """See Conversation."""

    PROGRAM = "pi"
    EXPIRED: ClassVar = {
        READY.name: f"not_ready: pi did not answer within {READY.limit_s:g} s of its start",
        ACCEPTED.name: f"not_accepted: pi did not take its task within {ACCEPTED.limit_s:g} s",
    }

    def __init__(self, first: str, history: History, session: Session | None = None) -> None:
        """`first` is the brief; `session` says what its file holds before it starts."""
        super().__init__(READY, history)
        self._first = first
        self._session = session
        self._held: list[Told] = []
        """Messages that came before there was a run to steer."""
        self._unheard: dict[str, str] = {}
        """Messages that Pi has, or will have, and has not put before the model yet."""
        self._now: list[str] = []
        """What is said to it once the run has ended that was broken off for it."""
        self._compact: Told | None = None
        """What was said is to be summed up at the end of this turn."""
        self._compacting = ""
        """By which input that is being done."""
        self._afterwards = ""
        """What is said once it is."""
        self._runs = 0
        self._answer: dict[str, Any] = {}
        """The last message of the model's."""
        self._say("ready", type="get_state")

    def feed(self, stream: int, output: bytes) -> list[Progress]:
        """See OutputReader."""
        return super().feed(stream, output if stream == 1 else _quiet(output))

    @property
    def starting(self) -> bool:
        """Until `get_state` is answered."""
        return self.stage is READY

    def tell(self, told: Told) -> None:
        """See Conversation."""
        if told.kind in ("message", "after", "now", "compact"):
            self._message(told)
        elif told.kind == "leave":
            self._leave(told.key)
        elif told.kind == "answer":
            self._answer_dialog(told.key, confirmed=told.text == "allow")
        elif self._outcome is None:
            self._expire(told)

    # --- what Pi says -------------------------------------------------------------------------------------

    def _read(self, line: bytes) -> Progress | None:
        """Of the many kinds of lines few matter, and the rest is not even decoded."""
        if self._compact is not None and line.startswith(_TURN_END):
            self._turn_ended(line)
            return None
        if not (line.startswith(_READ) or b'"type":"response"' in line[:200]):
            return None
        try:
            record: dict[str, Any] = surrogates.decode(line, dict[str, Any])
        except surrogates.UNREADABLE:
            return None
        match record:
            case {"type": "response", "id": str(key)} if key == self._compacting:
                return self._compacted(record)
            case {"type": "response", "id": str(key)}:
                self._answered(key, record)
            case {"type": "message_end", "message": {"role": "assistant"} as message}:
                self._answer = message
                if message.get("stopReason") != "error":
                    self._resumes = 0
            case {"type": "message_end", "message": {"role": "user"} as message}:
                text = _text(message)
                self._unheard = {key: said for key, said in self._unheard.items() if said != text}
            case {"type": "tool_execution_start", "toolName": str(name)}:
                return Progress(None, None, _note(name, record.get("args")))
            case {"type": "extension_ui_request", "id": str(key), "method": str(method)}:
                if method in _DIALOGS and len(key) <= KEY_CHARACTERS_MAX:
                    self._dialog(key, record)
            case {"type": "compaction_start"} if self.stage is ACCEPTED:
                self.stage = SUMMING
            case {"type": "agent_settled"}:
                self._settled(aborted=bool(record.get("aborted")))
        return None

    def _answered(self, key: str, record: dict[str, Any]) -> None:
        """What became of a command; `key` is the one it was sent under."""
        data = record.get("data")
        data = data if isinstance(data, dict) else {}
        if key == "ready" and self.stage is READY:
            if not record.get("success") or _provider(data) != "dash":
                self._fail(
                    f"not_ready: pi has no way to its model: {short(str(record.get('error') or data))}"
                )
                return
            if self._only_compacts:
                self.stage = WORKING
                self._say_compact("compact", self._session.keep if self._session else "")
                return
            self.stage = ACCEPTED
            count = data.get("messageCount")
            self._prompt(self._opening(count if isinstance(count, int) else 0))
        elif key == f"prompt:{self._runs}" and self.stage in (ACCEPTED, SUMMING):
            if not record.get("success") or data.get("disposition") == "handled":
                self._fail(f"not_accepted: pi refused its task: {short(str(record.get('error') or data))}")
                return
            self.stage = WORKING
            held, self._held = self._held, []
            for told in held:
                self._message(told)

    def _opening(self, messages: int) -> str:
        """What is said first, `messages` being in its session already."""
        if self._session is not None and self._session.forked:
            # One that died may have done so before it was told what it is about.
            killed = self._session.resumed or self._session.broken_off
            return f"{RESUMED}\n\n{self._first}" if killed else self._first
        # Its own first words and the brief, at least: a session of an attempt before this one.
        return RESUMED if messages > 1 else self._first

    def _settled(self, *, aborted: bool) -> None:
        """The run is over: what next?"""
        if self.stage is LEAVING or self._outcome is not None or self._compacting:
            return
        if self._now:  # it may have ended by itself just before
            said, self._now, self._unheard = self._now, [], {}
            self._prompt("\n\n".join(said))
        elif aborted:
            self._fail("it was aborted, and nobody had asked for that")
        elif self._answer.get("stopReason") == "error":
            self._failed_call(str(self._answer.get("errorMessage") or "no reason given"))
        elif self._unheard:
            self._unheard.clear()
            self._prompt(HEED)
        else:
            self._answered_task(_text(self._answer), cut=self._answer.get("stopReason") == "length")

    def _failed_call(self, why: str) -> None:
        """A refused budget is final; a stream that was cut is asked for again, in the same session."""
        if _BUDGET.search(why):
            self._over_budget()
        elif STATUS.match(why) or self._resumes >= RESUMES_MAX:
            self._fail(f"no model answered: {short(why)}")
        else:
            self._resumes += 1
            self._prompt(RESUME)

    def _dialog(self, key: str, record: dict[str, Any]) -> None:
        """That of the gate is for others to answer; all others are refused at once, so that none blocks.

        So is one of a run that is broken off: Pi has asked before it heard of that, and the call is gone.
        """
        if self.stage is LEAVING:  # it hears nothing more, and nobody is to be asked for it
            return
        asked = None
        if record.get("title") == GATE_TITLE:
            with contextlib.suppress(*surrogates.UNREADABLE):
                asked = msgspec.json.decode(str(record.get("message")), type=_Asked)
        if asked is None or len(str(record.get("message"))) > TEXT_CHARS_MAX:
            self._say(f"dialog:{key}", type="extension_ui_response", id=key, cancelled=True)
            return
        if self._now or self._compacting:
            self._answer_dialog(f"{ASK}{key}", confirmed=False)
            return
        self.asks.append(Asks(f"{ASK}{key}", asked.asks(key)))

    # --- what it is told ----------------------------------------------------------------------------------

    def _message(self, told: Told) -> None:
        if self.stage is LEAVING:
            return
        if self.stage is not WORKING or self._compacting:
            self._held.append(told)
        elif told.kind == "compact":
            self._compact = self._compact or told
        elif told.kind == "now" or self._now:
            self._break_off(told)
        else:
            self._unheard[told.key] = told.text
            self._say(told.key, type="steer" if told.kind == "message" else "follow_up", message=told.text)

    def _break_off(self, told: Told) -> None:
        """What waits in Pi's queue is cleared with it, and said with the rest once the run has ended."""
        self._now += [*self._unheard.values(), told.text]
        self._unheard.clear()
        self._say(told.key, type="clear_queue")
        self._say(f"{told.key}:abort", type="abort")
        for asked in self.asks:  # the calls are gone that it asked for: nobody is to be asked any more
            self._answer_dialog(asked.key, confirmed=False)

    def _turn_ended(self, line: bytes) -> None:
        """Where it has used tools it goes on with their results: the place where nothing of them is lost."""
        with contextlib.suppress(*surrogates.UNREADABLE):
            if self.stage is WORKING and surrogates.decode(line, _TurnEnd).toolResults:
                self._sum_up(COMPACTED)

    def _sum_up(self, afterwards: str) -> None:
        """Pi aborts what it is at, a model call that has just begun; the queue is said again afterwards."""
        assert self._compact is not None, "somebody asked for it"
        told, self._compact = self._compact, None
        self._afterwards = "\n\n".join([*self._unheard.values(), afterwards])
        self._unheard.clear()
        self._say(told.key, type="clear_queue")
        self._say_compact(f"{told.key}:compact", told.text)

    def _say_compact(self, key: str, keep: str) -> None:
        self._compacting = key
        self._say(key, type="compact", **({"customInstructions": keep} if keep else {}))

    def _compacted(self, record: dict[str, Any]) -> Progress | None:
        """It has been done, or could not be; in either case it goes on."""
        self._compacting = ""
        if self.stage is LEAVING:
            return None
        data = record.get("data")
        data = data if isinstance(data, dict) else {}
        before, after = data.get("tokensBefore"), data.get("estimatedTokensAfter")
        said = f"summed up: {before} tokens before, about {after} after"
        why = "" if record.get("success") else short(str(record.get("error")))
        if self._only_compacts:
            self._has_compacted(said, why)
        else:
            self._prompt(self._afterwards)
        return Progress(None, None, (f"not summed up: {why}" if why else said)[:NOTE_CHARACTERS_MAX])

    @property
    def _only_compacts(self) -> bool:
        return self._session is not None and self._session.compacts

    def _has_compacted(self, said: str, why: str) -> None:
        """The whole task; one that was killed after it had done so hears that it was done."""
        if _BUDGET.search(why):
            self._over_budget()
        elif why and ALREADY not in why:
            self._fail(f"not summed up: {why}", retry=TOO_SMALL not in why)
        else:
            result, _ = results.encode(results.Result("it was summed up already" if why else said))
            self._outcome = Ending("succeeded", "finished", result=result)
            self._end("end")

    def _answer_dialog(self, key: str, *, confirmed: bool) -> None:
        if self.stage is LEAVING:  # it hears nothing more
            return
        raw = key.removeprefix(ASK)
        self._say(key, type="extension_ui_response", id=raw, confirmed=confirmed)

    def _leave(self, key: str) -> None:
        """`clear_queue` first: an abort goes on with what is queued."""
        if self.stage is LEAVING:
            return
        self._say(key, type="clear_queue")
        self._say(f"{key}:abort", type="abort")
        self._end(f"{key}:end")

    def _prompt(self, text: str) -> None:
        if self._compact is not None:
            self._sum_up(text)
            return
        self._runs += 1
        self.stage = ACCEPTED
        self._say(f"prompt:{self._runs}", type="prompt", message=text)


def _quiet(output: bytes) -> bytes:
    """Without such lines that are whole; no pattern, which would begin anew at each of many in one line."""
    kept, at = [], 0
    while (found := output.find(_NOISE, at)) >= 0 and (end := output.find(b"\n", found)) >= 0:
        kept.append(output[at:found])
        at = end + 1
    return b"".join([*kept, output[at:]])


def _provider(data: dict[str, Any]) -> str:
    model = data.get("model")
    return str(model.get("provider")) if isinstance(model, dict) else ""


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    found = content if isinstance(content, list) else []
    parts = [part for part in found if isinstance(part, dict) and part.get("type") == "text"]
    return "".join(str(part.get("text") or "") for part in parts)


def _note(tool: str, arguments: object) -> str:
    told = arguments if isinstance(arguments, dict) else {}
    return f"{tool} {told.get('path') or told.get('command') or ''}"[:NOTE_CHARACTERS_MAX].strip()
