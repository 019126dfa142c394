"""What goes out never weighs more than what was held for it, whatever model and limit it gets."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from dashd.proxy.formats import FORMATS, outgoing

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def body(form, text, asked, *, stream=True):
    content = [{"role": "user", "content": text}]
    limit = {"openai-chat": "max_tokens", "openai-responses": "max_output_tokens", "anthropic": "max_tokens"}
    given = {"input" if form == "openai-responses" else "messages": content, limit[form]: asked}
    return given | {"model": "m", "stream": stream}


@settings(max_examples=30)
@given(text=TEXTS, asked=st.integers(1, 10**9), granted=st.integers(1, 10**9), name=TEXTS.filter(bool))
def test_the_weight_bounds_every_outgoing_body(text, asked, granted, name):
    for form in FORMATS.values():
        call = form.parse(json.dumps(body(form.name, text, asked)).encode())
        sent = form.outgoing(call, model=name[:40], output_tokens=granted)
        assert len(sent) <= call.input_bytes
        assert len(text.encode()) < call.input_bytes


def test_parsing_what_goes_out_gives_the_same_call():
    for form in FORMATS.values():
        call = form.parse(json.dumps(body(form.name, "hé", 100)).encode())
        again = form.parse(form.outgoing(call, model="m", output_tokens=100))
        assert again == call


def test_plain_characters_are_written_as_they_are():
    assert outgoing.encode({"a": "é\u2028\n"}) == '{"a":"é\u2028\\n"}'.encode()


def test_answers_are_asked_for_uncompressed():
    assert outgoing.HEADERS["accept-encoding"] == "identity"
