"""Any bytes become one object within bounds, or a refusal that says what would pass."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.proxy.formats import FORMATS, CallRefused
from dashd.proxy.formats import body as bodies


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"{} {}", "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": 1e999}', "not JSON"),
        (b'{"a": "\xed\xa0\x80"}', "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
        (b'{"a": ' + b"9" * 9_000 + b"}", "not JSON"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a":' + b"[" * 500 + b"]" * 500 + b"}", "nested too deeply"),
        (b'{"a": [' + b"0," * 2_000_001 + b"0]}", "too many values"),
        (b'{"a": [' + b"{}," * 100_001 + b"0]}", "too many objects"),
        (b'{"a": [' + b"[[{}]]," * 33_400 + b"0]}", "too many objects"),
    ],
    ids=lambda value: repr(value[:16]),
)
def test_what_is_no_object_is_refused_with_the_reason(raw, why):
    with pytest.raises(CallRefused, match=why) as refused:
        bodies.decode(raw)
    assert (refused.value.kind, refused.value.status) == ("malformed", 400)
    assert refused.value.hint


def test_half_a_character_of_an_earlier_answer_is_read_as_unknown():
    assert bodies.decode(b'{"a": "\\ud800", "b": "\\ud83d\\ude00"}') == {"a": "\ufffd", "b": "\U0001f600"}


def test_a_body_too_large_is_refused_unread(monkeypatch):
    monkeypatch.setattr(bodies, "BODY_BYTES_MAX", 100)
    with pytest.raises(CallRefused, match="101 bytes"):
        bodies.decode(b"{" + b" " * 99 + b"}")


def test_the_last_of_two_equal_names_counts_and_nulls_mean_not_set():
    assert bodies.decode(b'{"a": 1, "a": 2, "b": null, "c": {"d": null}}') == {"a": 2, "c": {"d": None}}


def test_as_deep_as_allowed_passes():
    deep = json.loads("[" * (bodies.DEPTH_MAX - 1) + "]" * (bodies.DEPTH_MAX - 1))
    assert bodies.decode(json.dumps({"a": deep}).encode()) == {"a": deep}


@given(st.binary(max_size=100))
def test_any_bytes_parse_or_are_refused(raw):
    for form in FORMATS.values():
        with pytest.raises(CallRefused):
            form.parse(raw)


@pytest.mark.parametrize("name", [None, "", 7, [], "x" * 201, "a\nb", "a\x1bb"])
def test_a_model_needs_a_name(name):
    with pytest.raises(CallRefused, match="no model"):
        bodies.model({"model": name})


@pytest.mark.parametrize("value", [0, -1, 1.5, "12", True, [], 10**400])
def test_a_token_limit_is_a_positive_whole_number(value):
    if value == 10**400:
        assert bodies.token_limit({"max_tokens": value}, "max_tokens") == value
    else:
        with pytest.raises(CallRefused, match="whole number"):
            bodies.token_limit({"max_tokens": value}, "max_tokens")


def test_of_two_limits_the_smaller_counts():
    assert bodies.token_limit({"a": 9, "b": 5}, "a", "b", "c") == 5
    assert bodies.token_limit({}, "a") is None


def test_flags_lists_and_objects_are_what_they_say():
    assert bodies.flag({}, "stream") is False
    for wrong in (
        lambda: bodies.flag({"stream": 1}, "stream"),
        lambda: bodies.entries({}, "messages"),
        lambda: bodies.fields([], "messages[0]"),
    ):
        with pytest.raises(CallRefused):
            wrong()


def test_a_callers_text_is_quoted_short_and_printable():
    assert bodies.shown("web_search") == "'web_search'"
    assert bodies.shown("\x1b]52;\u202e") == "'\ufffd]52;'"
    assert len(bodies.shown("x" * 10_000)) < 70
    assert bodies.shown({"a": 1}) == "an object"
    assert bodies.shown([]) == "a list"
    assert bodies.shown(None) == "'None'"
