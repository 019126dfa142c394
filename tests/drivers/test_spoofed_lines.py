"""What a tool prints in its program's name: any line at all ends that attempt at most, and not dashd."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashd.drivers.line_conversation import ASKS_MAX, INPUTS_MAX, LineConversation
from dashd.drivers.openclaw_conversation import OpenClawConversation
from dashd.drivers.pi_conversation import PiConversation
from tests.drivers.test_line_conversation import Echo, _exit

SCALARS = st.sampled_from([5, -1.5, True, None, "", "x", 2**70])
VALUES = SCALARS | st.recursive(
    SCALARS | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner, max_size=2),
    max_leaves=4,
)
FRAMES: dict[str, list[dict[str, object]]] = {
    "pi": [
        {"type": "response", "id": "ready", "success": True, "error": "x",
         "data": {"model": {"provider": "dash"}, "messageCount": 3}},
        {"type": "response", "id": "prompt:1", "success": True, "data": {"disposition": "started"}},
        {"type": "message_end",
         "message": {"role": "assistant", "stopReason": "error", "errorMessage": "402", "content": "x"}},
        {"type": "message_end",
         "message": {"role": "assistant", "stopReason": "stop", "content": [{"type": "text", "text": "x"}]}},
        {"type": "message_end", "message": {"role": "user", "content": [{"type": "text", "text": "x"}]}},
        {"type": "tool_execution_start", "toolName": "bash", "args": {"path": "x", "command": "y"}},
        {"type": "extension_ui_request", "id": "q", "method": "confirm", "title": "dash.tool_call",
         "message": '{"tool": "bash", "command": "x"}'},
        {"type": "agent_settled", "aborted": False},
    ],
    "openclaw": [
        {"type": "ready"}, {"type": "turn", "id": "turn:1"}, {"type": "begun"},
        {"type": "tool", "name": "exec"},
        {"type": "turned", "id": "turn:1", "answered": True, "text": "x", "error": "y", "code": 0,
         "signal": None, "raw": "400 x"},
        {"type": "turned", "id": "turn:1", "answered": True, "then": {"id": "turn:2", "begins": "x"}},
    ],
}  # fmt: skip
MAKE: dict[str, Callable[[], LineConversation]] = {
    "pi": lambda: PiConversation("do it", {}),
    "openclaw": lambda: OpenClawConversation("do it", {}),
}


def places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Every place in a frame, but for its type."""
    inner = value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
    found = [place for key, each in inner if key != "type" or path for place in places(each, (*path, key))]
    return [*found, path] if path else found


def bent(frame: object, path: tuple[object, ...], value: object) -> object:
    """The frame with something else in one place."""
    if not path:
        return value
    copied: Any = list(frame) if isinstance(frame, list) else dict(frame)  # type: ignore[call-overload]
    copied[path[0]] = bent(copied[path[0]], path[1:], value)
    return copied


def lines(program: str) -> st.SearchStrategy[list[bytes]]:
    """Frames of the program's own, in any order, each as it is or with anything in one place of it."""
    cases = [(frame, place) for frame in FRAMES[program] for place in places(frame)]
    odd = st.tuples(st.sampled_from(cases), VALUES).map(lambda each: bent(*each[0], each[1]))
    frame = odd | st.sampled_from(FRAMES[program])
    return st.lists(
        frame.map(lambda each: json.dumps(each, separators=(",", ":")).encode()), min_size=3, max_size=8
    )


@pytest.mark.parametrize("program", sorted(MAKE))
def test_no_line_is_a_fault(program: str) -> None:
    @settings(max_examples=600)
    @given(lines(program))
    def check(told: list[bytes]) -> None:
        talk = MAKE[program]()
        for line in told:
            talk._read(line)
        assert talk.ending(_exit()).exit_signal in (None, *range(1, 65)), "a row takes no larger one"

    check()


def test_a_fault_of_ours_ends_the_attempt_and_nothing_else() -> None:
    class Faulty(Echo):
        def _read(self, line: bytes) -> None:
            raise TypeError("'int' object is not iterable")

    talk = Faulty()
    assert talk.feed(1, b"x\ny\n") == []
    assert talk.stage is LineConversation.LEAVING
    reason = talk.ending(_exit()).reason
    assert (
        reason
        == "not_understood: echo printed what Dash cannot read (TypeError(\"'int' object is not iterable\"))"
    )
    assert len([each for each in talk.inputs if each.eof]) == 1


def test_what_an_attempt_may_ask_for_is_bounded() -> None:
    talk = PiConversation("do it", {})
    asks = {
        "type": "extension_ui_request",
        "method": "confirm",
        "title": "dash.tool_call",
        "message": '{"tool":"x"}',
    }
    for number in range(ASKS_MAX + 10):
        talk.feed(1, json.dumps(asks | {"id": f"q{number}"}, separators=(",", ":")).encode() + b"\n")
    assert len(talk.asks) == ASKS_MAX
    assert talk.ending(_exit()).reason.startswith("too_much: pi has asked")
    talk = PiConversation("do it", {})
    for number in range(INPUTS_MAX + 10):
        other = {"type": "extension_ui_request", "id": f"q{number}", "method": "select"}
        talk.feed(1, json.dumps(other, separators=(",", ":")).encode() + b"\n")
    assert len(talk.inputs) == INPUTS_MAX + 1
    assert talk.inputs[-1].eof


@pytest.mark.parametrize(
    "told", [{"id": "q" * 200}, {"message": json.dumps({"tool": "x", "command": "y" * 30_000})}]
)
def test_a_question_that_is_too_long_is_refused(told: dict[str, str]) -> None:
    talk = PiConversation("do it", {})
    asks = {"type": "extension_ui_request", "id": "q", "method": "confirm", "title": "dash.tool_call"}
    asks |= {"message": '{"tool":"x"}'} | told
    talk.feed(1, json.dumps(asks, separators=(",", ":")).encode() + b"\n")
    assert talk.asks == []
