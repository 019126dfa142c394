"""Hostile answers: whatever a provider says, the meter raises nothing and charges the hold where in doubt."""

import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashd.proxy import meter as meters
from tests.proxy import transcripts as t
from tests.proxy.test_meter import every, every_format, new, settled

LIES = [-1, True, 1.5, "12", [], {}, 10**10, 10**30, 2**63]


@pytest.mark.parametrize("lie", LIES, ids=repr)
@pytest.mark.parametrize(
    "name",
    ["prompt_tokens", "completion_tokens", "total_tokens"],
)
def test_a_figure_no_honest_provider_has_costs_the_hold(name, lie):
    answer = t.CHAT_WHOLE | {"usage": t.CHAT_USAGE | {name: lie}}
    done = settled("openai-chat", json.dumps(answer).encode())
    assert (done.cost_nusd, done.basis) == (t.HELD, "worst-case")


@pytest.mark.parametrize("lie", LIES, ids=repr)
@pytest.mark.parametrize("name", sorted(t.ANTHROPIC_START_USAGE))
def test_the_same_for_anthropic(name, lie):
    answer = t.ANTHROPIC_WHOLE | {"usage": t.ANTHROPIC_START_USAGE | {"output_tokens": 40, name: lie}}
    assert settled("anthropic", json.dumps(answer).encode()).cost_nusd == t.HELD


@pytest.mark.parametrize("lie", LIES, ids=repr)
@pytest.mark.parametrize("name", ["input_tokens", "output_tokens", "total_tokens"])
def test_the_same_for_responses(name, lie):
    answer = t.RESPONSE | {"usage": t.RESPONSES_USAGE | {name: lie}}
    last = t.RESPONSES_LAST | {"response": answer}
    for said in (json.dumps(answer).encode(), t.sse(*t.RESPONSES_EVENTS, last, named=True)):
        done = settled("openai-responses", said)
        assert (done.cost_nusd, done.basis) == (t.HELD, "worst-case")


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": 0, "completion_tokens": 5},
        {"prompt_tokens": None, "completion_tokens": 5},
        {"completion_tokens": 5},
        {"prompt_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6}},
        {"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": {"audio_tokens": 5}},
        [],
        "usage",
        7,
        None,
    ],
    ids=json.dumps,
)
def test_a_usage_that_states_nothing_credible_costs_the_hold(usage):
    for answer in (t.sse(t.CHAT_LAST | {"usage": usage}, "[DONE]"), json.dumps({"usage": usage}).encode()):
        assert settled("openai-chat", answer).cost_nusd == t.HELD


@pytest.mark.parametrize(
    "extra",
    [{"cache_creation": {"ephemeral_1h_input_tokens": 9}}, {"server_tool_use": {"web_search_requests": 2}}],
    ids=str,
)
def test_what_has_no_price_here_costs_the_hold(extra):
    usage = t.ANTHROPIC_START_USAGE | {"output_tokens": 40} | extra
    assert settled("anthropic", json.dumps(t.ANTHROPIC_WHOLE | {"usage": usage}).encode()).cost_nusd == t.HELD


BOMBS = [
    b'data: {"usage": ' + b"[" * 100_000 + b"\n\n",
    b'{"usage": ' + b'{"a":' * 100_000 + b"}",
    b'data: {"error": ' + b"[" * 900 + b"]" * 900 + b"}\n\n",
    b"data: \xff\xfe\n\n",
    b"[" * 1_000,
    b"\r\n" * 1_000,
    b"<html>" * 1_000,
    b"{}",
    b"data: 12\n\ndata: null\n\ndata: []\n\n",
]


@every_format
@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: repr(bomb[:20]))
def test_a_bomb_costs_the_hold_and_raises_nothing(form, bomb):
    assert settled(form, bomb).cost_nusd == t.HELD


@every_format
def test_an_endless_line_takes_no_more_memory_than_the_bound(form, monkeypatch):
    monkeypatch.setattr(meters, "BODY_BYTES_MAX", 10_000)
    for start in (b"data: ", b"{"):
        meter = new(form)
        meter.feed(start)
        for _ in range(30):
            meter.feed(b"x" * 1_000_000)
        held = len(meter._body or b"") + (len(meter._events._line) if meter._events else 0)
        assert held <= 8 * 1024 * 1024
        assert meter.settlement(status=200, sent=True, complete=True).cost_nusd == t.HELD


