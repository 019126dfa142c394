"""Each format keeps the contract that the rest of the proxy codes against."""

import json

import pytest

from dashd.proxy.formats import FORMATS, by_path
from tests.proxy import transcripts as t

SMALL = {
    "openai-chat": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "openai-responses": {"model": "m", "input": "hi"},
    "anthropic": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
}
every_format = pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", "openai-chat"),
        ("/chat/completions", "openai-chat"),
        ("/a/7k2m9q-003/v1/chat/completions", "openai-chat"),
        ("/v1/responses", "openai-responses"),
        ("/a/x/v1/responses?stream=1", "openai-responses"),
        ("/v1/messages", "anthropic"),
        ("/a/x/v1/messages?beta=true", "anthropic"),
        ("/v1/messages/count_tokens", None),
        ("/v1/messages/batches", None),
        ("/v1/threads/t/messages", None),
        ("/v1/responses/resp_1", None),
        ("/v1/batches", None),
        ("/v1/files", None),
        ("/v1/models", None),
        ("/", None),
    ],
)
def test_a_path_names_its_format_or_none(path, name):
    form = by_path(path)
    assert (form.name if form else None) == name


@every_format
def test_the_smallest_call_passes(form):
    call = form.parse(json.dumps(SMALL[form.name]).encode())
    assert (call.format, call.model, call.stream, call.output_tokens) == (form.name, "m", False, None)
    assert (call.tools, call.image_tokens) == (False, 0)
    sent = json.loads(form.outgoing(call, model="real", output_tokens=100))
    assert sent["model"] == "real"
    assert 100 in sent.values()


@every_format
def test_the_call_is_not_changed_by_sending_it(form):
    call = form.parse(json.dumps(SMALL[form.name]).encode())
    before = json.dumps(call.body)
    form.outgoing(call, model="other", output_tokens=7)
    assert json.dumps(call.body) == before


@every_format
def test_without_a_secret_no_secret_header_goes_out(form):
    named = {"authorization", "x-api-key"}
    assert not named & set(form.headers(None))
    assert len(named & set(form.headers("s3cret"))) == 1


@every_format
def test_a_callers_own_headers_do_not_pass(form):
    asked = {"authorization": "Bearer theirs", "x-api-key": "theirs", "x-dash-agent": "a", "cookie": "c"}
    assert "theirs" not in str(form.headers("ours", asked))
    assert form.headers("ours", asked) == form.headers("ours")


@every_format
def test_each_format_has_a_meter_of_its_own(form):
    one, other = (form.meter(t.PRICE, t.HELD, 10) for _ in range(2))
    one.feed(next(x.answer for x in t.STREAMS if x.format == form.name))
    assert one.finished
    assert not other.finished
