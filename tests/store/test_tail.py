"""The tail is a dense, bounded run that ends at the newest event; what fell out is asked of the table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.store import tail


def batch(first: int, count: int = 1, size: int = 10) -> tail.Batch:
    seqs = range(first, first + count)
    return tail.Batch(tuple(tail.Committed(seq, "task.created", "s", b"%0*d" % (size, seq)) for seq in seqs))


def seqs(events: list[tail.Committed] | None) -> list[int] | None:
    return None if events is None else [event.seq for event in events]


def test_a_new_tail_knows_only_where_the_table_ends() -> None:
    new = tail.Tail(7)
    assert new.last_seq == 7
    assert new.since(7) == []
    assert new.since(6) is None


def test_since_gives_what_is_newer_in_order() -> None:
    ours = tail.Tail(2)
    ours.publish(batch(3, 2))
    ours.publish(batch(5))
    assert seqs(ours.since(2)) == [3, 4, 5]
    assert seqs(ours.since(4)) == [5]
    assert seqs(ours.since(5)) == []
    assert seqs(ours.since(99)) == []
    assert ours.since(1) is None
    assert ours.last_seq == 5


def test_a_gap_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        tail.Tail(2).publish(batch(4))


@given(
    sizes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 40)), max_size=20),
    events_max=st.integers(0, 8),
    bytes_max=st.integers(0, 100),
)
def test_bounded_by_count_and_bytes_and_never_wrong(sizes, events_max, bytes_max) -> None:
    ours, table = tail.Tail(0, events_max=events_max, bytes_max=bytes_max), []
    for count, size in sizes:
        new = batch(len(table) + 1, count, size)
        table += new.events
        ours.publish(new)
        answers = [ours.since(seq) for seq in range(len(table) + 1)]
        kept = max((len(events) for events in answers if events is not None), default=0)
        assert kept <= events_max
        assert sum(len(event.body) for event in table[len(table) - kept :]) <= bytes_max
        for seq, events in enumerate(answers):
            assert events == (table[seq:] if seq >= len(table) - kept else None)


def test_followers_get_each_batch_until_they_leave() -> None:
    ours, got = tail.Tail(0), []
    leave = ours.follow(lambda news: got.append(seqs(list(news.events))))
    ours.publish(batch(1, 2))
    leave()
    leave()
    ours.publish(batch(3))
    assert got == [[1, 2]]


def test_a_follower_may_end_itself_and_another_from_within() -> None:
    ours, got = tail.Tail(0), []

    def first(_news: tail.Batch) -> None:
        got.append("first")
        leave_first()
        leave_second()

    leave_first = ours.follow(first)
    leave_second = ours.follow(lambda _news: got.append("second"))
    ours.publish(batch(1))
    ours.publish(batch(2))
    assert got == ["first"]


def test_the_same_function_may_follow_twice() -> None:
    ours, got = tail.Tail(0), []
    leave = ours.follow(got.append)
    ours.follow(got.append)
    leave()
    ours.publish(batch(1))
    assert len(got) == 1


def test_bodies_are_joined_once() -> None:
    news = batch(1, 3, size=2)
    assert news.joined == b"01,02,03"
    assert news.joined is news.joined


def test_an_empty_batch_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        tail.Batch(())
