"""Table `agent`."""

import pytest

from dashd.store import agents
from dashd.wire import errors
from tests.fakes.scene import SWARM


def test_an_unknown_agent_is_refused_with_its_swarms_agents(scene) -> None:
    scene.swarm("a", agents_made=12)
    with pytest.raises(errors.UnknownAgent) as caught:
        agents.get(scene.db, f"{SWARM}-999")
    assert caught.value.path == "agent"
    assert f"{SWARM}-012" in caught.value.hint
    assert f"{SWARM}-002" not in caught.value.hint  # the newest ten
    with pytest.raises(errors.UnknownAgent, match="nobody") as caught:
        agents.get(scene.db, "nobody")
    assert caught.value.hint == "agent.list names all agents"


def test_a_step_off_the_machine_is_refused(scene) -> None:
    scene.swarm("a")
    with pytest.raises(errors.IllegalTransition, match="idle cannot become running"):
        scene.do(lambda tx: agents.set_state(tx, scene.agent(), "running"))
    assert scene.agent().state == "idle"


def test_an_end_has_an_instant_and_no_process(scene, clock) -> None:
    scene.swarm("a")
    scene.do(lambda tx: agents.set_state(tx, scene.agent(), "killed"))
    assert (scene.agent().ended_at_ms, scene.agent().liveness) == (clock.now_ms(), "dead")
    scene.do(lambda tx: agents.set_state(tx, scene.agent(), "idle"))
    assert scene.agent().ended_at_ms is None


def test_only_an_idle_seat_is_taken(scene) -> None:
    scene.swarm("a")
    scene.do(lambda tx: agents.take_seat(tx, scene.agent().id, f"{SWARM}-t1"))
    assert (scene.agent().state, scene.agent().task_id) == ("spawning", f"{SWARM}-t1")
    with pytest.raises(AssertionError, match="not idle"):
        scene.do(lambda tx: agents.take_seat(tx, scene.agent().id, f"{SWARM}-t1"))


def test_after_a_restart_only_those_who_worked_are_doubted(scene) -> None:
    scene.swarm("a", "b", agents_made=3)
    claim, _ = scene.claim()
    scene.start(claim)
    scene.do(agents.doubt_all)
    assert [scene.agent(n).liveness for n in (1, 2, 3)] == ["unknown", "unknown", "dead"]
    scene.do(lambda tx: agents.set_liveness(tx, claim.agent_id, "alive"))
    assert scene.agent().liveness == "alive"


def test_open_seats_and_counts(scene) -> None:
    scene.swarm("a", "b", agents_made=3)
    scene.swarm("a", swarm_id="bbbbbb", state="destroyed")
    scene.do(lambda tx: agents.set_state(tx, scene.agent(2), "killed"))
    assert [seat.number for seat in agents.open_seats(scene.db, SWARM)] == [1, 3]
    assert agents.open_count(scene.db, SWARM) == 2
    assert agents.counts(scene.db, SWARM) == {"idle": 2, "killed": 1}
    assert agents.counts(scene.db) == {"idle": 2, "killed": 1}  # the destroyed swarm's are left out


@pytest.mark.parametrize("swarm_id", [None, "bbbbbb"])
def test_pages_are_in_order_of_creation_and_meet_each_agent_once(scene, swarm_id) -> None:
    scene.swarm("a", agents_made=3)
    scene.swarm("a", swarm_id="bbbbbb", agents_made=5)
    wanted = [f"{s}-{n:03d}" for s, m in ((SWARM, 3), ("bbbbbb", 5)) for n in range(1, m + 1)]
    wanted = [each for each in wanted if swarm_id in (None, each[:6])]
    seen, after = [], 0
    while page := agents.page(scene.db, swarm_id, "[]", after, 2)[0]:
        _, after, total = agents.page(scene.db, swarm_id, "[]", after, 2)
        assert total == len(wanted)
        seen += [row.id for row in page]
    assert seen == wanted


def test_a_page_of_some_states(scene) -> None:
    scene.swarm("a", agents_made=3)
    scene.claim()
    rows, _, total = agents.page(scene.db, SWARM, '["spawning"]', 0, 9)
    assert ([row.number for row in rows], total) == ([1], 1)
    assert agents.page(scene.db, None, '["failed"]', 4, 9) == ([], 4, 0)


def test_seats_that_nothing_is_ready_for(scene) -> None:
    scene.swarm("a", agents_made=3)
    assert agents.unneeded(scene.db, SWARM) == []
    (claim,) = scene.claim(1)
    found = agents.unneeded(scene.db, SWARM)
    assert (len(found), claim.agent_id in found) == (2, False)
