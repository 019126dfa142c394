"""Pages of the event table: nothing missed, nothing twice, never past what the reader was told of."""

import json

from hypothesis import given
from hypothesis import strategies as st

from dashd.store import events, tail
from dashd.wire.events import Filter


def _fill(scene, kinds: str, swarms: str) -> None:
    names = {"c": "task.completed", "d": "task.dead", "s": "swarm.completed"}

    def operation(tx) -> None:
        for kind, swarm in zip(kinds, swarms, strict=True):
            tx.emit(names[kind], swarm=swarm)

    scene.do(operation)


def _seqs(bodies: list[bytes]) -> list[int]:
    return [json.loads(body)["seq"] for body in bodies]


def _walk(db, wanted: Filter, limit: int, last: int) -> list[int]:
    seen, cursor, more = [], 0, True
    while more:
        bodies, cursor, more = events.after(db, cursor, wanted, limit, last)
        assert len(bodies) <= limit
        seen += _seqs(bodies)
    assert cursor == last
    return seen


def test_pages_join_without_a_gap(scene) -> None:
    _fill(scene, "cdscdscds", "aaabbbaaa")
    assert _walk(scene.db, Filter(), 2, 9) == list(range(1, 10))
    assert _walk(scene.db, Filter("b"), 1, 9) == [4, 5, 6]
    assert _walk(scene.db, Filter("a", ["task.*"]), 2, 9) == [1, 2, 7, 8]
    assert _walk(scene.db, Filter(attention=True), 3, 9) == [2, 3, 5, 6, 8, 9]
    assert _walk(scene.db, Filter(kinds=["agent.*"]), 3, 9) == []


def test_nothing_after_the_last_that_was_published(scene) -> None:
    _fill(scene, "cccc", "aaaa")
    assert events.after(scene.db, 0, Filter(), 9, 2)[1:] == (2, False)
    assert _seqs(events.after(scene.db, 0, Filter(), 9, 2)[0]) == [1, 2]
    assert events.after(scene.db, 4, Filter(), 9, 4) == ([], 4, False)


def test_more_is_said_only_where_something_wanted_follows(scene) -> None:
    _fill(scene, "dcc", "aaa")
    bodies, cursor, more = events.after(scene.db, 0, Filter(kinds=["task.dead"]), 1, 3)
    assert (_seqs(bodies), cursor, more) == ([1], 3, False)
    bodies, cursor, more = events.after(scene.db, 0, Filter(), 1, 3)
    assert (_seqs(bodies), cursor, more) == ([1], 1, True)


def test_a_page_boundary_of_the_table_is_no_end(scene, monkeypatch) -> None:
    monkeypatch.setattr(events, "_PAGE_ROWS_MAX", 3)
    _fill(scene, "ccccccd", "aaaaaab")
    assert _walk(scene.db, Filter(), 2, 7) == list(range(1, 8))
    assert _walk(scene.db, Filter(kinds=["task.dead"]), 2, 7) == [7]
    assert _walk(scene.db, Filter("a"), 9, 7) == list(range(1, 7))


def test_any_walk_gives_what_one_look_would(scene, monkeypatch) -> None:
    monkeypatch.setattr(events, "_PAGE_ROWS_MAX", 4)
    kinds, swarms = "cdscdsscdcdd" * 2, "aabbaabababb" * 2
    _fill(scene, kinds, swarms)

    @given(
        st.sampled_from([None, "a", "b"]),
        st.sets(st.sampled_from(["task.completed", "task.dead", "swarm.*"])),
        st.integers(1, 25),
        st.integers(0, 24),
    )
    def walk(swarm: str | None, chosen: set[str], limit: int, last: int) -> None:
        wanted = Filter(swarm, chosen)
        names = {"c": "task.completed", "d": "task.dead", "s": "swarm.completed"}
        expected = [
            seq
            for seq, (kind, of) in enumerate(zip(kinds, swarms, strict=True), 1)
            if seq <= last and wanted.wants(names[kind], of)
        ]
        assert _walk(scene.db, wanted, limit, last) == expected

    walk()


def test_bodies_are_what_was_published(scene) -> None:
    published: list[tail.Committed] = []
    scene.store.tail.follow(lambda batch: published.extend(batch.events))
    _fill(scene, "cd", "ab")
    assert [event.body for event in published] == events.after(scene.db, 0, Filter(), 9, 2)[0]
