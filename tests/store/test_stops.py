"""Asking for an end."""

import pytest

from dashd.store import attempts, lifecycle, stops, tasks
from tests.fakes.scene import SWARM


def test_what_does_not_run_is_cancelled_at_once(scene) -> None:
    scene.swarm("a", "b", strategy="pipeline")
    scene.do(lambda tx: stops.cancel(tx, scene.task(), "on request"))
    assert (scene.states(), scene.task().cause) == (["cancelled", "cancelled"], "on request")


def test_what_runs_is_asked_to_stop(scene) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    ticket = scene.store.bells.agents.ticket()
    scene.do(lambda tx: stops.cancel(tx, scene.task(), "on request"))
    assert (scene.states(), scene.attempt(claim).stop) == (["running"], "cancel")
    assert ticket.is_set()


def test_what_has_ended_meanwhile_is_left_alone(scene) -> None:
    scene.swarm("a")
    stale = scene.task()
    scene.run("succeeded")
    scene.do(lambda tx: stops.cancel(tx, stale, "on request"))
    assert scene.states() == ["completed"]


def test_a_cancelled_task_does_not_come_back_by_a_retry_in_progress(scene, clock) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    scene.do(lambda tx: attempts.ask_stop(tx, claim.attempt_id, "timeout"))
    scene.do(lambda tx: stops.cancel(tx, scene.task(), "on request"))
    scene.end(claim, "failed", "ended by signal 15")
    clock.advance(60_000)
    assert (scene.states(), scene.claim()) == (["cancelled"], [])


def test_a_killed_idle_seat_ends_at_once(scene) -> None:
    scene.swarm("a", agents_made=2)
    since = scene.seq
    scene.do(lambda tx: stops.kill(tx, scene.agent(2), requeue=False))
    assert scene.seat_states() == ["idle", "killed"]
    assert scene.kinds(since) == ["agent.killed"]
    assert scene.states() == ["ready"]


@pytest.mark.parametrize(("requeue", "stop"), [(True, "requeue"), (False, "kill")])
def test_a_killed_working_seat_ends_with_its_process(scene, requeue, stop) -> None:
    scene.swarm("a", "b", agents_made=2)
    claim, _ = scene.claim()
    scene.start(claim)
    scene.do(lambda tx: stops.kill(tx, scene.agent(), requeue=requeue))
    assert (scene.agent().state, scene.agent().wanted) == ("running", "kill")
    assert scene.attempt(claim).stop == stop
    scene.end(claim, "failed")
    assert scene.agent().state == "killed"
    assert scene.task().state == ("ready" if requeue else "cancelled")


@pytest.mark.parametrize(("requeue", "state"), [(True, "ready"), (False, "cancelled")])
def test_tasks_pinned_to_a_killed_seat(scene, requeue, state) -> None:
    scene.swarm("a", agents_made=2)
    seat = scene.agent(2)
    scene.do(lambda tx: tasks.insert(tx, tasks.new(scene.row(), 2, "p", at_ms=0, pinned_to=seat.id)))
    scene.do(lambda tx: stops.kill(tx, seat, requeue=requeue))
    assert (scene.task(2).state, scene.task(2).pinned_to) == (state, None)


@pytest.mark.parametrize(("requeue", "state"), [(True, "retrying"), (False, "cancelled")])
def test_the_task_of_a_killed_seat_is_also_one_that_waits_to_be_tried_again(scene, requeue, state) -> None:
    scene.swarm("a", "b")
    scene.run("failed")
    scene.do(lambda tx: stops.kill(tx, scene.agent(), requeue=requeue))
    assert scene.task().state == state
    assert scene.task(2).state == "ready"


def test_a_task_that_another_seat_ran_since_is_not_the_killed_seats(scene, clock) -> None:
    scene.swarm("a", "b", "c", agents_made=2)
    first, second = scene.claim()
    scene.end(first, "failed")
    scene.claim()
    scene.end(second)
    clock.advance(60_000)
    (again,) = scene.claim()
    assert again.agent_id == second.agent_id
    scene.end(again, "failed")
    scene.do(lambda tx: stops.kill(tx, scene.agent(1), requeue=False))
    assert scene.task(1).state == "retrying"


def test_who_had_a_task_that_is_left_ends_and_others_do_the_rest(scene) -> None:
    scene.swarm("a", "b")
    (claim,) = scene.run("failed")

    def leave(tx):
        stops.leave(tx, claim.task_id, claim.agent_id, "left")
        lifecycle.settle_swarm(tx, SWARM)

    scene.do(leave)
    assert (scene.states(), scene.task().cause) == (["cancelled", "ready"], "left")
    assert scene.seat_states() == ["killed", "idle"]


def test_who_has_had_another_task_than_the_one_that_is_left_is_let_be(scene) -> None:
    scene.swarm("a", "b")
    (claim,) = scene.run("failed")
    (other,) = scene.claim()
    scene.do(lambda tx: stops.leave(tx, claim.task_id, claim.agent_id, "left"))
    assert scene.states() == ["cancelled", "running"]
    assert (scene.agent().wanted, scene.attempt(other).stop) == ("run", None)


def test_a_daemon_that_leaves_nothing_running_gives_every_task_back(scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    scene.swarm("c", swarm_id="bbbbbb")
    claims = scene.claim()
    assert scene.do(stops.requeue_all) == 3
    for claim in claims:
        scene.end(claim, "failed")
    assert scene.states() == ["ready", "ready"]
    assert scene.do(stops.requeue_all) == 0


def test_a_seat_that_works_without_an_attempt_is_a_bug_and_changes_nothing(scene) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    scene.db.execute("UPDATE attempt SET state = 'failed'")
    with pytest.raises(AssertionError, match="without an attempt"):
        scene.do(lambda tx: stops.kill(tx, scene.agent(), requeue=False))
    assert scene.agent().wanted == "run"
    assert claim.swarm_id == SWARM
