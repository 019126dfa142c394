"""Kinds, patterns and filters."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from dashd.wire import events


def test_patterns():
    assert events.expand("*") == sorted(events.KINDS)
    assert events.expand("task.dead") == ["task.dead"]
    assert set(events.expand("agent.*")) == {kind for kind in events.KINDS if kind.startswith("agent.")}
    assert events.expand("agents.*") == events.expand("task") == events.expand("") == []


def test_attention_is_made_of_kinds():
    assert events.ATTENTION < events.KINDS


@given(
    wanted=st.none() | st.sampled_from(["s1", "s2"]),
    kinds=st.lists(st.sampled_from(["task.*", "task.dead", "agent.lost"]), max_size=2),
    attention=st.booleans(),
    kind=st.sampled_from(sorted(events.KINDS)),
    swarm=st.none() | st.sampled_from(["s1", "s2"]),
    among=st.none() | st.frozensets(st.sampled_from(["s1", "s2"])),
)
def test_a_filter_is_the_and_of_what_it_is_given(wanted, kinds, attention, kind, swarm, among):
    expected = (
        (wanted is None or wanted == swarm)
        and (not kinds or any(kind in events.expand(pattern) for pattern in kinds))
        and (not attention or kind in events.ATTENTION)
        and (among is None or swarm is None or swarm in among)
    )
    chosen = events.Filter(wanted, kinds, attention=attention).for_those(among)
    assert chosen.wants(kind, swarm) == expected
    assert not chosen.everything or expected


def test_an_event_is_compact_and_comes_back():
    event = events.Event(seq=3, at=events.iso(1_795_168_800_123), kind="task.dead", task="t")
    encoded = events.encode(event)
    assert encoded == b'{"seq":3,"at":"2026-11-20T10:00:00.123Z","kind":"task.dead","task":"t"}'
    assert msgspec.json.decode(encoded, type=events.Event) == event
