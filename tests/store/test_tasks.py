"""Tables `task` and `task_edge`."""

import pytest

from dashd.store import queue, tasks
from dashd.wire import errors
from tests.fakes.scene import SWARM, swarm_row


def test_a_new_task_takes_after_its_swarm_unless_told_otherwise() -> None:
    plain = tasks.new(swarm_row(priority=1), 3, "x", at_ms=5)
    assert (plain.id, plain.state, plain.text, plain.level, plain.priority) == (
        f"{SWARM}-t3",
        "ready",
        None,  # the swarm's goal, which is not repeated in every row
        1,
        1,
    )
    own = tasks.new(swarm_row(), 3, "x", at_ms=5, text="mine", level=0, pinned_to=f"{SWARM}-001")
    assert (own.text, own.level, own.pinned_to) == ("mine", 0, f"{SWARM}-001")


def test_an_unknown_task_is_refused(scene) -> None:
    with pytest.raises(errors.UnknownTask, match="'t'") as caught:
        tasks.get(scene.db, "t")
    assert (caught.value.path, caught.value.hint) == ("task", "task.list names all tasks")


def test_a_step_off_the_machine_is_refused(scene) -> None:
    scene.swarm("a")
    with pytest.raises(errors.IllegalTransition):
        scene.do(lambda tx: tasks.set_state(tx, scene.task(), "dead"))
    assert scene.task().state == "ready"


def test_a_claim_forgets_the_progress_of_the_run_before(scene, clock) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    first_ms = clock.now_ms()
    scene.do(lambda tx: tasks.set_progress(tx, claim.task_id, 2, 5, "half"))
    assert (scene.task().progress_done, scene.task().progress_total, scene.task().note) == (2, 5, "half")
    scene.end(claim, "failed")
    clock.advance(60_000)
    scene.claim()
    again = scene.task()
    assert (again.progress_done, again.progress_total, again.note, again.retry_at_ms) == (None,) * 4
    assert again.started_at_ms == first_ms


def test_attempts_are_counted_and_forgotten(scene) -> None:
    scene.swarm("a")
    task_id = f"{SWARM}-t1"
    assert [scene.do(lambda tx: tasks.count_attempt(tx, task_id)) for _ in range(2)] == [1, 2]
    scene.do(lambda tx: tasks.forget_attempts(tx, task_id))
    assert scene.task().attempts == 0


def test_pinned_tasks_are_one_seats_until_it_ends(scene) -> None:
    scene.swarm("a", agents_made=2)
    seat = scene.agent(2).id
    row = tasks.new(scene.row(), 2, "b", at_ms=0, pinned_to=seat)
    scene.do(lambda tx: tasks.insert(tx, row))
    assert [task.number for task in tasks.pinned(scene.db, seat)] == [2]
    assert tasks.takeable_count(scene.db, SWARM, seat) == 2
    assert tasks.takeable_count(scene.db, SWARM, scene.agent(1).id) == 1
    scene.do(lambda tx: tasks.unpin(tx, seat))
    assert tasks.pinned(scene.db, seat) == []
    assert tasks.takeable_count(scene.db, SWARM, scene.agent(1).id) == 2


def test_retries_come_due(scene, clock) -> None:
    scene.swarm("a", "b", agents_made=2)
    assert tasks.next_due_ms(scene.db) is None
    first, second = scene.claim()
    scene.end(second, "failed")
    clock.advance(200)
    scene.end(first, "failed")
    soonest = tasks.next_retrying(scene.db, SWARM)
    assert soonest is not None
    assert soonest.number == 2
    assert tasks.next_due_ms(scene.db) == soonest.retry_at_ms == clock.now_ms() + 800
    clock.advance(799)
    assert scene.do(tasks.due) == []
    clock.advance(1)
    assert [task.number for task in scene.do(tasks.due)] == [2]


def test_what_is_open_and_what_is_unclaimed(scene) -> None:
    scene.swarm("a", "b")
    assert tasks.any_open(scene.db, SWARM)
    assert tasks.any_unclaimed(scene.db, SWARM)
    scene.run("succeeded")
    (claim,) = scene.claim()
    assert not tasks.any_unclaimed(scene.db, SWARM)
    assert tasks.any_open(scene.db, SWARM)
    assert [task.number for task in tasks.open_tasks(scene.db, SWARM)] == [2]
    scene.end(claim)
    assert not tasks.any_open(scene.db, SWARM)


