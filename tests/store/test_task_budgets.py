"""A task's own budget: what counts on it, whom it pauses, and that the seat goes on with the next task."""

import pytest

from dashd.store import agents, budgets, holds, limits, stops, task_budgets, tasks, thresholds
from dashd.store.holds import Settlement
from dashd.wire import errors
from tests.fakes.scene import SWARM
from tests.store.test_holds import opened, settled

TASK, SEAT = f"{SWARM}-t1", f"{SWARM}-001"


def ensure(scene, budget_id: str = TASK):
    return scene.do(lambda tx: task_budgets.ensure(tx, budget_id))


def limited(scene, nusd: int, action: str = "pause") -> None:
    def operation(tx) -> None:
        row = task_budgets.ensure(tx, TASK)
        budgets.set_limits(tx, TASK, nusd, None)
        budgets.set_actions(tx, TASK, "notify", "notify", action)
        limits.follow(tx, row)

    scene.do(operation)


def spend(scene, nusd: int, agent: str = SEAT, task: str = TASK) -> None:
    settled(scene, nusd, budget_id=agent, agent_id=agent, task_id=task)
    scene.do(lambda tx: thresholds.look(tx, agent, task))


def figures(scene, budget_id: str = TASK) -> tuple[int, ...]:
    row = budgets.get(scene.db, budget_id)
    return row.held_nusd, row.spent_nusd, row.held_tokens, row.spent_tokens


def wanted(scene, agent: str = SEAT) -> str:
    return agents.get(scene.db, agent).wanted


def test_a_task_has_no_node_until_it_is_limited_and_then_one(scene) -> None:
    scene.swarm("a")
    assert task_budgets.beside(scene.db, TASK) == task_budgets.beside(scene.db, None) == []
    with pytest.raises(errors.NotFound) as unknown:
        budgets.get(scene.db, TASK)
    assert "budget.set gives it a limit" in unknown.value.hint
    first = ensure(scene)
    assert (first.kind, first.parent_id, first.swarm_id) == ("task", SWARM, SWARM)
    assert ensure(scene) == first
    assert [row.id for row in task_budgets.beside(scene.db, TASK)] == [TASK]
    assert ensure(scene, SWARM).kind == "swarm"
    with pytest.raises(errors.NotFound):
        ensure(scene, f"{SWARM}-t99")


def test_what_the_task_has_held_and_spent_before_counts(scene) -> None:
    scene.swarm("a", "b")
    settled(scene, 40)
    lost = opened(scene)
    scene.do(lambda tx: holds.settle(tx, lost, Settlement(130, 10, "crash")))
    under_way = opened(scene)
    settled(scene, 7, task_id=f"{SWARM}-t2")
    row = ensure(scene)
    assert figures(scene) == (100, 170, 10, 15)
    assert (row.unconfirmed_nusd, row.overrun_nusd) == (130, 30)
    scene.do(lambda tx: holds.settle(tx, under_way, Settlement(60, 6, "usage")))
    assert figures(scene) == (0, 230, 0, 21)
    assert figures(scene, SEAT) == (0, 237, 0, 26)


def test_a_call_counts_on_the_task_and_once_on_each_node_of_the_seat(scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    ensure(scene)
    settled(scene, 50)
    settled(scene, 5, task_id=f"{SWARM}-t2")
    settled(scene, 3, budget_id=f"{SWARM}-002", agent_id=f"{SWARM}-002")  # it was given to another seat
    assert figures(scene)[1] == 53
    assert [figures(scene, node)[1] for node in (SEAT, f"{SWARM}-002", SWARM, "project")] == [55, 3, 58, 58]


def test_at_its_end_the_seat_that_works_on_it_is_paused_and_goes_on_when_it_is_extended(scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    scene.claim()
    limited(scene, 100)
    spend(scene, 95)
    spend(scene, 5)
    told = [each for each in scene.events() if each["kind"] == "budget.threshold"]
    assert [(each["task"], each["data"]["threshold"]) for each in told] == [(TASK, 90), (TASK, 100)]
    assert f"task.cancel {TASK}: finish without this task" in told[-1]["data"]["options"]
    assert [wanted(scene, f"{SWARM}-00{number}") for number in (1, 2)] == ["pause", "run"]
    assert scene.row().state == "active"
    assert thresholds.stopped_by(scene.db, SEAT).id == TASK
    row = budgets.get(scene.db, TASK)
    assert scene.do(lambda tx: limits.extend(tx, row, limits.More(nusd=100), "")) == 1
    assert wanted(scene) == "run"
    extended = [each for each in scene.events() if each["kind"] == "budget.extended"]
    assert extended[0]["task"] == TASK


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
def test_a_seat_that_leaves_the_task_takes_the_next_one(scene, ending) -> None:
    scene.swarm("a", "b", retries=0)
    (claim,) = scene.claim()
    limited(scene, 100)
    spend(scene, 100)
    assert wanted(scene) == "pause"
    if ending == "cancelled":
        scene.do(lambda tx: stops.cancel(tx, tasks.get(tx.db, TASK), "asked"))
    scene.end(claim, ending)
    assert wanted(scene) == "run"
    assert thresholds.stopped_by(scene.db, SEAT) is None
    assert [each.task_id for each in scene.claim()] == [f"{SWARM}-t2"]


def test_a_seat_that_its_own_budget_stops_too_stays_stopped(scene) -> None:
    scene.swarm("a", "b", retries=0)
    (claim,) = scene.claim()
    limited(scene, 100)
    scene.do(lambda tx: budgets.set_limits(tx, SEAT, 100, None))
    spend(scene, 100)
    scene.end(claim, "failed")
    assert wanted(scene) == "pause"
    assert thresholds.stopped_by(scene.db, SEAT).id == SEAT


def test_whoever_takes_a_spent_task_next_is_paused_at_its_first_call(scene) -> None:
    scene.swarm("a", agents_made=2)
    (claim,) = scene.claim()
    limited(scene, 100)
    spend(scene, 100)
    scene.do(lambda tx: agents.set_wanted(tx, SEAT, "kill"))
    scene.end(claim, "failed")
    scene.clock.advance(60_000)
    (again,) = scene.claim()
    scene.do(lambda tx: thresholds.stop(tx, TASK))
    assert wanted(scene, again.agent_id) == "pause"
    told = [each for each in scene.events() if each["kind"] == "budget.threshold"]
    assert len([each for each in told if each["data"]["threshold"] == 100]) == 1


def test_a_limit_below_what_is_spent_pauses_nobody(scene) -> None:
    scene.swarm("a")
    scene.claim()
    spend(scene, 100)
    limited(scene, 50)
    scene.do(lambda tx: budgets.change(tx, TASK, "set", None, 50))
    scene.do(lambda tx: thresholds.stop(tx, TASK))
    assert wanted(scene) == "run"


def test_kill_ends_the_task_alone(scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    claims = scene.claim()
    limited(scene, 100, "kill")
    spend(scene, 100)
    assert scene.attempt(claims[0]).stop == "cancel"
    assert scene.attempt(claims[1]).stop is None
    assert wanted(scene) == "run"
