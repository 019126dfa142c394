"""Where work goes: tables of places, and what no choice may do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain.placement import (
    Demand,
    Place,
    Placed,
    Turns,
    Unplaced,
    choose,
    dotted,
    health_after,
    misfit,
    parsed,
)

HEALTHS = st.sampled_from(["alive", "dead", "unknown"])
WORDS = st.frozensets(st.sampled_from(["browser", "gpu", "node"]))
REGIONS = st.sampled_from([None, "eu", "us"])


@st.composite
def any_places(draw):
    ids = draw(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8))
    places = []
    for each in ids:
        capacity = draw(st.integers(1, 30))
        places.append(
            Place(
                each,
                capacity,
                draw(st.integers(0, capacity)),
                draw(HEALTHS),
                draw(st.booleans()),
                draw(WORDS),
                draw(REGIONS),
                draw(st.tuples(st.integers(0, 3), st.integers(0, 3))),
            )
        )
    return places


DEMANDS = st.builds(
    Demand,
    capabilities=WORDS,
    region=REGIONS,
    version_min=st.sampled_from([(), (1,), (2, 1)]),
    swarm=st.sampled_from([None, "s1"]),
    session=st.sampled_from([None, "c1"]),
)


def test_the_least_loaded_of_those_that_fit_takes_it():
    places = [Place("a", 10, 5), Place("b", 4, 1), Place("c", 10, 0, draining=True)]
    assert choose(places, Demand(), Turns()) == Placed("b", "least-loaded")


def test_a_swarm_stays_together_until_its_place_is_full():
    turns = Turns()
    turns.placed(Demand(swarm="s1"), Placed("a", "least-loaded"))
    assert choose([Place("a", 10, 9), Place("b", 10)], Demand(swarm="s1"), turns) == Placed("a", "swarm")
    assert choose([Place("a", 20, 19), Place("b", 10)], Demand(swarm="s1"), turns) == Placed(
        "b", "least-loaded"
    )
    assert choose([Place("a", 10, 9), Place("b", 10)], Demand(swarm="s2"), turns).place == "b"


def test_a_session_goes_home_before_its_swarm_does():
    turns = Turns()
    turns.placed(Demand(swarm="s1", session="c1"), Placed("a", "least-loaded"))
    turns.placed(Demand(swarm="s1"), Placed("b", "least-loaded"))
    places = [Place("a", 10, 5), Place("b", 10)]
    assert choose(places, Demand(swarm="s1", session="c1"), turns) == Placed("a", "session")
    assert choose(places, Demand(swarm="s1", session="c2"), turns) == Placed("b", "swarm")


def test_round_robin_takes_turns_and_passes_over_the_full():
    places = [Place("a", 2), Place("b", 1, 1), Place("c", 2)]
    turns, taken = Turns(), []
    for _ in range(4):
        placed = choose(places, Demand(), turns, "round-robin")
        turns.placed(Demand(), placed)
        taken.append(placed.place)
    assert taken == ["a", "c", "a", "c"]


def test_other_work_takes_nobody_s_turn():
    places = [Place(each, 100) for each in "abc"]
    turns, taken = Turns(), []
    for _ in range(6):
        for each, policy in ((Demand(swarm="s"), "least-loaded"), (Demand(turn="t"), "round-robin")):
            placed = choose(places, each, turns, policy)
            turns.placed(each, placed)
            taken += [placed.place] if policy == "round-robin" else []
        other = Demand(turn="other")
        turns.placed(other, choose(places, other, turns, "round-robin"))
        session = Demand(turn="t", session="c1")
        turns.placed(session, Placed("a", "session"))
    assert taken == ["a", "b", "c", "a", "b", "c"]


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (Place("a", 1, health="dead"), "dead"),
        (Place("a", 1, health="unknown"), "unknown"),
        (Place("a", 1, draining=True), "draining"),
        (Place("a", 1), "without browser, gpu"),
        (Place("a", 1, capabilities=frozenset({"gpu", "browser"})), "in region unnamed"),
        (
            Place("a", 1, capabilities=frozenset({"gpu", "browser"}), region="eu", version=(2026, 8)),
            "of version 2026.8",
        ),
    ],
)
def test_what_does_not_fit_says_why(place, why):
    demand = Demand(frozenset({"gpu", "browser"}), "eu", (2026, 9))
    assert misfit(place, demand) == why
    assert choose([place], demand, Turns()) == Unplaced("unfit", f"a is {why}")


def test_nowhere_to_go_is_told_apart_from_no_room():
    assert choose([], Demand(), Turns()) == Unplaced("unfit", "there is none")
    full = choose([Place("a", 20, 19), Place("b", 10, 10)], Demand(), Turns())
    assert full == Unplaced("saturated", "29 of 30 runs in use, and above 90% none takes more")
    own = choose([Place("local", 4, 4, pressure=1)], Demand(), Turns())
    assert own == Unplaced("saturated", "4 of 4 runs in use")
    many = choose([Place(each, 1, health="dead") for each in "abcde"], Demand(), Turns())
    assert many.reason == "a is dead; b is dead; c is dead, and 2 more"


@given(any_places(), DEMANDS, st.sampled_from(["least-loaded", "round-robin"]), st.data())
def test_a_choice_always_fits_has_room_and_is_only_refused_where_none_does(places, demand, policy, data):
    turns = Turns()
    if places and data.draw(st.booleans()):
        turns.placed(demand, Placed(data.draw(st.sampled_from(places)).id, "round-robin"))
    found = choose(places, demand, turns, policy)
    fitting = [place for place in places if misfit(place, demand) is None]
    open_ = {place.id for place in fitting if place.has_room}
    if isinstance(found, Placed):
        assert found.place in open_
    else:
        assert not open_
        assert found.kind == ("saturated" if fitting else "unfit")


@given(any_places(), DEMANDS)
def test_the_order_of_the_list_changes_nothing(places, demand):
    found = choose(places, demand, Turns())
    other = choose(places[::-1], demand, Turns())
    assert found == other or found.kind == other.kind == "unfit"


def test_one_silence_is_unknown_and_two_are_death():
    assert [health_after(failures) for failures in range(4)] == ["alive", "unknown", "dead", "dead"]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("2026.9.6", (2026, 9, 6)), ("v1.2", (1, 2)), ("1.2-beta.3", (1, 2)), ("", ()), ("beta", ())],
)
def test_versions_are_the_numbers_they_begin_with(text, numbers):
    assert parsed(text) == numbers


def test_an_unknown_version_says_so():
    assert dotted(()) == "unknown"