@every_format
def test_a_lost_event_leaves_doubt(form):
    answer = next(one.answer for one in t.STREAMS if one.format == form)
    endless = b"data: " + b"x" * (9 * 1024 * 1024) + b"\n\n"
    assert settled(form, endless, answer).cost_nusd == t.HELD


def test_a_body_in_many_pieces_is_parsed_a_bounded_number_of_times(monkeypatch):
    parsed = []
    monkeypatch.setattr(meters, "_object", lambda data: parsed.append(len(data)))
    meter = new("openai-chat")
    for _ in range(1_000):
        meter.feed(b'{"a": {}')
    assert len(parsed) <= 16
    meter.settlement(status=200, sent=True, complete=True)
    assert parsed[-1] == 8_000


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
keys = [
    *("type", "usage", "error", "choices", "delta", "message", "response", "status", "output", "content"),
    *("finish_reason", "stop_reason", "prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"),
    *("total_tokens", "prompt_tokens_details", "cached_tokens", "cache_creation", "server_tool_use"),
]
words = st.sampled_from(["message_start", "message_delta", "error", "response.completed", "stop"])
events = st.recursive(
    values | words,
    lambda inner: st.dictionaries(st.sampled_from(keys), inner, max_size=5) | st.lists(inner, max_size=2),
    max_leaves=12,
)


@every_format
@settings(max_examples=50)
@given(said=st.lists(events, max_size=5), whole=st.booleans())
def test_whatever_is_said_it_neither_raises_nor_charges_below_a_usage(form, said, whole):
    answer = json.dumps(said[0]).encode() if said and whole else t.sse(*map(json.dumps, said))
    meter = new(form)
    meter.feed(answer)
    done = meter.settlement(status=200, sent=True, complete=True)
    assert done.basis in ("usage", "partial", "worst-case")
    assert done.cost_nusd >= t.HELD or done.basis != "worst-case"
    assert done.tokens > 0


NUMBER = re.compile(rb"\b\d+\b")
hostile = st.sampled_from(
    [b"-1", b"0", b"1e9", b"1.5", b"true", b"null", b'"7"', b"[[[]]]", b"9" * 30, b"NaN"]
)


@every
@settings(max_examples=30)
@given(st.data())
def test_an_answer_with_a_lie_in_it_cut_anywhere_costs_at_most_the_hold_or_what_it_says(transcript, data):
    """One figure of an honest answer is replaced, and what there is of it comes in pieces."""
    numbers = list(NUMBER.finditer(transcript.answer))
    lied = data.draw(st.sampled_from(numbers))
    raw = transcript.answer[: lied.start()] + data.draw(hostile) + transcript.answer[lied.end() :]
    end = data.draw(st.integers(0, len(raw)))
    step = data.draw(st.integers(1, 200))
    meter = new(transcript.format)
    for at in range(0, end, step):
        meter.feed(raw[at : min(end, at + step)])
    done = meter.settlement(status=200, sent=True, complete=end == len(raw))
    assert done.basis in ("usage", "partial", "worst-case")
    assert done.cost_nusd == t.HELD or done.basis != "worst-case"
    assert 0 < done.cost_nusd <= t.HELD  # no lie here says more tokens than were held and is believed
    assert done.tokens > 0


@every_format
@settings(max_examples=30)
@given(
    opening=st.sampled_from([b"data: ", b"", b"event: x\ndata: ", b": "]),
    bracket=st.sampled_from([b"[", b'{"a":', b'{"usage":', b'[{"choices":']),
    depth=st.integers(1, 30_000),
    close=st.booleans(),
)
def test_no_depth_is_too_deep(form, opening, bracket, depth, close):
    meter = new(form)
    meter.feed(opening + bracket * depth + b"1" + (b"}" if b"{" in bracket else b"]") * depth * close)
    meter.feed(b"\n\n")
    assert meter.settlement(status=200, sent=True, complete=True).cost_nusd == t.HELD


@every_format
@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_cost_the_hold(form, noise):
    assert settled(form, noise).cost_nusd == t.HELD


@every_format
def test_a_chunk_costs_little_time(form):
    """A bound against quadratic work, far above what it takes (some 10 µs a chunk)."""
    meter = new(form)
    piece = t.sse(t.CHAT_EVENTS[1] | {"type": "content_block_delta"})
    start = time.process_time()
    for _ in range(2_000):
        meter.feed(piece)
    assert (time.process_time() - start) / 2_000 < 0.0003
