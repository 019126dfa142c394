"""What a seat gets, and what becomes of it when its swarm grows, is extended, or loses it."""

import msgspec
import pytest

from dashd.store import agents, allotments, budgets, seats, swarms
from dashd.store.allotments import Terms
from tests.fakes.scene import SWARM, swarm_row


def make(scene, terms: Terms, count: int = 2) -> None:
    def operation(tx) -> None:
        swarms.insert(tx, swarm_row())
        allotments.open_swarm(tx, SWARM, terms)
        seats.add(tx, SWARM, count, names=terms.names, caps=terms.own)

    scene.do(operation)


def shares(scene) -> list[tuple[int | None, int | None]]:
    """(limit, allotment) of every seat."""
    return [(row.limit_nusd, row.allotment_nusd) for row in budgets.children(scene.db, SWARM)]


@pytest.mark.parametrize(
    ("terms", "each"),
    [
        (Terms(), (None, None)),
        (Terms(100, 0, "allotment", 50), (None, 50)),
        (Terms(100, 0, "cap", 30), (30, None)),
        (Terms(100, 20, "even", 40), (40, None)),
    ],
)
def test_a_seat_gets_what_its_swarms_rule_says(scene, terms, each) -> None:
    make(scene, terms)
    assert shares(scene) == [each, each]
    row = budgets.get(scene.db, SWARM)
    assert (row.limit_nusd, row.reserve_nusd) == (terms.limit, terms.reserve)


def test_names_and_caps_of_their_own(scene) -> None:
    make(scene, Terms(100, 0, "allotment", 50, ("", "b"), {2: 7}))
    assert shares(scene) == [(None, 50), (7, None)]
    assert [scene.agent(number).name for number in (1, 2)] == ["agent-1", "b"]


def test_a_child_gets_a_part_of_what_its_parent_has_left(scene) -> None:
    make(scene, Terms(100, 0, "cap", 40))
    child = msgspec.structs.replace(scene.agent(), id=f"{SWARM}-001.1", parent_id=f"{SWARM}-001", number=9)

    def operation(tx) -> None:
        agents.insert(tx, child)
        allotments.open_seat(tx, child)

    scene.do(operation)
    assert budgets.get(scene.db, child.id).limit_nusd == 12
    assert [row.id for row in budgets.path(scene.db, child.id)][1:3] == [f"{SWARM}-001", SWARM]


def test_a_seat_of_a_swarm_from_before_budgets_gets_its_node(scene) -> None:
    scene.swarm("a")
    assert budgets.get(scene.db, SWARM).kind == "swarm"
    assert shares(scene) == [(None, None)]


def test_an_ended_seat_shares_no_more_until_it_is_reopened(scene) -> None:
    make(scene, Terms(100))
    scene.do(lambda tx: seats.end(tx, scene.agent()))
    assert budgets.live_count(scene.db, SWARM) == 1
    scene.do(lambda tx: seats.reopen(tx, scene.agent()))
    assert budgets.live_count(scene.db, SWARM) == 2


@pytest.mark.parametrize("rule", ["allotment", "even", "cap"])
def test_growing_frees_what_was_kept_back(scene, rule) -> None:
    make(scene, Terms(100, 60, rule, 20))
    assert scene.do(lambda tx: allotments.grow(tx, SWARM, 2)) == 40
    assert budgets.get(scene.db, SWARM).reserve_nusd == 20
    assert scene.do(lambda tx: allotments.grow(tx, SWARM, 9)) == 20
    assert scene.do(lambda tx: allotments.grow(tx, SWARM, 9)) == 0


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        ("even", [(50, None), (50, None)], [(60, None), (60, None)]),
        ("allotment", [(None, 50), (None, 50)], [(None, 60), (None, 60)]),
        ("cap", [(50, None), (50, None)], [(50, None), (50, None)]),
    ],
)
def test_shares_follow_a_raised_limit(scene, rule, before, after) -> None:
    make(scene, Terms(100, 0, rule, 50))
    assert shares(scene) == before
    row = budgets.get(scene.db, SWARM)
    raised = scene.do(lambda tx: allotments.follow(tx, row, msgspec.structs.replace(row, limit_nusd=120)))
    assert shares(scene) == after
    assert len(raised) == (2 if rule == "even" else 0)
    assert scene.do(lambda tx: allotments.follow(tx, row, row)) == []


def test_the_tightest_node_counts(scene) -> None:
    make(scene, Terms(100, 0, "cap", 70))
    seat = f"{SWARM}-001"
    assert allotments.tightest(scene.db, seat)[1] == 70
    scene.do(lambda tx: budgets.set_limits(tx, "project", 60, None))
    assert (allotments.tightest(scene.db, seat)[0].id, allotments.least_left(scene.db, seat)) == (
        "project",
        60,
    )
    for name in (seat, SWARM, "project"):
        scene.do(lambda tx, name=name: budgets.set_limits(tx, name, None, None))
    assert allotments.least_left(scene.db, seat) is None
