"""Lines out of pieces; whoever reads them tests with lines of its own."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.drivers.lines import Lines

BYTES_MAX = 5


def _cut(lines: Lines, *pieces: bytes) -> list[bytes]:
    return [line for piece in pieces for line in lines.cut(piece)]


@given(st.text("ab\r\n", max_size=60), st.lists(st.integers(0, 60), max_size=9))
def test_in_whatever_pieces_it_comes_the_lines_are_the_same(text: str, cuts: list[int]) -> None:
    output = text.encode()
    edges = sorted({0, len(output), *(cut for cut in cuts if cut < len(output))})
    lines = Lines(BYTES_MAX)
    found = _cut(lines, *(output[a:b] for a, b in itertools.pairwise(edges)))
    *whole, rest = output.split(b"\n")
    assert found == [line for line in whole if len(line) <= BYTES_MAX]
    assert lines.pending is bool(rest)


@pytest.mark.parametrize(("line", "read"), [(b"x" * BYTES_MAX, True), (b"x" * (BYTES_MAX + 1), False)])
def test_a_line_that_is_longer_than_it_may_be_is_passed_over_alone(line: bytes, read: bool) -> None:
    lines = Lines(BYTES_MAX)
    assert _cut(lines, b"a\n" + line + b"\nb\n") == ([b"a", line, b"b"] if read else [b"a", b"b"])


def test_of_a_line_that_is_too_long_nothing_is_held() -> None:
    lines = Lines(BYTES_MAX)
    for _ in range(100):
        assert _cut(lines, b"xx") == []
        assert len(lines._line) <= BYTES_MAX
    assert lines.pending
