"""What the stand-in writes is read by the meter that reads real providers, in each format."""

import json
from typing import Any

import pytest

from dashd.domain import prices
from dashd.domain.prices import Usage
from dashd.proxy.formats import FORMATS
from dashd.proxy.offline_wire import WIRES, Said
from dashd.proxy.prices import OFFLINE_PRICE

USED = Usage(100, 0, 0, 40)
TEXT = Said("words " * 30)
CALL = Said("first this", "bash", {"command": "ls"}, "call_0")
EACH = list(WIRES)


@pytest.mark.parametrize("said", [TEXT, CALL])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", EACH)
def test_the_meter_charges_exactly_what_it_says(name: str, stream: bool, said: Said):
    meter = FORMATS[name].meter(OFFLINE_PRICE, 10**9, 1_000)
    for piece in WIRES[name].write(said, USED, cut=False, stream=stream):
        meter.feed(piece)
    settled = meter.settlement(status=200, sent=True, complete=True)
    assert (settled.basis, settled.cost_nusd) == ("usage", prices.cost(USED, OFFLINE_PRICE))
    assert meter.error is None


@pytest.mark.parametrize("name", EACH)
def test_a_tool_call_is_whole_and_the_same_streamed_or_not(name: str):
    for stream in (True, False):
        text = b"".join(WIRES[name].write(CALL, USED, cut=False, stream=stream)).decode()
        assert '"bash"' in text
        assert "call_0" in text
        assert "first this" in text
        assert '"offline"' in text


def test_cut_answers_say_so():
    ends = {"openai-chat": '"length"', "openai-responses": '"incomplete"', "anthropic": '"max_tokens"'}
    for name, end in ends.items():
        for stream in (True, False):
            assert end in b"".join(WIRES[name].write(TEXT, USED, cut=True, stream=stream)).decode()


CONVERSATIONS: dict[str, dict[str, Any]] = {
    "openai-chat": {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "the task"}]},
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "tool", "tool_call_id": "c", "content": "done 1"},
            {"role": "user", "content": "go on"},
        ],
        "tools": [{"type": "function", "function": {"name": "bash"}}],
        "max_completion_tokens": 77,
    },
    "openai-responses": {
        "input": [
            {"role": "developer", "content": "s"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "the task"}]},
            {"type": "function_call", "call_id": "c", "name": "bash", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "done 1"},
        ],
        "tools": [{"type": "function", "name": "bash"}],
        "max_output_tokens": 77,
    },
    "anthropic": {
        "messages": [
            {"role": "user", "content": "the task"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "bash", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "done 1"}]},
        ],
        "tools": [{"name": "bash", "input_schema": {}}],
        "max_tokens": 77,
    },
}


@pytest.mark.parametrize("name", EACH)
def test_a_conversation_is_read(name: str):
    turn = WIRES[name].read(json.loads(json.dumps(CONVERSATIONS[name])))
    assert turn.task == "the task"
    assert turn.tools == {"bash"}
    assert list(turn.results) == ["done 1"]
    assert turn.output_tokens_max == 77


@pytest.mark.parametrize("name", EACH)
def test_next_to_nothing_is_read_too(name: str):
    turn = WIRES[name].read({"messages": []})
    assert (turn.task, turn.tools, list(turn.results)) == ("", frozenset(), [])
