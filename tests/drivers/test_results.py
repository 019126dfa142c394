"""Results: found at the end of a message, whatever stands before them, and never larger than they may be."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.drivers import results
from dashd.drivers.results import Result

DONE = '{"summary": "done", "files_changed": ["a"], "tests": [], "follow_ups": ["b"]}'


@pytest.mark.parametrize(
    "text",
    [
        DONE,
        f"I did it.\n\n{DONE}\n",
        f"First {{ a brace }}\n```json\n{DONE}\n```\n",
        f'An example: {{"summary": "no"}} in a line.\n  {DONE}',
        DONE.replace(", ", ",\n  "),
        f'{{"tool": "x"}}\n{DONE}',
    ],
)
def test_it_is_the_object_at_the_end(text: str) -> None:
    assert results.find(text) == Result("done", ["a"], [], ["b"])


@pytest.mark.parametrize(
    "text",
    ["", "done", DONE + " and more", '{"files_changed": []}', "}", "{", '{"summary": 3}', "{" * 9_000 + "}"],
)
def test_anything_else_is_none(text: str) -> None:
    assert results.find(text) is None


def test_lists_may_be_left_out_and_objects_nested() -> None:
    assert results.find('{"summary": "s", "extra": {\n"summary": "inner"}\n}') == Result("s")


@given(st.text(max_size=200), st.text(max_size=50))
def test_what_was_encoded_is_found_again(summary: str, before: str) -> None:
    text, cut = results.encode(Result(summary))
    assert not cut
    assert results.find(f"{before}\n{text}") == Result(summary)


@given(st.text(max_size=30), st.integers(0, 3_000), st.integers(0, 500))
def test_it_is_capped_and_says_so(word: str, times: int, names: int) -> None:
    result = Result(word * times, [word * times] * names)
    text, cut = results.encode(result)
    assert len(text.encode()) <= results.RESULT_BYTES_MAX
    assert cut == (msgspec.json.decode(text, type=Result) != result)