def test_questions_asked_at_every_attempts_end_cost_the_same_however_long_the_queue(scene) -> None:
    scene.swarm("a")
    for query in (tasks._q_any_open, tasks._q_any_unclaimed):
        plan = [row[3] for row in scene.db.execute(f"EXPLAIN QUERY PLAN {query}", (SWARM,))]
        assert any("task_open" in step for step in plan), plan


def test_counts(scene) -> None:
    scene.swarm("a", "b", "c")
    scene.swarm("a", swarm_id="bbbbbb", state="destroyed")
    scene.run("succeeded")
    assert tasks.counts(scene.db, SWARM) == {"completed": 1, "ready": 2}
    assert tasks.counts(scene.db) == {"completed": 1, "ready": 2}  # the destroyed swarm's are left out


def test_edges(scene) -> None:
    scene.swarm("a", "b", "c", strategy="map-reduce")
    last = f"{SWARM}-t3"
    assert scene.states() == ["ready", "ready", "waiting"]
    assert tasks.prerequisites(scene.db, last) == [f"{SWARM}-t1", f"{SWARM}-t2"]
    assert [task.id for task in tasks.waiting_dependents(scene.db, f"{SWARM}-t1")] == [last]
    assert tasks.get(scene.db, last).unmet == 2
    assert sorted(tasks.blockers(scene.db, SWARM)) == [f"{SWARM}-t1", f"{SWARM}-t2"]
    assert tasks.unmet(scene.db, last, 1) == [f"{SWARM}-t1"]
    scene.run("succeeded")
    assert tasks.blockers(scene.db, SWARM) == [f"{SWARM}-t2"]
    assert tasks.unmet(scene.db, last, 9) == [f"{SWARM}-t2"]
    scene.run("succeeded")
    assert (tasks.get(scene.db, last).unmet, scene.states()[-1]) == (0, "ready")
    assert tasks.waiting_dependents(scene.db, f"{SWARM}-t1") == []


def test_what_ended_badly_and_what_completed(scene) -> None:
    scene.swarm("a", "b", "c", "d", retries=0)
    scene.run("succeeded", "failed", "succeeded")
    scene.do(lambda tx: tasks.set_state(tx, scene.task(4), "cancelled"))
    assert [task.number for task in tasks.ended_badly(scene.db, SWARM, 9)] == [2, 4]
    assert [task.number for task in tasks.ended_badly(scene.db, SWARM, 1)] == [2]
    assert [task.number for task in tasks.completed(scene.db, SWARM, 9)] == [1, 3]


@pytest.mark.parametrize("swarm_id", [None, "bbbbbb"])
def test_pages_are_in_order_of_creation_and_meet_each_task_once(scene, swarm_id) -> None:
    scene.swarm("a", "b", "c")
    scene.swarm(*"abcde", swarm_id="bbbbbb")
    wanted = [f"{s}-t{n}" for s, m in ((SWARM, 3), ("bbbbbb", 5)) for n in range(1, m + 1)]
    wanted = [each for each in wanted if swarm_id in (None, each[:6])]
    seen, after = [], 0
    while True:
        page, after, total = tasks.page(scene.db, swarm_id, "[]", after, 2)
        assert total == len(wanted)
        seen += [row.id for row in page]
        if not page:
            break
    assert seen == wanted
    page, _, total = tasks.page(scene.db, swarm_id, '["dead"]', 0, 9)
    assert (page, total) == ([], 0)


def test_a_swarms_page_does_not_walk_through_other_swarms(scene) -> None:
    bindings = ("[]", 0, 20, SWARM)
    plan = [row[3] for row in scene.db.execute(f"EXPLAIN QUERY PLAN {tasks._q_page_of_swarm}", bindings)]
    assert any("SEARCH task USING INDEX" in step and "swarm_id=?" in step for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan


def test_a_result_is_kept(scene) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    scene.end(claim, result="42")
    assert scene.task().result == "42"
    assert list(queue.heads(scene.db)) == []


def test_a_clock_that_was_set_back_does_not_keep_a_retry_waiting(scene, clock) -> None:
    scene.swarm("a", retries=1)
    scene.run("failed")
    assert scene.do(tasks.due) == []
    clock.advance(-3_600_000)
    assert [task.number for task in scene.do(tasks.due)] == [1]
