"""Results: found at the end of a message, whatever stands before them, and never larger than they may be."""

import time

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


def plainly(text: str) -> Result | None:
    """The same in words that take as long as the square of a line."""
    body = text.rstrip()
    body = body.removesuffix("```").rstrip() if body.endswith("```") else body
    begins = [at for at, each in enumerate(body) if each == "{" and not body[:at].rpartition("\n")[2].strip()]
    for at in begins[-results.CANDIDATES_MAX :] if body.endswith("}") else ():
        try:
            return msgspec.json.decode(body[at:].encode("utf-8", "replace"), type=Result)
        except msgspec.DecodeError:
            continue
    return None


PIECES = [
    "{",
    "}",
    "\n",
    " ",
    "\r",
    "\x85",
    "\u2028",
    "```",
    '"summary"',
    ":",
    '"s"',
    ",",
    "x",
    "\ud83d",
    DONE,
]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_it_is_found_as_in_plain_words(text: str) -> None:
    assert results.find(text) == plainly(text)
    assert results.find(text + "}") == plainly(text + "}")


def test_only_the_last_places_where_one_may_begin_are_looked_at() -> None:
    last = "{\n" * (results.CANDIDATES_MAX - 1) + DONE
    assert results.find(last) == plainly(last) is not None
    assert results.find(DONE[:-1] + "\n{" * results.CANDIDATES_MAX + "}") is None


@pytest.mark.parametrize("more", [0, 1])
def test_it_is_looked_for_at_the_end_of_a_long_message(more: int) -> None:
    long = '{"summary":"%s"}' % ("s" * (results.FOUND_CHARACTERS_MAX - 14 + more))
    assert (results.find(f"before\n{long}") is None) is bool(more)
    assert results.find(f"{long}\n{DONE}") == results.find(DONE)


@pytest.mark.parametrize("kind", ["{", "{\n", " ", '{"a":', '\n{"summary":["",'])
def test_a_message_takes_no_longer_than_its_length(kind: str) -> None:
    def took_s(count: int) -> float:
        text = "x" + kind * (count // len(kind)) + "}"
        took = []
        for _ in range(5):
            begun = time.process_time()
            assert results.find(text) is None
            took.append(time.process_time() - begun)
        return min(took)

    small = max(took_s(8_000), 1e-4)
    assert took_s(64_000) < 30 * small  # eight times the length; the square of it is 64


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
