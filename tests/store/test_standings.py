"""How budgets stand to the next call, from rows: the own limits first, then those above."""

from dashd.store import agents, budgets, standings, swarms
from tests.fakes.scene import SWARM

SEAT = f"{SWARM}-001"


def test_the_own_limit_is_told_before_one_above_which_is_named(scene) -> None:
    scene.swarm("a")
    assert standings.text(scene.db, SEAT) == ""
    scene.do(lambda tx: budgets.set_limits(tx, SWARM, 0, None))
    assert standings.text(scene.db, SEAT) == f"budget {SWARM}: nothing is left of $0.00"
    assert standings.text(scene.db, SWARM) == "nothing is left of $0.00"
    scene.do(lambda tx: budgets.set_frozen(tx, SEAT, "its price is wrong"))
    assert standings.text(scene.db, SEAT) == "frozen: its price is wrong"
    assert standings.blocked(scene.db, SEAT)[0].id == SEAT


def test_it_is_over_with_its_swarm_or_its_agent(scene) -> None:
    scene.swarm("a")
    assert not any(
        standings.is_over(scene.db, budgets.get(scene.db, node)) for node in ("project", SWARM, SEAT)
    )
    scene.do(lambda tx: budgets.set_ended(tx, SEAT, ended=True))
    assert standings.is_over(scene.db, budgets.get(scene.db, SEAT))
    scene.do(lambda tx: tx.execute("UPDATE swarm SET state = 'failed' WHERE id = ?", (SWARM,)))
    assert standings.is_over(scene.db, budgets.get(scene.db, SWARM))


def test_at_work_is_who_runs_under_a_node_and_is_not_paused(scene) -> None:
    scene.swarm("a", "b", agents_made=3)
    for claim in scene.claim():
        scene.start(claim)
    seats = [f"{SWARM}-00{n}" for n in (1, 2)]  # the third has nothing to do
    assert standings.at_work(scene.db, "project") == standings.at_work(scene.db, SWARM) == seats
    assert standings.at_work(scene.db, seats[1]) == seats[1:]
    scene.do(lambda tx: agents.set_wanted(tx, SEAT, "pause"))
    assert standings.at_work(scene.db, SWARM) == seats[1:]
    scene.do(lambda tx: swarms.set_state(tx, scene.row(), "paused"))
    assert standings.at_work(scene.db, "project") == []
