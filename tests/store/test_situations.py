"""Where a budget is going, from rows: the projection of a swarm and of the project, and what can be done."""

import pytest

from dashd.domain import dollars, outlook
from dashd.store import budgets, seats, situations, swarms, thresholds
from dashd.store.budgets import PROJECT
from tests.fakes.scene import SWARM

OTHER = "bbbbbb"


def spend(scene, budget_id: str, nusd: int) -> None:
    scene.do(
        lambda tx: budgets.settle(
            tx, budget_id, held_nusd=0, held_tokens=0, cost_nusd=nusd, tokens=0, confirmed=True
        )
    )


def projected(scene, budget_id: str) -> int | None:
    return situations.projected(scene.db, budgets.get(scene.db, budget_id), scene.clock.now_ms())


def half_done(scene, swarm_id: str) -> None:
    """Three of six tasks have cost 100 each."""
    scene.swarm(*"abcdef", swarm_id=swarm_id)
    scene.do(lambda tx: tx.execute(
        "UPDATE task SET state = 'completed', started_at_ms = 1, ended_at_ms = 2"
        " WHERE swarm_id = ? AND number <= 3",
        (swarm_id,),
    ))  # fmt: skip
    for number in (1, 2, 3):
        scene.do(lambda tx, number=number: tx.execute(
            "INSERT INTO hold (budget_id, swarm_id, task_id, model, provider, state, held_nusd, held_tokens,"
            " cost_nusd, tokens, basis, confirmed, price_date, started_at_ms, settled_at_ms)"
            " VALUES (?, ?, ?, 'm', 'p', 'settled', 0, 0, 100, 1, 'usage', 1, '', 1, 2)",
            (swarm_id, swarm_id, f"{swarm_id}-t{number}"),
        ))  # fmt: skip
    spend(scene, swarm_id, 300)


def test_a_swarm_is_projected_by_its_tasks_and_its_agents_are_not(scene) -> None:
    half_done(scene, SWARM)
    total = projected(scene, SWARM)
    assert total is not None
    assert 450 <= total <= 900
    assert projected(scene, f"{SWARM}-001") is None


def test_the_project_adds_what_its_open_swarms_will_need(scene) -> None:
    half_done(scene, SWARM)
    half_done(scene, OTHER)
    spend(scene, PROJECT, 50)
    both, one = projected(scene, PROJECT), projected(scene, SWARM)
    assert both == 650 + 2 * (one - 300)
    scene.do(lambda tx: tx.execute("UPDATE swarm SET state = 'destroyed' WHERE id = ?", (OTHER,)))
    assert projected(scene, PROJECT) == 650 + one - 300
    scene.swarm("x", swarm_id="cccccc")
    assert projected(scene, PROJECT) is None


def options(scene, node: str) -> list[str]:
    return situations.options(scene.db, budgets.get(scene.db, node), scene.clock.now_ms())


def spending(scene) -> None:
    """Three of six tasks have ended, and half of a limit that will not do was spent lately."""
    half_done(scene, SWARM)
    scene.do(lambda tx: budgets.set_limits(tx, SWARM, 400, None))
    scene.do(lambda tx: tx.execute("UPDATE hold SET settled_at_ms = ?", (tx.now_ms,)))


def outlook_of(scene):
    return outlook.look(situations.of_swarm(scene.db, SWARM, scene.clock.now_ms()))


@pytest.mark.parametrize(
    ("stop", "why"),
    [
        (lambda tx: swarms.set_state(tx, swarms.get(tx.db, SWARM), "paused"), "it is paused"),
        (lambda tx: thresholds.stop(tx, SWARM), f"budget {SWARM} has stopped it"),
        (lambda tx: thresholds.stop(tx, PROJECT), "budget project has stopped it"),
        (lambda tx: budgets.set_frozen(tx, PROJECT, "overrun"), "budget project: frozen: overrun"),
    ],
)
def test_the_forecast_of_what_is_stopped_says_so_and_stands_still(scene, stop, why) -> None:
    spending(scene)
    assert outlook_of(scene).text.startswith("at this rate you pass the limit in ")
    scene.do(stop)
    found = outlook_of(scene)
    assert found.text.startswith(why)
    assert "; all tasks together come to " in found.text
    assert "pass the limit" not in found.text
    assert found.passes_in_s is None
    scene.clock.advance(60_000)
    assert outlook_of(scene) == found


