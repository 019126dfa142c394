"""An event stream means the same however it is cut into chunks, and takes no more memory than its bound."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from dashd.proxy.sse import EventCutter

STREAM = (
    b"\xef\xbb\xbf: hello\r\nid: 1\r\ndata: one\r\n\r\n"
    b"data:two\r\ndata: three\n\nevent: x\rdata\rdata:  y\r\r\n"
)
EVENTS = [b"one", b"two\nthree", b"\n y"]


def cut(cutter: EventCutter, stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(c % (len(stream) + 1) for c in cuts), len(stream)]
    return [event for a, b in itertools.pairwise(edges) for event in cutter.feed(stream[a:b])]


def test_lines_end_in_three_ways_and_data_lines_are_joined():
    assert EventCutter().feed(STREAM) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_cuts_change_nothing(cuts):
    assert cut(EventCutter(), STREAM, cuts) == EVENTS


def test_byte_by_byte():
    assert cut(EventCutter(), STREAM, list(range(len(STREAM)))) == EVENTS


@given(st.text(alphabet="da t:\r\n1", max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_any_text_is_cut_as_it_is_whole(text, cuts):
    assert cut(EventCutter(), text.encode(), cuts) == EventCutter().feed(text.encode())


def test_an_unfinished_event_is_not_one():
    cutter = EventCutter()
    assert cutter.feed(b"data: half\n") == []
    assert not cutter.between_events
    assert cutter.feed(b"\n") == [b"half"]
    assert cutter.between_events


def test_a_half_line_is_not_between_events():
    cutter = EventCutter()
    cutter.feed(b"data: a\n\nda")
    assert not cutter.between_events


def test_an_endless_line_is_dropped_and_said():
    cutter = EventCutter(event_bytes_max=100)
    for _ in range(1_000):
        assert cutter.feed(b"data: " + b"x" * 60) == []
    assert cutter.overflowed
    assert len(cutter._line) <= 100
    assert cutter.feed(b"\ndata: rest of the lost event\n\ndata: next\n\n") == [b"next"]


def test_endless_data_lines_are_dropped_and_said():
    cutter = EventCutter(event_bytes_max=100)
    for _ in range(1_000):
        assert cutter.feed(b"data:\n") == []
    assert cutter.overflowed
    assert sum(map(len, cutter._data)) + len(cutter._data) <= 100


def test_comments_for_ever_take_no_memory():
    cutter = EventCutter(event_bytes_max=100)
    for _ in range(1_000):
        cutter.feed(b": still there\n")
    assert not cutter.overflowed
    assert cutter.between_events
