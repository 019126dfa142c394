"""What a program and people say in any order: a replay of it comes to the same inputs and the same end."""

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashd.domain import brief
from dashd.domain.attempt import Ending
from dashd.drivers.driver import Conversation, History, Told, ToldKind
from dashd.drivers.openclaw_conversation import OpenClawConversation
from dashd.drivers.pi_conversation import PiConversation
from dashd.jail.launch_folder import ExitRecord
from dashd.runtime.gateway_turns import Turns
from dashd.runtime.journal import Journal, Reading, word
from dashd.store.inputs import InputRow

EXITED = ExitRecord.from_json(
    {"code": 0, "signal": None, "reason": "exit", "error": None, "spool_bytes": 9, "spool_dropped": 0}
    | {"wall_ms": 1, "cpu_ms": 1, "max_rss_kib": 1}
)
SAID = ('{"summary":"done"}', "just words", "")
"""A result, none, and an error."""


class Pi:
    """As it reads inputs and prints frames."""

    def __init__(self, chance: random.Random) -> None:
        self.out: list[bytes] = []
        self.ended = False
        self._chance = chance
        self._running = False
        self._queue: list[str] = []
        self._left = 0

    def take(self, data: bytes, *, eof: bool) -> None:
        self.ended = self.ended or eof
        if not data:
            return
        said = json.loads(data)
        match said["type"]:
            case "get_state":
                self._answer(said, model={"provider": "dash"}, messageCount=0)
            case "prompt" if self._running:
                self._answer(said, success=False)
            case "prompt":
                self._answer(said, disposition="started")
                self._running, self._left = True, self._chance.randint(0, 3)
                self._user(said["message"])
            case "steer" | "follow_up":
                self._queue.append(said["message"])
                self._answer(said)
            case "clear_queue":
                self._queue = []
                self._answer(said)
            case "abort":
                self._abort()
                self._answer(said)
            case "compact":
                self._abort()
                self._answer(said, success=self._chance.random() < 0.8, tokensBefore=9)

    def step(self) -> None:
        if not self._running:
            return
        if self._left:
            self._left -= 1
            self._model(stop="toolUse")
            self._say(type="turn_end", message={}, toolResults=[{}])
            queue, self._queue = self._queue, []
            for each in queue:
                self._user(each)
        elif self._queue:
            self._model("hm")
            self._say(type="turn_end", message={}, toolResults=[])
            self._user(self._queue.pop(0))
            self._left = self._chance.randint(0, 2)
        else:
            text = self._chance.choice(SAID)
            self._model(text) if text else self._model(stop="error", errorMessage="terminated")
            self._say(type="turn_end", message={}, toolResults=[])
            self._say(type="agent_settled", aborted=False)
            self._running = False

    def _abort(self) -> None:
        if self._running:
            self._model(stop="aborted")
            self._say(type="agent_settled", aborted=True)
            self._running = False

    def _model(self, text: str = "", stop: str = "stop", **more: str) -> None:
        content = [{"type": "text", "text": text}] if text else []
        message = {"role": "assistant", "content": content, "stopReason": stop} | more
        self._say(type="message_end", message=message)

    def _user(self, text: str) -> None:
        self._say(type="message_end", message={"role": "user", "content": [{"type": "text", "text": text}]})

    def _answer(self, to: dict[str, Any], *, success: bool = True, **data: Any) -> None:
        told = {"data": data} if success else {"error": "already"}
        self._say(id=to["id"], type="response", command=to["type"], success=success, **told)

    def _say(self, **frame: Any) -> None:
        self.out.append(json.dumps(frame, separators=(",", ":")).encode() + b"\n")


class OpenClaw:
    """The same of its runner."""

    def __init__(self, chance: random.Random) -> None:
        self.out = [b'{"type":"ready"}\n']
        self.ended = False
        self._chance = chance
        self._queue: list[str] = []

    def take(self, data: bytes, *, eof: bool) -> None:
        self.ended = self.ended or eof
        if data:
            self._queue.append(json.loads(data)["id"])

    def step(self) -> None:
        if self._queue:
            turn, text = {"id": self._queue.pop(0)}, self._chance.choice(SAID)
            self._say({"type": "turn"} | turn)
            self._say({"type": "begun"})
            error = "" if text else "broke"
            changed = bool(error) and self._chance.random() < 0.5
            end = {"answered": True, "code": 0, "text": text, "error": error, "changed": changed}
            self._say({"type": "turned"} | end | turn)

    def _say(self, frame: dict[str, Any]) -> None:
        self.out.append(json.dumps(frame).encode() + b"\n")