def test_where_every_agent_is_frozen_the_forecast_says_so_and_what_thaws_them(scene) -> None:
    spending(scene)
    scene.do(lambda tx: budgets.set_frozen(tx, f"{SWARM}-001", "its price is wrong"))
    scene.do(lambda tx: seats.add(tx, SWARM, 1))
    assert outlook_of(scene).text.startswith("at this rate you pass the limit in ")
    assert options(scene, SWARM) == []
    scene.do(lambda tx: budgets.set_frozen(tx, f"{SWARM}-002", "its price is wrong"))
    found = outlook_of(scene)
    said = f"no agent of it may make a call: budget {SWARM}-001: frozen: its price is wrong, and 1 more; all"
    assert found.text.startswith(said)
    assert found.passes_in_s is None
    assert not any("swarm.scale" in each or "budget.extend" in each for each in found.suggestions)
    assert [each.partition(":")[0] for each in options(scene, SWARM)] == [
        f"budget.set {SWARM}-00{n} --thaw" for n in (1, 2)
    ]
    scene.do(lambda tx: budgets.set_frozen(tx, f"{SWARM}-002", None))
    assert outlook_of(scene).text.startswith("at this rate you pass the limit in ")


def test_the_event_at_the_end_does_not_say_when_it_will_come(scene) -> None:
    spending(scene)
    scene.do(lambda tx: thresholds.stop(tx, SWARM))
    (told,) = [each["data"] for each in scene.events() if each["kind"] == "budget.threshold"]
    assert told["text"].startswith(f"budget {SWARM} has stopped it")


def test_a_limit_that_only_tells_stops_nothing(scene) -> None:
    spending(scene)
    scene.do(lambda tx: budgets.set_actions(tx, SWARM, "notify", "notify", "notify"))
    scene.do(lambda tx: thresholds.stop(tx, SWARM))
    assert outlook_of(scene).text.startswith("at this rate you pass the limit in ")


@pytest.mark.parametrize("node", [SWARM, f"{SWARM}-001"])
def test_at_the_end_one_can_extend_review_or_finish_partial(scene, node) -> None:
    scene.swarm("a")
    scene.do(lambda tx: budgets.set_limits(tx, node, 4_000_000_000, None))
    assert options(scene, node) == []
    scene.do(lambda tx: budgets.set_need(tx, node, 4_500_000_000, 10))
    extend, review, finish = options(scene, node)
    assert extend == f"budget.extend {node} 0.5: go on; it covers the next call"
    assert review == f"swarm.report {SWARM}: review what there is"
    assert finish.startswith(
        f"swarm.destroy {SWARM}: finish partial" if node == SWARM else f"agent.kill {node}"
    )


def test_what_is_projected_is_covered_where_somebody_can_tell(scene) -> None:
    half_done(scene, SWARM)
    scene.do(lambda tx: budgets.set_limits(tx, SWARM, 300, None))
    rest = projected(scene, SWARM) - 300
    (extend, *_) = options(scene, SWARM)
    _, _, sum_ = extend.partition(":")[0].partition(f"{SWARM} ")
    assert dollars.nusd(float(sum_)) >= rest
    assert extend.endswith("go on; it covers what is likely still to come")


def test_an_ended_swarm_offers_its_report_alone(scene) -> None:
    half_done(scene, SWARM)
    scene.do(lambda tx: budgets.set_limits(tx, SWARM, 300, None))
    scene.do(lambda tx: tx.execute("UPDATE swarm SET state = 'destroyed' WHERE id = ?", (SWARM,)))
    assert options(scene, SWARM) == [f"swarm.report {SWARM}: review what there is"]
    assert options(scene, f"{SWARM}-001") == [f"swarm.report {SWARM}: review what there is"]


def test_an_end_that_nobody_remembers_the_call_of_can_be_extended(scene) -> None:
    """As before there was a column for it."""
    scene.swarm("a")
    scene.do(lambda tx: budgets.set_limits(tx, SWARM, 100, None))
    scene.do(lambda tx: budgets.set_reached(tx, SWARM, 100))
    assert options(scene, SWARM)[0].startswith(f"budget.extend {SWARM} 0.000000001: go on")
