"""The meter settles between what a provider bills and the hold, whatever arrives and wherever it is cut."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashd.domain.prices import Price, Usage
from dashd.proxy import meter as meters
from dashd.proxy.formats import FORMATS
from tests.proxy import transcripts as t

every = pytest.mark.parametrize("transcript", t.ALL, ids=lambda one: one.name)
every_format = pytest.mark.parametrize("form", FORMATS)


def new(form, held=t.HELD, **more):
    return FORMATS[form].meter(t.PRICE, held, t.OUTPUT_TOKENS, **more)


def settled(form, *chunks, status=200, sent=True, complete=True):
    meter = new(form)
    for piece in chunks:
        meter.feed(piece)
    return meter.settlement(status=status, sent=sent, complete=complete)


# What an honest provider says is charged exactly.


@every
def test_a_whole_answer_costs_what_is_billed(transcript):
    meter = new(transcript.format)
    assert not meter.finished
    meter.feed(transcript.answer)
    assert meter.finished
    assert meter.first_output
    assert meter.error is None
    done = meter.settlement(status=200, sent=True, complete=True)
    assert (done.cost_nusd, done.basis, done.confirmed) == (transcript.bill, "usage", True)
    used = transcript.used
    assert done.tokens == used.tokens
    assert done.output_tokens == used.output
    assert done.input_tokens == used.tokens - used.output


@every
def test_bytes_may_come_one_by_one(transcript):
    answer = transcript.answer
    done = settled(transcript.format, *(answer[i : i + 1] for i in range(len(answer))))
    assert (done.cost_nusd, done.basis) == (transcript.bill, "usage")


@every
def test_cut_at_every_byte_it_is_never_below_the_bill_nor_above_the_hold(transcript):
    answer = transcript.answer
    running = new(transcript.format)
    for end in range(len(answer) + 1):
        # Settling looks and changes nothing that a later byte would need, so one meter shows every cut.
        done = running.settlement(status=200, sent=True, complete=False)
        assert transcript.bill <= done.cost_nusd <= t.HELD
        assert done.tokens >= transcript.used.tokens
        assert done.confirmed == (done.basis == "usage")
        assert running.finished <= (done.basis == "usage")
        if end > transcript.final_bytes:
            assert (done.cost_nusd, done.basis) == (transcript.bill, "usage")
        running.feed(answer[end : end + 1])


@every
@settings(max_examples=10)
@given(cuts=st.lists(st.integers(0, 5_000), max_size=6))
def test_any_cut_into_chunks_settles_alike(transcript, cuts):
    edges = [0, *sorted(cut % len(transcript.answer) for cut in cuts), len(transcript.answer)]
    pieces = [transcript.answer[a:b] for a, b in itertools.pairwise(edges)]
    assert settled(transcript.format, *pieces).cost_nusd == transcript.bill


def test_a_cut_anthropic_stream_is_charged_its_input_and_the_whole_output():
    done = settled("anthropic", t.sse(t.ANTHROPIC_START, *t.ANTHROPIC_EVENTS), complete=False)
    most = Usage(200, 1_000, 300, t.OUTPUT_TOKENS)
    assert done.basis == "partial"
    assert done.cost_nusd == 200 * 3_000 + 1_000 * 300 + 300 * 3_750 + t.OUTPUT_TOKENS * 15_000
    assert done.tokens == most.tokens
    assert not done.confirmed


def test_a_start_that_is_a_placeholder_is_not_trusted():
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 0, "output_tokens": 0}}}
    done = settled("anthropic", t.sse(start, *t.ANTHROPIC_EVENTS), complete=False)
    assert (done.cost_nusd, done.basis) == (t.HELD, "worst-case")


def test_an_anthropic_delta_may_give_totals_more_than_once():
    deltas = [t.ANTHROPIC_DELTA | {"usage": {"output_tokens": n}} for n in (40, 40, 12)]
    assert settled("anthropic", t.sse(t.ANTHROPIC_START, *deltas)).output_tokens == 40


@pytest.mark.parametrize(
    "block", [{"type": "text", "text": "all of it"}, {"type": "tool_use", "name": "x", "input": {}}]
)
def test_output_that_is_whole_in_its_start_is_output(block):
    seen = {"type": "content_block_start", "index": 0, "content_block": block}
    none = t.ANTHROPIC_DELTA | {"usage": {"output_tokens": 0}}
    assert settled("anthropic", t.sse(t.ANTHROPIC_START, seen, none)).basis != "usage"
    empty = seen | {"content_block": {"type": "text", "text": ""}}
    assert settled("anthropic", t.sse(t.ANTHROPIC_START, empty, none)).basis == "usage"


def test_a_smaller_start_or_delta_lowers_no_input():
    less = {"type": "message_start", "message": {"usage": {"input_tokens": 1, "output_tokens": 1}}}
    cut = settled("anthropic", t.sse(t.ANTHROPIC_START, less), complete=False)
    assert cut.input_tokens == 1_500
    delta = t.ANTHROPIC_DELTA | {"usage": {"input_tokens": 1, "output_tokens": 40}}
    assert settled("anthropic", t.sse(t.ANTHROPIC_START, delta)).input_tokens == 1_500


def test_a_delta_that_ends_nothing_is_not_the_last_word():
    going_on = t.ANTHROPIC_DELTA | {"delta": {"stop_reason": None}}
    done = settled("anthropic", t.sse(t.ANTHROPIC_START, going_on), complete=False)
    assert (done.basis, done.output_tokens) == ("partial", t.OUTPUT_TOKENS)


def test_a_cut_stream_is_not_charged_above_the_hold_for_output_it_may_not_have_made():
    meter = new("anthropic", held=5_000_000)
    meter.feed(t.sse(t.ANTHROPIC_START))
    done = meter.settlement(status=200, sent=True, complete=False)
    assert (done.cost_nusd, done.basis) == (5_000_000, "worst-case")


def test_a_doubtful_usage_above_the_hold_is_charged_all_the_same():
    meter = new("openai-chat", held=5)
    other = {"prompt_tokens": 2_400, "completion_tokens": 4}
    meter.feed(t.sse(t.CHAT_LAST, t.CHAT_LAST | {"usage": other}))
    done = meter.settlement(status=200, sent=True, complete=True)
    assert (done.cost_nusd, done.basis, done.tokens) == (2_400 * 3_000 + 4 * 15_000, "worst-case", 2_404)


def test_usage_above_the_hold_is_charged_in_full():
    usage = {"prompt_tokens": 90_000, "completion_tokens": 9_000}
    done = settled("openai-chat", json.dumps(t.CHAT_WHOLE | {"usage": usage}).encode())
    assert done.basis == "usage"
    assert done.cost_nusd == 90_000 * 3_000 + 9_000 * 15_000 > t.HELD


def test_a_repeated_usage_counts_once_and_the_larger_wins():
    larger = t.CHAT_LAST | {"usage": t.CHAT_USAGE | {"completion_tokens": 60, "total_tokens": 1_260}}
    done = settled("openai-chat", t.sse(t.CHAT_LAST, larger, t.CHAT_LAST))
    assert (done.basis, done.output_tokens) == ("usage", 60)


def test_usages_that_contradict_each_other_cost_the_hold():
    other = {"prompt_tokens": 2_400, "completion_tokens": 4}
    done = settled("openai-chat", t.sse(t.CHAT_LAST, t.CHAT_LAST | {"usage": other}))
    assert (done.cost_nusd, done.basis) == (t.HELD, "worst-case")


def test_output_after_the_usage_takes_its_word_back():
    early = t.sse(t.CHAT_EVENTS[1], t.CHAT_LAST, t.CHAT_EVENTS[1])
    meter = new("openai-chat")
    meter.feed(early)
    assert not meter.finished
    assert meter.settlement(status=200, sent=True, complete=True).basis == "worst-case"
    meter.feed(t.sse(t.CHAT_LAST))
    assert meter.finished


def test_a_usage_without_the_output_that_was_seen_costs_the_hold():
    usage = {"prompt_tokens": 10, "completion_tokens": 0}
    done = settled("openai-chat", t.sse(t.CHAT_EVENTS[1], t.CHAT_LAST | {"usage": usage}))
    assert (done.cost_nusd, done.basis) == (t.HELD, "worst-case")


# How a try ended.


@pytest.mark.parametrize("status", sorted(meters.NOT_BILLED))
@every_format
def test_what_no_model_worked_on_costs_nothing(form, status):
    answer = b'{"error": {"type": "invalid_request_error", "message": "no"}}'
    done = settled(form, answer, status=status)
    assert (done.cost_nusd, done.tokens, done.basis, done.confirmed) == (0, 0, "rejected", True)


@pytest.mark.parametrize("status", [408, 409, 499, 500, 502, 503, 504, 529, None, 302])
@every_format
def test_what_a_model_may_have_worked_on_costs_the_hold(form, status):
    done = settled(form, b'{"error": {"type": "server_error"}}', status=status)
    assert (done.cost_nusd, done.basis, done.confirmed) == (t.HELD, "worst-case", False)


NO_ROOM = (
    {"type": "overloaded_error", "message": "Overloaded"},
    {"type": "server_error", "message": "The engine is currently overloaded, please try again later"},
    {"code": "503", "message": "Slow Down"},
    {"message": "no capacity for this model just now"},
)


@pytest.mark.parametrize("error", NO_ROOM)
@every_format
def test_who_had_no_room_for_a_call_bills_nothing(form, error):
    answer = json.dumps({"type": "error", "error": error}).encode()
    for status in (503, 529):
        done = settled(form, answer, status=status)
        assert (done.cost_nusd, done.basis, done.confirmed) == (0, "rejected", True)
    for status in (500, 502, 504, 200, None):
        assert settled(form, answer, status=status).cost_nusd == t.HELD
    for end in range(len(answer)):  # half a sentence is nobody's word
        assert settled(form, answer[:end], status=503).cost_nusd == t.HELD


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>503 Service Temporarily Unavailable: overloaded</html>",
        b'{"error": {"type": "server_error", "message": "upstream timed out"}}',
        b'{"error": {"type": "overloaded_error"}, "usage": {"prompt_tokens": 9, "completion_tokens": 1}}',
    ],
)
def test_a_503_that_does_not_say_so_costs_the_hold(answer):
    assert settled("openai-chat", answer, status=503).cost_nusd == t.HELD


@pytest.mark.parametrize(
    ("error", "anybody", "azure"),
    [
        ({"code": "content_filter", "message": "The response was filtered"}, t.HELD, t.HELD),
        ({"code": "context_length_exceeded", "message": "This model's maximum context"}, 0, t.HELD),
        ({"code": "invalid_request_error", "message": "no such parameter"}, 0, 0),
    ],
)
def test_a_prompt_that_was_read_and_then_refused_costs_the_hold(error, anybody, azure):
    for billed, cost in ((False, anybody), (True, azure)):
        meter = new("openai-chat")
        meter.feed(json.dumps({"error": error}).encode())
        done = meter.settlement(status=400, sent=True, complete=True, too_long_billed=billed)
        assert done.cost_nusd == cost


@every
def test_a_usage_under_a_status_that_fails_does_not_lower_the_charge(transcript):
    assert settled(transcript.format, transcript.answer, status=502).cost_nusd == t.HELD
    assert settled(transcript.format, transcript.answer, status=429).cost_nusd == transcript.bill


@every_format
def test_what_was_never_sent_costs_nothing(form):
    done = settled(form, status=None, sent=False, complete=False)
    assert (done.cost_nusd, done.tokens, done.basis) == (0, 0, "unsent")


@every_format
def test_silence_costs_the_hold(form):
    done = settled(form, complete=False)
    assert (done.cost_nusd, done.basis) == (t.HELD, "worst-case")
    assert done.tokens == t.INPUT_TOKENS_HELD + t.OUTPUT_TOKENS


def test_tokens_when_unsure_are_those_that_are_held():
    done = new("openai-chat", held_tokens=7).settlement(status=None, sent=True, complete=False)
    assert done.tokens == 7


def test_a_free_model_holds_no_money():
    price = Price(0, 0, 0, 0, 0, "", "")
    done = FORMATS["openai-chat"].meter(price, 0, 100).settlement(status=500, sent=True, complete=False)
    assert (done.cost_nusd, done.tokens) == (0, 100)


@pytest.mark.parametrize(
    ("form", "event"),
    [
        ("openai-chat", {"error": {"type": "overloaded", "message": "no"}}),
        ("anthropic", {"type": "error", "error": {"type": "overloaded", "message": "no"}}),
        ("openai-responses", {"type": "error", "error": {"code": "overloaded"}}),
        ("openai-responses", {"type": "response.failed", "response": {"error": {"code": "overloaded"}}}),
    ],
)
def test_an_error_inside_a_stream_is_seen_and_costs_the_hold(form, event):
    meter = new(form)
    meter.feed(t.sse(event))
    assert meter.error == "overloaded"
    assert not meter.finished
    assert meter.settlement(status=200, sent=True, complete=True).cost_nusd == t.HELD


def test_a_failed_response_that_says_what_it_used_costs_that():
    failed = t.RESPONSE | {"status": "failed", "error": {"code": "server_error"}}
    done = settled("openai-responses", t.sse({"type": "response.failed", "response": failed}))
    assert done.basis == "usage"


def test_a_response_still_at_work_is_not_final():
    assert settled("openai-responses", json.dumps(t.RESPONSE | {"status": "in_progress"}).encode()).basis == (
        "worst-case"
    )


def test_first_output_is_the_first_word_and_not_the_frame_around_it():
    meter = new("openai-chat")
    meter.feed(t.sse(t.CHAT_EVENTS[0]))
    assert not meter.first_output
    meter.feed(t.sse(t.CHAT_EVENTS[1]))
    assert meter.first_output


def test_between_events_says_where_a_last_event_may_go():
    meter = new("openai-chat")
    assert meter.between_events
    meter.feed(t.sse(t.CHAT_EVENTS[0])[:-3])
    assert not meter.between_events


@pytest.mark.parametrize(("output", "cost"), [(0, t.HELD), (7, None)])
def test_a_stream_that_says_no_output_of_text_that_was_seen_costs_the_hold(output, cost):
    """The start of an Anthropic stream says one token, of whatever comes: that is not the last word."""
    answer = t.sse(
        {"type": "message_start", "message": {"usage": {"input_tokens": 30, "output_tokens": 1}}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "much " * 50}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": output}},
        {"type": "message_stop"},
    )
    done = settled("anthropic", answer)
    honest = 30 * t.PRICE.input + output * t.PRICE.output
    assert (done.cost_nusd, done.basis) == ((cost, "worst-case") if cost else (honest, "usage"))


@every
def test_an_answer_with_half_a_character_costs_what_is_billed(transcript):
    at = transcript.answer.rindex(b"}")
    meter = new(transcript.format)
    meter.feed(transcript.answer[:at] + b',"more":"\\ud83d"' + transcript.answer[at:])
    assert meter.settlement(status=200, sent=True, complete=True).cost_nusd == transcript.bill
