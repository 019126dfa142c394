"""What follows when a share of a limit is spent, and what goes on when the limit is raised."""

import pytest

from dashd.domain.prices import Price
from dashd.store import agents, budgets, seats, stops, swarms, thresholds
from tests.fakes.scene import SWARM
from tests.store.test_holds import settled

SEAT = f"{SWARM}-001"


def spend(scene, nusd: int, tokens: int = 0) -> None:
    def operation(tx) -> None:
        budgets.settle(tx, SEAT, held_nusd=0, held_tokens=0, cost_nusd=nusd, tokens=tokens, confirmed=True)
        thresholds.look(tx, SEAT)

    scene.do(operation)


def limit(scene, nusd: int | None, tokens: int | None = None, node: str = SWARM) -> None:
    scene.do(lambda tx: budgets.set_limits(tx, node, nusd, tokens))


def lift(scene, node: str = SWARM) -> int:
    return scene.do(lambda tx: thresholds.lift(tx, budgets.get(tx.db, node)))


def told(scene) -> list[tuple[str, int]]:
    return [
        (event["data"]["budget"], event["data"]["threshold"])
        for event in scene.events()
        if event["kind"] == "budget.threshold"
    ]


def test_each_threshold_is_told_once_and_the_last_one_pauses(scene) -> None:
    scene.swarm("a")
    limit(scene, 100)
    for _ in range(20):
        spend(scene, 5)
    assert told(scene) == [(SWARM, 75), (SWARM, 90), (SWARM, 100)]
    assert swarms.get(scene.db, SWARM).state == "paused"
    assert thresholds.stopped_by(scene.db, SWARM).id == SWARM


def test_tokens_count_as_dollars_do(scene) -> None:
    scene.swarm("a")
    limit(scene, 100, 1_000)
    spend(scene, 1, 950)
    assert told(scene) == [(SWARM, 90)]


def test_what_is_kept_back_is_not_there(scene) -> None:
    scene.swarm("a")
    limit(scene, 100)
    scene.do(lambda tx: budgets.set_share(tx, SWARM, allotment=None, reserve=60, rule=None, seat=None))
    spend(scene, 40)
    assert told(scene) == [(SWARM, 100)]


def test_a_raised_limit_lets_go_on_what_it_had_stopped(scene) -> None:
    scene.swarm("a")
    limit(scene, 100)
    spend(scene, 99)
    scene.do(lambda tx: thresholds.stop(tx, SWARM))
    assert (told(scene), swarms.get(scene.db, SWARM).state) == ([(SWARM, 90), (SWARM, 100)], "paused")
    limit(scene, 200)
    assert lift(scene) == 1
    row = budgets.get(scene.db, SWARM)
    assert (swarms.get(scene.db, SWARM).state, row.reached, row.paused_by) == ("active", 0, None)
    assert lift(scene) == 0


def test_what_stays_kept_out_by_the_other_limit_does_not_go_on(scene) -> None:
    scene.swarm("a")
    limit(scene, 100, 1_000)
    spend(scene, 50, 940)
    scene.do(lambda tx: budgets.set_need(tx, SWARM, 10, 80))
    scene.do(lambda tx: thresholds.stop(tx, SWARM))
    limit(scene, None, 1_000)
    assert lift(scene) == 0
    assert thresholds.stopped_by(scene.db, SWARM).id == SWARM
    limit(scene, None, 1_020)
    assert lift(scene) == 1
    assert swarms.get(scene.db, SWARM).state == "active"


def test_a_frozen_budget_lifts_nothing_until_it_is_thawed(scene) -> None:
    scene.swarm("a")
    limit(scene, 100)
    spend(scene, 100)
    scene.do(lambda tx: budgets.set_frozen(tx, SWARM, "its price is wrong"))
    limit(scene, 200)
    assert lift(scene) == 0
    scene.do(lambda tx: budgets.set_frozen(tx, SWARM, None))
    assert lift(scene) == 1


def test_a_budget_that_keeps_nothing_out_is_released_and_counts_when_it_ends_again(scene) -> None:
    scene.swarm("a")
    limit(scene, 100)
    spend(scene, 50)
    scene.do(lambda tx: budgets.set_need(tx, SWARM, 60, 1))
    scene.do(lambda tx: thresholds.stop(tx, SWARM))
    scene.do(lambda tx: thresholds.release(tx, SWARM))
    assert thresholds.stopped_by(scene.db, SWARM).id == SWARM
    scene.do(lambda tx: budgets.set_need(tx, SWARM, None, None))
    assert thresholds.stopped_by(scene.db, SWARM) is None
    scene.do(lambda tx: thresholds.release(tx, SWARM))
    row = budgets.get(scene.db, SWARM)
    assert (swarms.get(scene.db, SWARM).state, row.reached, row.paused_by) == ("active", 0, None)
    scene.do(lambda tx: thresholds.stop(tx, SWARM))
    assert swarms.get(scene.db, SWARM).state == "paused"


