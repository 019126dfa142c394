"""A limit that changes, and what follows."""

import pytest

from dashd.domain.budget import LIMIT_NUSD_MAX, TOKENS_MAX
from dashd.store import budgets, limits, swarms
from dashd.store.limits import More
from dashd.wire import errors
from tests.fakes.scene import SWARM
from tests.store.test_thresholds import limit, spend


def test_extending_adds_tells_and_is_kept_in_the_history(scene):
    scene.do(lambda tx: budgets.set_limits(tx, "project", 1_000_000_000, None))
    before = budgets.get(scene.db, "project")
    assert scene.do(lambda tx: limits.extend(tx, before, limits.More(500_000_000), "more")) == 0
    assert budgets.get(scene.db, "project").limit_nusd == 1_500_000_000
    (event,) = scene.events()
    assert event["kind"] == "budget.extended"
    assert event["data"] == {"budget": "project", "from": 1.0, "to": 1.5, "why": "more"}
    assert budgets.changes(scene.db, "project", 1)[0].kind == "extended"


def test_following_a_raised_limit_tells_no_threshold(scene):
    before = budgets.get(scene.db, "project")
    scene.do(lambda tx: budgets.set_limits(tx, "project", 10, None))
    assert scene.do(lambda tx: limits.follow(tx, before)) == 0
    assert scene.kinds() == []


def test_tokens_are_added_told_and_kept_too(scene):
    scene.do(lambda tx: budgets.set_limits(tx, "project", None, 1_000))
    before = budgets.get(scene.db, "project")
    scene.do(lambda tx: limits.extend(tx, before, More(tokens=500), ""))
    row, last = budgets.get(scene.db, "project"), budgets.changes(scene.db, "project", 1)[0]
    assert (row.limit_nusd, row.limit_tokens) == (None, 1_500)
    assert (last.kind, last.from_tokens, last.to_tokens) == ("extended", 1_000, 1_500)
    assert scene.events()[0]["data"] == {
        "budget": "project", "from": None, "to": None, "why": "", "from_tokens": 1_000, "to_tokens": 1_500,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (More(nusd=2), "would come to .*; \\$10,000.00 is the most"),
        (More(tokens=TOKENS_MAX), "1,000,000,000,000 tokens is the most"),
    ],
)
def test_no_limit_comes_to_more_than_may_be_set(scene, more, said):
    scene.do(lambda tx: budgets.set_limits(tx, "project", LIMIT_NUSD_MAX - 1, 1))
    before = budgets.get(scene.db, "project")
    with pytest.raises(errors.InvalidParams, match=said):
        scene.do(lambda tx: limits.extend(tx, before, more, ""))
    assert budgets.get(scene.db, "project") == before
    fits = limits.fitting(before, More(5, TOKENS_MAX))
    assert fits == More(1, TOKENS_MAX - 1)
    scene.do(lambda tx: limits.extend(tx, before, fits, ""))
    row = budgets.get(scene.db, "project")
    assert (row.limit_nusd, row.limit_tokens) == (LIMIT_NUSD_MAX, TOKENS_MAX)


@pytest.mark.parametrize(("more", "unit"), [(More(nusd=1), "dollars"), (More(tokens=1), "tokens")])
def test_where_there_is_no_such_limit_nothing_is_added(scene, more, unit):
    with pytest.raises(errors.Conflict, match=f"no limit in {unit}"):
        limits.check(budgets.get(scene.db, "project"), more)


@pytest.mark.parametrize(("added", "state"), [(1, "paused"), (2, "active")])
def test_growing_lets_go_on_what_the_reserve_had_stopped(scene, added, state):
    scene.swarm("a")
    limit(scene, 100)
    scene.do(lambda tx: budgets.set_share(tx, SWARM, allotment=None, reserve=60, rule="allotment", seat=20))
    spend(scene, 65)
    assert swarms.get(scene.db, SWARM).state == "paused"
    assert scene.do(lambda tx: limits.grow(tx, SWARM, added)) == (state == "active")
    assert (swarms.get(scene.db, SWARM).state, budgets.get(scene.db, SWARM).reserve_nusd) == (
        state, 60 - 20 * added,
    )  # fmt: skip
    assert scene.do(lambda tx: limits.grow(tx, SWARM, 0)) == 0