class Live:
    """A conversation with one of these, and what is kept of it."""

    def __init__(self, program: Pi | OpenClaw, *, spooled: bool = True) -> None:
        self.program = program
        self.spooled = spooled
        self.rows: list[InputRow] = []
        self.spool: list[bytes] = []
        self.talk = self._new({})
        self._reading = Reading(self.talk, {})
        self._told: dict[str, str] = {}

    def write_down(self) -> None:
        known = {row.key for row in self.rows}
        for each in self.talk.inputs:
            if each.key not in known:
                number, told = len(self.rows) + 1, self._told.get(each.key)
                self.rows.append(InputRow("l", number, each.key, each.data, int(each.eof), told))
                self.program.take(each.data, eof=each.eof)

    def read(self) -> None:
        line = self.program.out.pop(0)
        self.spool.append(line)
        self._reading.feed(1, line)

    def tell(self, kind: ToldKind) -> None:
        turn = len(self._told)
        told = Told(kind, f"message:{turn + 1}", f"say {turn}")
        self._told[told.key] = word(told, self._reading.fed if self.spooled else None, turn)
        self.talk.tell(told)

    def again(self) -> Conversation:
        """A replay of what is kept."""
        journal = Journal(tuple(self.rows))
        talk = self._new(journal.history())
        reading = Reading(talk, journal.heard())
        for line in self.spool:
            reading.feed(1, line)
        return talk

    def _new(self, history: History) -> Conversation:
        made = PiConversation if isinstance(self.program, Pi) else OpenClawConversation
        return made("the brief", history)


def _lived(program: Pi | OpenClaw, kinds: list[ToldKind], chance: random.Random) -> Live:
    live, told = Live(program), 0
    for _ in range(200):
        live.write_down()
        while program.out:
            live.read()
            if chance.random() < 0.7:
                live.write_down()
        live.write_down()
        if program.ended:
            break
        if not program.out:
            program.step()
        if told < 3 and chance.random() < 0.25:
            told += 1
            live.tell(chance.choice(kinds))
        if chance.random() < 0.1:  # dashd dies here
            live.write_down()
            assert _keys(live.again()) == _keys(live.talk)
    return live


def _keys(talk: Conversation) -> list[str]:
    return [each.key for each in talk.inputs]


def _end(talk: Conversation) -> Ending:
    return talk.ending(EXITED)


@pytest.mark.parametrize(
    ("made", "kinds"),
    [
        (Pi, ["compact"]),
        (Pi, ["message", "after", "now"]),
        (Pi, ["message", "after", "now", "compact"]),
        (OpenClaw, ["message"]),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else "+".join(each),
)
@given(seed=st.integers(0, 1 << 32))
@settings(deadline=None, max_examples=300)
def test_a_replay_comes_to_the_same_end(
    made: type[Pi] | type[OpenClaw], kinds: list[ToldKind], seed: int
) -> None:
    chance = random.Random(seed)
    live = _lived(made(chance), kinds, chance)
    assert live.program.ended
    assert _keys(live.again()) == _keys(live.talk)
    assert _end(live.again()) == _end(live.talk)
    assert _end(live.talk).state in ("succeeded", "failed")


@given(seed=st.integers(0, 1 << 32))
@settings(deadline=None, max_examples=300)
def test_of_a_gateway_that_has_forgotten_all_before_the_last_turn_it_comes_to_the_same(seed: int) -> None:
    chance = random.Random(seed)
    live = Live(OpenClaw(chance), spooled=False)
    for _ in range(chance.randint(1, 30)):
        live.write_down()
        while live.program.out:
            live.read()
            live.write_down()
        if live.program.ended:
            break
        if chance.random() < 0.5:
            live.tell("message")
        live.program.step()
    rows = [row for row in live.rows if row.data]
    talk = OpenClawConversation("the brief", Journal(tuple(rows)).history())
    turns = Turns(len(rows))
    talk.feed(1, b'{"type":"ready"}\n')
    for number, row in enumerate(rows, 1):
        turns.take(number, row.data)
    while (turn := turns.first) is not None and turn.then is not None:
        talk.feed(1, _line(type="turned", id=turn.id, answered=True, then=msgspec.to_builtins(turn.then)))
        turns.end()
    assert [(each.key, each.data) for each in talk.inputs] == [(row.key, row.data) for row in rows]
    if not live.program.ended:
        assert vars(talk)["_resumes"] == vars(live.talk)["_resumes"]
        assert vars(talk)["_asked_again"] == vars(live.talk)["_asked_again"]


def _line(**frame: Any) -> bytes:
    return json.dumps(frame, separators=(",", ":")).encode() + b"\n"


def test_what_was_heard_late_in_a_turn_is_not_heard_early_by_a_replay() -> None:
    """A turn with tools, then somebody wants it summed up, then it answers without a result."""
    live = Live(Pi(random.Random(0)))
    live.write_down()
    while live.program.out:
        live.read()
        live.write_down()
    live.program.out.append(_line(type="turn_end", message={}, toolResults=[{}]))
    live.read()
    live.tell("compact")
    words = {"role": "assistant", "content": [{"type": "text", "text": "words"}], "stopReason": "stop"}
    live.program.out += [_line(type="message_end", message=words), _line(type="agent_settled", aborted=False)]
    live.read()
    live.read()
    live.write_down()
    assert any(json.loads(each.data)["type"] == "compact" for each in live.talk.inputs)
    while live.program.out:
        live.read()
    live.write_down()
    assert json.loads(live.talk.inputs[-1].data)["message"] == brief.ask_again()
    assert [each.data for each in live.again().inputs] == [each.data for each in live.talk.inputs]