def test_a_pause_by_hand_is_not_lifted_by_money(scene) -> None:
    scene.swarm("a")
    limit(scene, 100)
    scene.do(lambda tx: swarms.set_state(tx, swarms.get(tx.db, SWARM), "paused"))
    spend(scene, 100)
    limit(scene, 200)
    assert lift(scene) == 0
    assert swarms.get(scene.db, SWARM).state == "paused"


def test_two_budgets_that_stop_a_swarm_must_both_be_raised(scene) -> None:
    scene.swarm("a")
    limit(scene, 100)
    limit(scene, 100, node="project")
    spend(scene, 100)
    limit(scene, 200)
    assert lift(scene) == 0
    assert thresholds.stopped_by(scene.db, SWARM).id == "project"
    limit(scene, 200, node="project")
    assert lift(scene, "project") == 1
    assert swarms.get(scene.db, SWARM).state == "active"


def test_a_spent_agent_alone_is_paused(scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    limit(scene, 50, node=SEAT)
    spend(scene, 50)
    assert [agents.get(scene.db, f"{SWARM}-00{n}").wanted for n in (1, 2)] == ["pause", "run"]
    assert swarms.get(scene.db, SWARM).state == "active"
    limit(scene, 80, node=SEAT)
    assert lift(scene, SEAT) == 1
    assert agents.get(scene.db, SEAT).wanted == "run"


@pytest.mark.parametrize("node", [SWARM, SEAT])
def test_kill_ends_what_the_budget_belongs_to(scene, node) -> None:
    scene.swarm("a")
    limit(scene, 10, node=node)
    scene.do(lambda tx: budgets.set_actions(tx, node, "none", "none", "kill"))
    spend(scene, 10)
    assert scene.agent().state == "killed"
    cause = f"ended by budget {node}: nothing is left of $0.00000001"
    alone = f"agent {SEAT} was the last: {cause}"
    assert (scene.agent().cause, scene.task().cause) == (cause, cause if node == SWARM else alone)
    (event,) = (each for each in scene.events() if each["kind"] == "agent.killed")
    assert event["data"] == {"cause": cause}


@pytest.mark.parametrize(("mark", "node"), [(75, SWARM), (100, SWARM), (100, "project"), (100, SEAT)])
def test_an_event_that_kills_offers_nothing_that_would_let_it_go_on(scene, mark, node) -> None:
    scene.swarm("a")
    limit(scene, 1_000, node=node)
    scene.do(lambda tx: budgets.set_actions(tx, node, "none", "none", "none"))
    scene.do(lambda tx: tx.execute(f"UPDATE budget SET action_{mark} = 'kill' WHERE id = ?", (node,)))
    settled(scene, mark * 10, model="big")
    models = [(name, Price(each, each, each, each, 0, "", "config")) for name, each in (("big", 4), ("s", 1))]
    scene.do(lambda tx: thresholds.look(tx, SEAT, models=models))
    told = next(each["data"] for each in scene.events() if each["kind"] == "budget.threshold")
    assert (told["action"], told.get("suggestions", [])) == ("kill", [])
    review = [f"swarm.report {SWARM}: review what there is"] if node != "project" else []
    assert told.get("options") == (review if mark == 100 else None)


@pytest.mark.parametrize("node", ["project", SWARM, SEAT])
def test_what_runs_when_its_budget_kills_it_ends_with_the_cause(scene, node) -> None:
    scene.swarm("a", "b", "c", agents_made=2)
    limit(scene, 10, node=node)
    scene.do(lambda tx: budgets.set_actions(tx, node, "none", "none", "kill"))
    first, second = scene.claim()
    scene.start(first)
    scene.start(second)
    spend(scene, 10)
    for claim in (first, second) if node != SEAT else (first,):
        scene.end(claim, "failed", "killed by signal 9")
    cause = f"ended by budget {node}: nothing is left of $0.00000001"
    assert (scene.agent().state, scene.agent().cause, scene.task().cause) == ("killed", cause, cause)
    if node == SEAT:
        assert scene.seat_states() == ["killed", "running"]
        return
    assert scene.seat_states() == ["killed", "killed"]
    assert [scene.task(n).cause for n in (1, 2, 3)] == [cause] * 3
    assert (scene.row().state, scene.row().outcome) == ("failed", "none")


def test_a_seat_that_its_budget_killed_and_that_works_again_has_no_cause(scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    limit(scene, 10, node=SEAT)
    scene.do(lambda tx: budgets.set_actions(tx, SEAT, "none", "none", "kill"))
    spend(scene, 10)
    scene.do(lambda tx: seats.reopen(tx, scene.agent()))
    assert scene.agent().cause is None


def test_nobody_goes_on_in_the_place_of_the_last_seat_that_its_budget_has_ended(scene) -> None:
    scene.swarm("a", "b", "c", agents_made=2, strategy="pipeline")
    scene.do(lambda tx: stops.kill(tx, scene.agent(2), requeue=False))
    limit(scene, 10, node=SEAT)
    scene.do(lambda tx: budgets.set_actions(tx, SEAT, "none", "none", "kill"))
    spend(scene, 10)
    assert scene.seat_states() == ["killed", "killed"]
    assert scene.states() == ["cancelled"] * 3
    assert scene.task(2).cause == f"it needs task {SWARM}-t1, which is cancelled"
    assert (scene.row().state, scene.row().outcome) == ("failed", "none")


def test_what_is_left_of_a_swarm_says_which_budget_has_ended_its_last_seat(scene) -> None:
    scene.swarm("a", "b", "c")
    limit(scene, 10, node=SEAT)
    scene.do(lambda tx: budgets.set_actions(tx, SEAT, "none", "none", "kill"))
    scene.run("succeeded")
    (claim,) = scene.claim()
    scene.start(claim)
    spend(scene, 10)
    scene.end(claim, "failed", "killed by signal 9")
    cause = f"ended by budget {SEAT}: nothing is left of $0.00000001"
    assert [scene.task(n).cause for n in (2, 3)] == [cause, f"agent {SEAT} was the last: {cause}"]
    assert (scene.row().state, scene.row().outcome) == ("completed", "partial")


def test_a_lowered_limit_tells_nothing_and_stops_nothing(scene) -> None:
    scene.swarm("a")
    limit(scene, 100)
    spend(scene, 60)
    limit(scene, 50)
    scene.do(lambda tx: thresholds.lower(tx, budgets.get(tx.db, SWARM)))
    scene.do(lambda tx: thresholds.stop(tx, SWARM))
    spend(scene, 1)
    assert told(scene) == []
    assert swarms.get(scene.db, SWARM).state == "active"
    limit(scene, 70)
    assert lift(scene) == 0
    spend(scene, 9)
    assert told(scene) == [(SWARM, 100)]


def test_an_event_says_where_it_is_going_and_at_the_end_what_can_be_done(scene) -> None:
    scene.swarm("a")
    limit(scene, 1_000_000_000)
    spend(scene, 750_000_000)
    spend(scene, 250_000_000)
    warned, stopped = (each["data"] for each in scene.events() if each["kind"] == "budget.threshold")
    assert set(warned) == {
        "budget",
        "threshold",
        "spent",
        "allocated",
        "projected",
        "action",
        "text",
        "suggestions",
    }
    assert (warned["spent"], warned["allocated"], warned["projected"]) == (0.75, 1.0, None)
    assert stopped["text"].startswith("nothing is left of $1.00")
    assert [each.partition(":")[0].split()[0] for each in stopped["options"]] == [
        "budget.extend",
        "swarm.report",
        "swarm.destroy",
    ]


def test_a_threshold_names_a_cheaper_model_and_its_saving(scene) -> None:
    scene.swarm("a")
    limit(scene, 1_000_000_000)
    settled(scene, 750_000_000, model="big")
    models = [
        (name, Price(each, each, each, each, 0, "", "config")) for name, each in (("big", 4), ("small", 1))
    ]
    scene.do(lambda tx: thresholds.look(tx, SEAT, models=models))
    (event,) = (each for each in scene.events() if each["kind"] == "budget.threshold")
    assert event["data"]["suggestions"][0] == (
        "model small for what is left: 25% of the price of big, $0.75 so far would have been about $0.1875"
        " (agent.set_model)"
    )


def test_a_key_s_end_is_told_with_what_can_be_done(scene) -> None:
    scene.do(lambda tx: budgets.insert(tx, budgets.new("key-1", "key", "project", None, at_ms=0, limit=100)))
    scene.do(lambda tx: thresholds.stop(tx, "key-1"))
    (event,) = (each for each in scene.events() if each["kind"] == "budget.threshold")
    assert [each.split()[0] for each in event["data"]["options"]] == ["budget.extend", "key.revoke"]
