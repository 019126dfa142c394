"""Seats coming and going."""

import pytest

from dashd.store import agents, budgets, seats, stops, swarms, tasks
from tests.fakes.scene import SWARM


def test_seats_are_numbered_named_and_told(scene) -> None:
    scene.swarm("a", agents_made=1)
    since = scene.seq
    assert scene.do(lambda tx: seats.add(tx, SWARM, 2)) == [f"{SWARM}-002", f"{SWARM}-003"]
    assert scene.do(lambda tx: seats.add(tx, SWARM, 1, name="judge")) == [f"{SWARM}-004"]
    assert [event["data"]["name"] for event in scene.events(since)] == ["agent-2", "agent-3", "judge"]
    seat = scene.agent(4)
    assert (seat.state, seat.liveness, seat.wanted, seat.task_id) == ("idle", "dead", "run", None)
    assert scene.do(lambda tx: seats.add(tx, SWARM, 0)) == []


def test_a_freed_seat_waits_while_something_is_left_for_it(scene) -> None:
    scene.swarm("a", "b", agents_made=1)
    (claim,) = scene.claim()
    scene.end(claim)
    assert scene.agent().state == "idle"


def test_a_freed_seat_ends_where_all_that_is_left_runs_elsewhere(scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    first, _ = scene.claim()
    scene.end(first)
    assert scene.seat_states() == ["completed", "spawning"]


def test_a_freed_seat_above_the_swarms_size_ends(scene) -> None:
    scene.swarm("a", "b", "c", agents_made=2)
    scene.do(lambda tx: swarms.set_agents_max(tx, SWARM, 1))
    first, second = scene.claim()
    scene.end(first)
    assert scene.seat_states() == ["completed", "spawning"]
    scene.end(second)
    assert scene.seat_states() == ["completed", "idle"]


def test_a_freed_seat_that_was_to_be_killed_is(scene) -> None:
    scene.swarm("a", "b")
    (claim,) = scene.claim()
    scene.do(lambda tx: agents.set_wanted(tx, claim.agent_id, "kill"))
    scene.end(claim)
    assert scene.agent().state == "killed"


def test_an_end_unpins_what_only_this_seat_might_have_taken(scene) -> None:
    scene.swarm("a", agents_made=2)
    seat = scene.agent(2)
    scene.do(lambda tx: tasks.insert(tx, tasks.new(scene.row(), 2, "p", at_ms=0, pinned_to=seat.id)))
    since = scene.seq
    scene.do(lambda tx: seats.end(tx, seat))
    assert scene.task(2).pinned_to is None
    assert scene.kinds(since) == ["agent.completed"]


@pytest.mark.parametrize(("state", "end"), [("failed", "failed"), ("succeeded", "completed")])
def test_a_seat_ends_as_its_last_task_did(scene, state, end) -> None:
    scene.swarm("a", "b", agents_made=2, retries=0)
    first, _ = scene.claim()
    scene.end(first, state)
    assert scene.agent().state == end


def test_a_reopened_seat_takes_tasks_again(scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    scene.do(lambda tx: agents.set_wanted(tx, scene.agent().id, "kill"))
    scene.do(lambda tx: seats.end(tx, scene.agent(), killed=True))
    since = scene.seq
    scene.do(lambda tx: seats.reopen(tx, scene.agent()))
    seat = scene.agent()
    assert (seat.state, seat.wanted, seat.ended_at_ms) == ("idle", "run", None)
    assert scene.events(since)[0]["data"] == {"state": "idle"}
    assert scene.agent().id in {claim.agent_id for claim in scene.claim()}


def test_one_seat_is_made_only_where_none_is_open(scene) -> None:
    scene.swarm("a", agents_made=1)
    scene.do(lambda tx: seats.ensure_one(tx, scene.row()))
    assert agents.open_count(scene.db, SWARM) == 1
    scene.do(lambda tx: seats.end(tx, scene.agent(), killed=True))
    scene.do(lambda tx: seats.ensure_one(tx, scene.row()))
    assert scene.seat_states() == ["killed", "idle"]


def test_who_replaces_a_seat_may_spend_no_more_than_it_might(scene) -> None:
    scene.swarm("a", "b")
    (claim,) = scene.claim()

    def capped(tx) -> None:
        budgets.set_limits(tx, claim.agent_id, 40, 5_000)
        budgets.set_by_hand(tx, claim.agent_id, "operator:ann")
        budgets.set_actions(tx, claim.agent_id, "none", "notify", "kill")

    scene.do(capped)
    scene.do(lambda tx: stops.kill(tx, scene.agent(), requeue=True))
    scene.end(claim, "failed", "killed by signal 9")
    assert scene.seat_states() == ["killed", "idle"]
    row = budgets.get(scene.db, f"{SWARM}-002")
    assert (row.limit_nusd, row.limit_tokens, row.spent_nusd) == (40, 5_000, 0)
    assert (row.action_75, row.action_90, row.action_100) == ("none", "notify", "kill")
    assert row.set_by == "operator:ann"
    (change,) = [each for each in budgets.changes(scene.db, row.id, 10) if each.kind == "set"]
    assert (change.to_nusd, change.why) == (40, f"it replaces {SWARM}-001")


@pytest.mark.parametrize(("before", "after"), [(None, 30), (20, 20), (50, 30)])
def test_a_replacement_keeps_its_swarms_cap_where_that_is_tighter(scene, before, after) -> None:
    scene.swarm("a", "b")
    scene.do(lambda tx: budgets.set_share(tx, SWARM, allotment=None, reserve=0, rule="cap", seat=30))
    (claim,) = scene.claim()
    scene.do(lambda tx: budgets.set_limits(tx, claim.agent_id, before, None))
    scene.do(lambda tx: stops.kill(tx, scene.agent(), requeue=True))
    scene.end(claim, "failed", "killed by signal 9")
    assert budgets.get(scene.db, f"{SWARM}-002").limit_nusd == after


def test_by_hand_the_seat_that_its_budget_has_ended_works_again_and_no_other(scene) -> None:
    scene.swarm("a", "b", agents_made=1)
    seat = scene.agent()
    scene.do(lambda tx: stops.kill(tx, seat, requeue=False, cause=f"ended by budget {seat.id}"))
    scene.do(lambda tx: seats.ensure_one(tx, scene.row()))
    assert scene.seat_states() == ["idle"]
