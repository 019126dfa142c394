"""Sums of settled calls: exact, and each call in one line of each list."""

from dashd.domain import fanout
from dashd.domain.prices import Usage
from dashd.store import costs, holds
from dashd.store.holds import Settlement
from tests.fakes.scene import SWARM
from tests.store.test_holds import opened, settled

DAY_MS = 86_400_000


def test_sums_by_agent_model_and_day(scene, clock) -> None:
    scene.swarm("a", "b", agents_made=2)
    settled(scene, 10)
    settled(scene, 20, agent_id=f"{SWARM}-002", model="n")
    clock.advance(DAY_MS)
    settled(scene, 5, agent_id=None)
    lost = opened(scene)
    scene.do(lambda tx: holds.settle(tx, lost, Settlement(100, 10, "crash")))
    opened(scene)  # under way: in no sum
    total = costs.total(scene.db, SWARM)
    assert (total.calls, total.nusd, total.unconfirmed_nusd) == (4, 135, 100)
    found = costs.by(scene.db, SWARM, "agent")
    assert [(row.key, row.nusd) for row in found] == [(f"{SWARM}-001", 110), (f"{SWARM}-002", 20), ("", 5)]
    assert [(row.key, row.nusd) for row in costs.by(scene.db, SWARM, "model")] == [("m", 115), ("n", 20)]
    assert [row.nusd for row in costs.by(scene.db, SWARM, "day")] == [30, 105]
    for key in ("agent", "model", "day"):
        assert sum(row.nusd for row in costs.by(scene.db, SWARM, key)) == total.nusd
    assert costs.usage(costs.total(scene.db, SWARM)) == Usage(9, 0, 0, 6)
    assert costs.since(scene.db, SWARM, clock.now_ms()) == (105, 0)
    assert costs.total(scene.db, "other").nusd == 0


def test_tasks_with_what_they_cost(scene) -> None:
    scene.swarm("a", "b", "c")
    scene.claim(1)
    settled(scene, 10)
    settled(scene, 2)
    assert costs.of_tasks(scene.db, SWARM) == [
        ("running", True, 12),
        ("ready", False, 0),
        ("ready", False, 0),
    ]


def test_waits_and_computing(scene, clock) -> None:
    scene.swarm("a", "b")
    clock.advance(4_000)
    (claim,) = scene.claim()
    scene.start(claim)
    clock.advance(1_000)
    scene.end(claim, cpu_ms=70)
    clock.advance(1_000)
    scene.claim()
    (wait,) = costs.waits(scene.db, SWARM)
    assert (wait.level, wait.tasks, wait.sum_ms, wait.longest_ms) == (2, 2, 10_000, 6_000)
    assert costs.compute_ms(scene.db, SWARM) == (70, 1_000)


def test_learned_is_what_ended_tasks_of_the_last_swarms_have_taken(scene) -> None:
    def run(swarm_id: str, driver: str, *models: str, state: str = "succeeded") -> None:
        scene.swarm("a", swarm_id=swarm_id, driver=driver, retries=0)
        (claim,) = scene.claim()
        for model in models:
            settled(scene, 10, swarm_id=swarm_id, budget_id=swarm_id, task_id=claim.task_id, model=model)
        scene.end(claim, state)

    run("aaaaaa", "embedded", "m", "m")
    run("bbbbbb", "embedded", "m", state="failed")
    run("cccccc", "embedded", "m", "n")  # two models: it says nothing of either
    run("dddddd", "pi", "m")
    run("eeeeee", "embedded")  # it called nobody
    found = costs.learned(scene.db, "embedded", "m")
    assert (found.tasks, found.calls, found.nusd) == (2, 3, 30)
    assert costs.learned(scene.db, "pi", "m").tasks == 1
    assert costs.learned(scene.db, "pi", "n") == fanout.Learned(0, 0, 0, 0, 0)


def test_what_is_learned_is_looked_for_by_index(scene) -> None:
    bindings = ("embedded", "m", costs.LEARNED_SWARMS_MAX)
    plan = [row[3] for row in scene.db.execute(f"EXPLAIN QUERY PLAN {costs._q_learned}", bindings)]
    assert any("USING INDEX hold_swarm" in step for step in plan), plan
