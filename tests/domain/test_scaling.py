"""How many places there are: a table of states, and what no change may do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain.placement import Place
from dashd.domain.scaling import Scaling, ScalingPolicy, scaling
from tests.domain.test_placement import any_places


@pytest.mark.parametrize(
    ("places", "idle", "waited", "policy", "wanted"),
    [
        ([], {}, 0, ScalingPolicy(least=1), Scaling("up", "0 of at least 1")),
        ([], {}, 1, ScalingPolicy(), Scaling("up", "work waits, and there is none")),
        ([Place("a", 10)], {}, 31, ScalingPolicy(most=2), Scaling("up", "work has waited for 31 s")),
        ([Place("a", 10, 9)], {}, 0, ScalingPolicy(most=2), Scaling("up", "9 of 10 in use")),
        ([Place("a", 10, 8)], {}, 0, ScalingPolicy(most=2), None),
        ([Place("a", 10, 9)], {}, 99, ScalingPolicy(most=1), None),
        ([Place("a", 10, health="dead")], {}, 0, ScalingPolicy(least=1), Scaling("up", "0 of at least 1")),
        ([Place("a", 2)], {"a": 301}, 0, ScalingPolicy(), Scaling("down", "idle for 301 s", "a")),
        ([Place("a", 2)], {"a": 301}, 0, ScalingPolicy(least=1), None),
        ([Place("a", 2)], {"a": 301}, 1, ScalingPolicy(), None),
        ([Place("a", 2), Place("b", 2, 2)], {"a": 900}, 0, ScalingPolicy(most=2), None),
        (
            [Place("a", 2, 2), Place("b", 2, 1)],
            {},
            9,
            ScalingPolicy(),
            Scaling("down", "2 of at most 1", "b"),
        ),
        ([Place("a", 2, 2, draining=True)], {}, 99, ScalingPolicy(least=1), None),
        ([Place("a", 2, draining=True)], {}, 99, ScalingPolicy(least=1), None),
        (
            [Place("a", 2, draining=True)],
            {},
            0,
            ScalingPolicy(least=1, most=2),
            Scaling("up", "0 of at least 1"),
        ),
        ([Place("a", 2, draining=True), Place("b", 2)], {"a": 900}, 0, ScalingPolicy(least=1, most=2), None),
        ([Place("a", 2, 2, draining=True), Place("b", 2, 2)], {}, 99, ScalingPolicy(), None),
    ],
)
def test_places_come_and_go_one_at_a_time(places, idle, waited, policy, wanted):
    assert scaling(places, idle, waited, policy) == wanted


@given(any_places(), st.integers(0, 3), st.integers(0, 6), st.floats(0, 100))
def test_it_never_goes_up_and_down_for_one_state(places, least, more, waited):
    policy = ScalingPolicy(least, least + more)
    idle = {place.id: 1_000.0 for place in places}
    found = scaling(places, idle, waited, policy)
    if found is None:
        return
    ours = [place for place in places if place.health != "dead" and not place.draining]
    if found.change == "up":
        assert len(ours) < policy.most
        return
    left = [place for place in ours if place.id != found.place]
    assert len(left) == len(ours) - 1 >= policy.least
    again = scaling(left, {}, waited, policy)
    assert again is None or (again.change == "down" and len(left) > policy.most)
