"""Nothing that an agent wrote reaches a terminal as a command to it (invariant 12)."""

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.wire import safe

HOSTILE = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(
            "\x1b\x9b\x9d\x90\x07\x9c[]0;1m\\\r\n\t\x7f\x85\u202e\u2066\u200b\u200d\ufeff\U000e0041\ud800"
        ),
    ),
    max_size=80,
)


def harmless(text: str) -> bool:
    """Only what shows as itself: no control, format, surrogate or private character, no line separators."""
    return all(
        character in "\n\t"
        or (
            character.isprintable()
            and unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
        )
        for character in text
    )


@given(HOSTILE)
def test_whatever_comes_in_what_goes_out_is_harmless(text: str):
    assert harmless(safe.block(text))
    line = safe.line(text)
    assert harmless(line)
    assert "\n" not in line
    assert "\t" not in line


@given(HOSTILE)
def test_harmless_text_is_left_as_it_is(text: str):
    once = safe.block(text)
    assert safe.block(once) == once


@given(HOSTILE, st.data())
def test_text_in_pieces_is_as_harmless_as_in_one(text: str, data: st.DataObject):
    at = data.draw(st.integers(0, len(text)))
    ready, kept = safe.split_open_sequence(text[:at])
    assert ready + kept == text[:at]
    assert harmless(safe.block(ready) + safe.block(kept + text[at:]))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("a\x1b]0;owned\x07b", "ab"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;ZXZpbA==\x07", ""),
        ("\x9b2Jgone", "gone"),
        ("file\u202egpj.exe", "filegpj.exe"),
        ("a\u200bb\u2060c\ufeffd", "abcd"),
        ("bell\x07", "bell\ufffd"),
        ("10%\r100%\r\n", "10%\n100%\n"),
        ("日本語", "日本語"),
        ("z" + "\u0301" * 50, "z" + "\u0301" * 4),
        ("\ud800", "\ufffd"),
        ("never closed \x1b]0;all the rest", "never closed \ufffd]0;all the rest"),
    ],
)
def test_examples(text: str, shown: str):
    assert safe.block(text) == shown


def test_a_sequence_cut_by_the_end_of_a_piece_waits_for_the_next():
    assert safe.split_open_sequence("abc\x1b[3") == ("abc", "\x1b[3")
    assert safe.split_open_sequence("abc\x1b[31mred") == ("abc\x1b[31mred", "")
    # What never closes is not kept for ever.
    assert safe.split_open_sequence("\x1b]" + "x" * 1_000)[1] == ""


@given(st.recursive(HOSTILE | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(HOSTILE, inner)))
def test_json_values_are_harmless_throughout(found):
    def every(value):
        if isinstance(value, str):
            assert harmless(value)
        elif isinstance(value, dict):
            for name, inner in value.items():
                every(name)
                every(inner)
        elif isinstance(value, list):
            for inner in value:
                every(inner)

    every(safe.value(found))


@given(HOSTILE)
def test_json_is_printable_ascii_and_loses_nothing(text: str):
    written = safe.as_json({"text": text}, compact=True)
    assert written.isascii()
    assert written.isprintable()
    assert json.loads(written) == {"text": text}


def test_what_has_no_form_in_json_is_written_as_text():
    assert safe.as_json([Path("x")]) == '["x"]'
