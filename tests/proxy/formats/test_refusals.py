"""A refusal makes each program that reads it stop, or try again, as it should."""

import json
import re

import pytest

from dashd.drivers import openclaw_conversation
from dashd.proxy.formats import FORMATS, CallRefused
from dashd.proxy.sse import EventCutter

every_format = pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)
STYLES = ("openclaw", "pi", "embedded", "outside")
BUDGET = (402, "BudgetExceeded", "the budget of agent 7k2m9q-003 is spent; extend it or end here")

# Words that OpenClaw's own classifiers look for; each costs retries, or locks the provider for all sessions.
OPENCLAW_ACTS_ON = re.compile(
    r"rate.limit|too many|429|throttl|quota|exhausted|usage limit|tokens per|overloaded|capacity|insufficient"
    r"|timeout|timed out|unavailable|deadline|connection|402|billing|payment|credits|spend|balance|api key"
    r"|token|authentication|unauthorized|forbidden|denied|permission|expired|401|403|context|too large"
    r"|server.error",
    re.IGNORECASE,
)


def refused(form, said, style):
    status, body = form.refusal(*said, style=style)
    return status, json.loads(body)


@every_format
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 413, 422, 429])
def test_openclaw_gets_400_and_words_that_mean_nothing_to_it(form, status):
    answered, body = refused(form, (status, "BudgetExceeded", BUDGET[2] + " (a quota)"), "openclaw")
    assert (answered, body["error"]["type"]) == (400, "invalid_request_error")
    said = body["error"]["message"]
    # The driver reads it as a budget, which is final.
    assert f"400 {said}".startswith(openclaw_conversation.REFUSED) is (status == 402)
    assert said.startswith("dash: ")
    assert not OPENCLAW_ACTS_ON.search(json.dumps(body))


@every_format
def test_openclaw_is_told_why_a_call_is_refused_where_no_word_misleads_it(form):
    why = "tools[0]: 'web_search' is no tool of your own"
    assert refused(form, (400, "provider_tool", why), "openclaw")[1]["error"]["message"] == f"dash: {why}"
    loaded = "messages[403].content: the context is too long"
    assert "context" not in refused(form, (400, "x", loaded), "openclaw")[1]["error"]["message"]


def test_pi_gets_exactly_what_it_never_retries():
    status, body = FORMATS["openai-chat"].refusal(*BUDGET, style="pi")
    assert status == 402
    assert json.loads(body) == {"error": {"type": "insufficient_quota", "message": f"dash: {BUDGET[2]}"}}


def test_pi_over_anthropic_gets_the_same_word_in_anthropics_shape():
    status, body = refused(FORMATS["anthropic"], BUDGET, "pi")
    assert status == 402
    assert body == {
        "type": "error",
        "error": {"type": "insufficient_quota", "message": f"dash: {BUDGET[2]}"},
    }


@every_format
@pytest.mark.parametrize("style", ["embedded", "outside"])
def test_code_branches_on_the_kind(form, style):
    status, body = refused(form, BUDGET, style)
    assert status == 402
    assert body["error"]["data"] == {"kind": "BudgetExceeded", "retryable": False}
    assert body["error"]["message"].startswith("dash: ")


def test_the_shape_is_the_formats():
    assert refused(FORMATS["openai-chat"], BUDGET, "outside")[1]["error"]["type"] == "insufficient_quota"
    assert refused(FORMATS["openai-chat"], BUDGET, "outside")[1]["error"]["code"] == "BudgetExceeded"
    anthropic = refused(FORMATS["anthropic"], BUDGET, "outside")[1]
    assert (anthropic["type"], anthropic["error"]["type"]) == ("error", "billing_error")


@every_format
@pytest.mark.parametrize("style", STYLES)
def test_for_now_stays_for_now(form, style):
    status, body = refused(form, (503, "Unavailable", "no provider answers"), style)
    assert status == 503
    assert body["error"]["type"] == "overloaded_error"


@every_format
def test_a_wait_that_passed_may_be_tried_again(form):
    assert refused(form, (503, "DeadlinePassed", "x"), "outside")[1]["error"]["data"]["retryable"] is True


@every_format
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("begun", [b"", b"data: {}\n\n", b'data: {"half": ', b"data: {}\n"])
def test_a_stream_under_way_ends_with_an_error_of_its_own(form, style, begun):
    end = form.refusal_in_stream(502, "UpstreamCut", "the provider fell silent", style=style)
    last = json.loads(EventCutter().feed(begun + end)[-1])
    assert last["error"]["message"] == "dash: the provider fell silent"
    if form.name != "openai-chat":
        assert last["type"] == "error"


def test_a_long_message_is_cut():
    assert len(FORMATS["anthropic"].refusal(400, "x", "y" * 10_000, style="outside")[1]) < 1_300


def test_a_refused_call_reads_as_one_sentence_with_where_why_and_what_would_pass():
    error = CallRefused("remote_url", "no addresses", hint="send it inline", path="a[1]")
    assert error.text == "a[1]: no addresses; send it inline"
    assert CallRefused("malformed", "not JSON").text == "not JSON"
    assert error.to_wire()["data"]["category"] == "validation_error"
