"""Text is measured as a terminal shows it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashctl import width
from dashd.wire import safe


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("ｱ", 1), ("🙂", 2), ("", 0)]
)
def test_columns(text: str, columns: int):
    assert width.of(text) == columns


@given(st.text(max_size=40), st.integers(0, 40))
def test_a_cut_text_fits_and_says_that_it_was_cut(text: str, columns: int):
    text = safe.line(text)
    short = width.cut(text, columns)
    assert width.of(short) <= columns
    assert short == text if width.of(text) <= columns else columns == 0 or short.endswith("…")


@given(st.text(max_size=60), st.integers(2, 30))
def test_wrapped_lines_fit_and_nothing_is_lost(text: str, columns: int):
    text = safe.line(text)
    lines = width.wrap(text, columns)
    assert all(width.of(line) <= columns for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_lines_break_between_words():
    assert width.wrap("no driver was named", 10) == ["no driver", "was named"]
    assert width.wrap("日本語 abcdef", 4) == ["日本", "語", "abcd", "ef"]


def test_a_wide_character_is_never_cut_in_half():
    assert width.cut("日本語", 4) == "日…"
    assert width.cut("日本語", 5) == "日本…"
    assert width.cut("abcdef", 5, "...") == "ab..."
