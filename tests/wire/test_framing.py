"""Frames come out whole, however the stream is cut, in linear time and bounded space."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.wire import framing

LINES = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"x")), max_size=12)


def feed(framer: framing.Framer, stream: bytes, cuts: list[int]) -> list[bytes]:
    frames = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        frames += framer.feed(stream[start:end])
    return frames


@given(lines=LINES, data=st.data())
def test_any_cut_gives_the_same_frames(lines, data):
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    framer = framing.Framer()
    assert feed(framer, stream, cuts) == [line for line in lines if line and not line.isspace()]
    assert not framer.started


def test_cut_at_every_byte():
    stream = b'{"a":1}\n\r\n \n{"b":"\xc3\xa9"}\n\n{"c":3}\n{"d'
    for cut in range(len(stream) + 1):
        framer = framing.Framer()
        assert feed(framer, stream, [cut]) == [b'{"a":1}', b'{"b":"\xc3\xa9"}', b'{"c":3}']
        assert framer.started
    assert feed(framing.Framer(), stream, list(range(1, len(stream)))) == [
        b'{"a":1}',
        b'{"b":"\xc3\xa9"}',
        b'{"c":3}',
    ]


@given(limit=st.integers(1, 20), lines=LINES, data=st.data())
def test_the_limit_is_exact_and_final(limit, lines, data):
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    framer = framing.Framer(limit)
    frames = feed(framer, stream, cuts)
    fitting = next((place for place, line in enumerate(lines) if len(line) > limit), len(lines))
    assert frames == [line for line in lines[:fitting] if line and not line.isspace()]
    assert framer.too_large == (fitting < len(lines))
    if framer.too_large:
        assert framer.feed(b"{}\n") == []
        assert not framer.started


def test_a_frame_without_an_end_is_given_up_at_the_limit():
    framer = framing.Framer(100)
    for _ in range(10):
        assert framer.feed(b"x" * 10) == []
        assert not framer.too_large
    assert framer.feed(b"x") == []
    assert framer.too_large


@pytest.mark.slow
def test_linear_in_what_arrives():
    def seconds(size: int) -> float:
        framer = framing.Framer(size + 1)
        piece = b"x" * 16
        best = float("inf")
        for _ in range(3):
            begun = time.process_time()
            for _ in range(size // len(piece)):
                framer.feed(piece)
            framer.feed(b"\n")
            best = min(best, time.process_time() - begun)
        return best

    # Eight times the work in eight times the time; quadratic code takes 64 times as long.
    assert seconds(1 << 20) < 24 * seconds(1 << 17)
