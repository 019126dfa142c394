"""Which task starts next: strict levels, then age; never more than there are seats and slots."""

import pytest

from dashd.store import agents, attempts, queue, stops, swarms, tasks
from dashd.store.queue import Claim
from tests.fakes.here import Here
from tests.fakes.scene import SWARM


def _order(scene) -> list[str]:
    """Task ids in the order in which one slot would run them."""
    order = []
    while claims := scene.claim(1):
        order.append(claims[0].task_id)
        scene.end(claims[0])
    return order


def test_levels_first_then_age_over_all_swarms(scene, clock) -> None:
    for swarm_id, priority in (("aaaaaa", 3), ("bbbbbb", 1), ("cccccc", 0), ("dddddd", 1)):
        scene.swarm("x", "y", swarm_id=swarm_id, priority=priority)
        clock.advance(1)
    assert [task[0] for task in _order(scene)] == list("ccbbddaa")


def test_inside_one_instant_the_first_made_goes_first(scene) -> None:
    scene.swarm("x", swarm_id="zzzzzz")
    scene.swarm("x", swarm_id="aaaaaa")
    assert [task[0] for task in _order(scene)] == ["z", "a"]


def test_a_retried_task_keeps_its_age(scene, clock) -> None:
    scene.swarm("a", "b", "c")
    scene.run("failed")
    clock.advance(60_000)
    assert _order(scene) == [f"{SWARM}-t{number}" for number in (1, 2, 3)]


def test_no_more_than_slots_and_no_more_than_seats(scene) -> None:
    scene.swarm("a", "b", "c", "d", agents_made=3)
    scene.swarm("e", "f", swarm_id="bbbbbb", agents_made=1)
    assert len(scene.claim(2)) == 2
    assert [claim.task_id for claim in scene.claim(4)] == [f"{SWARM}-t3", "bbbbbb-t1"]
    assert scene.claim(100) == []
    assert attempts.open_count(scene.db) == 4
    assert scene.claim(1) == []  # fewer slots than run, after the limit was lowered


def test_a_task_at_its_swarms_limit_lets_lower_ones_start(scene) -> None:
    scene.swarm("a", "b", priority=0)
    scene.swarm("c", swarm_id="bbbbbb", priority=3)
    assert [claim.task_id for claim in scene.claim()] == [f"{SWARM}-t1", "bbbbbb-t1"]


def test_where_as_many_of_a_driver_run_as_may_others_start(scene) -> None:
    scene.swarm("a", "b", "c", agents_made=3, priority=0, driver="openclaw")
    scene.swarm("d", "e", swarm_id="bbbbbb", agents_made=2, priority=3)

    class TwoAtOnce(Here):
        def full(self, db):
            return queue.full(db, {"openclaw": 2})

    def claimed() -> list[str]:
        return [claim.task_id for claim in scene.do(lambda tx: queue.claim(tx, 100, TwoAtOnce())).claims]

    assert claimed() == [f"{SWARM}-t1", f"{SWARM}-t2", "bbbbbb-t1", "bbbbbb-t2"]
    assert attempts.open_by_driver(scene.db) == {"openclaw": 2, "command": 2}
    assert claimed() == []
    scene.end(Claim(f"{SWARM}-t1.1", f"{SWARM}-001", f"{SWARM}-t1", SWARM))
    assert claimed() == [f"{SWARM}-t3"]


@pytest.mark.parametrize("how", ["paused", "destroy", "seat paused"])
def test_what_may_not_start_does_not(scene, how) -> None:
    scene.swarm("a")
    if how == "paused":
        scene.do(lambda tx: swarms.set_state(tx, scene.row(), "paused"))
    elif how == "destroy":
        scene.do(lambda tx: swarms.want_destroyed(tx, SWARM))
    else:
        scene.do(lambda tx: agents.set_wanted(tx, scene.agent().id, "pause"))
    assert list(queue.heads(scene.db)) == []
    assert scene.claim() == []


def test_a_pinned_task_waits_for_its_seat_and_holds_up_nobody(scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    seat = scene.agent(2).id
    pinned = tasks.new(scene.row(), 9, "p", at_ms=0, level=0, pinned_to=seat)
    scene.do(lambda tx: tasks.insert(tx, pinned))
    first, second = scene.claim()
    assert (first.task_id, first.agent_id) == (pinned.id, seat)
    assert second.agent_id != seat
    scene.end(second)
    (third,) = scene.claim()
    assert third.task_id == f"{SWARM}-t2"


def test_a_pinned_task_of_a_busy_seat_waits(scene) -> None:
    scene.swarm("a", "b", agents_made=1)
    (running,) = scene.claim()
    pinned = tasks.new(scene.row(), 9, "p", at_ms=0, level=0, pinned_to=running.agent_id)
    scene.do(lambda tx: tasks.insert(tx, pinned))
    assert scene.claim() == []
    scene.end(running)
    assert [claim.task_id for claim in scene.claim()] == [pinned.id]


def test_a_retry_goes_back_to_the_seat_that_knows_it(scene, clock) -> None:
    scene.swarm("a", "b", agents_made=2)
    first, second = scene.claim()
    scene.end(first)
    scene.end(second, "failed")
    clock.advance(60_000)
    (again,) = scene.claim()
    assert again.agent_id == second.agent_id
    assert again.attempt_id == f"{SWARM}-t2.2"


def test_a_retry_whose_seat_is_taken_goes_to_another(scene, clock) -> None:
    scene.swarm("a", "b", "c", agents_made=2)
    first, second = scene.claim()
    scene.end(first, "failed")
    scene.claim()  # task 3 takes the free seat
    scene.end(second)
    clock.advance(60_000)
    (again,) = scene.claim()
    assert (again.task_id, again.agent_id) == (first.task_id, second.agent_id)


def test_a_claim_wakes_what_is_due_and_says_when_the_next_is(scene, clock) -> None:
    scene.swarm("a")
    scene.run("failed")
    found = scene.do(lambda tx: queue.claim(tx, 9, Here()))
    assert (found.claims, found.next_due_ms) == ([], clock.now_ms() + 1_000)
    clock.advance(1_000)
    found = scene.do(lambda tx: queue.claim(tx, 0, Here()))
    assert (found.claims, found.next_due_ms, scene.task().state) == ([], None, "ready")
    assert scene.task().cause == "failed it"


def test_a_claim_says_so(scene) -> None:
    scene.swarm("a")
    since = scene.seq
    (claim,) = scene.claim()
    (event,) = scene.events(since)
    assert (event["kind"], event["agent"], event["task"], event["data"]) == (
        "task.assigned",
        claim.agent_id,
        claim.task_id,
        {"attempt": 1},
    )


def test_nothing_is_claimed_for_a_killed_seat(scene) -> None:
    scene.swarm("a", agents_made=2)
    scene.do(lambda tx: stops.kill(tx, scene.agent(1), requeue=True))
    assert [claim.agent_id for claim in scene.claim()] == [scene.agent(2).id]


def test_a_claim_does_not_get_dearer_with_the_queue(scene) -> None:
    explained = scene.db.execute(f"EXPLAIN QUERY PLAN {queue._q_head}", ("[]", "[]", ""))
    plan = " / ".join(row[3] for row in explained)
    assert "task_ready" in plan
    assert "SCAN q" not in plan
    assert "SCAN t " not in plan
