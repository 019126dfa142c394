"""What follows from an attempt's start and end: for its task, its seat, its dependents and its swarm."""

import pytest

from dashd.domain import healing
from dashd.domain.attempt import UNLAUNCHED, Ending
from dashd.domain.gates import Gate
from dashd.store import agents, attempts, decisions, lifecycle, seats, stops, swarms, tasks
from tests.fakes.scene import SWARM


def test_a_start_is_told_once(scene) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    since = scene.seq
    scene.start(claim, pid=77)
    scene.start(claim, pid=78)
    assert scene.kinds(since) == ["agent.started", "task.started"]
    assert scene.events(since)[0]["data"] == {"attempt": 1, "pid": 77}
    assert (scene.agent().state, scene.agent().liveness) == ("running", "alive")


def test_a_success_completes_the_task_and_frees_the_seat(scene) -> None:
    scene.swarm("a", "b")
    (claim,) = scene.claim()
    scene.start(claim)
    since = scene.seq
    scene.end(claim, result="42")
    assert (scene.task().state, scene.task().result, scene.task().cause) == ("completed", "42", None)
    assert (scene.agent().state, scene.agent().liveness) == ("idle", "dead")
    assert scene.attempt(claim).state == "succeeded"
    assert scene.kinds(since) == ["task.completed", "agent.status"]


def test_the_last_end_ends_seats_and_swarm_in_the_same_commit(scene, clock) -> None:
    scene.swarm("a", "b", agents_made=3, retries=0)
    first, second = scene.claim()
    scene.end(first, "failed", "exit code 2")
    assert scene.row().state == "active"
    since = scene.seq
    scene.end(second)
    assert scene.kinds(since) == ["task.completed", "agent.completed", "agent.completed", "swarm.completed"]
    assert scene.seat_states() == ["failed", "completed", "completed"]
    row = scene.row()
    assert (row.state, row.outcome, row.ended_at_ms) == ("completed", "partial", clock.now_ms())
    assert scene.events(since)[-1]["data"] == {
        "outcome": "partial",
        "tasks": {"completed": 1, "dead": 1},
        "agents": {"completed": 2, "failed": 1},
    }


def test_a_failure_is_tried_again_until_no_retry_is_left(scene, clock) -> None:
    scene.swarm("a", retries=1)
    since = scene.seq
    scene.run("failed")
    task = scene.task()
    assert (task.state, task.attempts, task.cause) == ("retrying", 1, "failed it")
    assert task.retry_at_ms == clock.now_ms() + 1_000
    assert scene.kinds(since)[-3:] == ["task.failed", "task.retrying", "agent.status"]
    assert scene.agent().state == "idle"
    clock.advance(1_000)
    since = scene.seq
    scene.run("failed")
    assert (scene.task().state, scene.task().cause) == ("dead", "failed it (attempt 2 of 2)")
    assert scene.kinds(since)[-4:] == ["task.failed", "task.dead", "agent.failed", "swarm.failed"]
    assert (scene.row().state, scene.row().outcome) == ("failed", "none")


def test_a_lost_attempt_does_not_count_against_the_retries(scene, clock) -> None:
    scene.swarm("a", retries=0)
    since = scene.seq
    scene.run("lost")
    assert (scene.task().state, scene.task().attempts) == ("retrying", 0)
    assert "agent.lost" in scene.kinds(since)
    assert "task.failed" not in scene.kinds(since)
    clock.advance(1_000)
    scene.run("succeeded")
    assert scene.row().outcome == "complete"


def test_what_loses_its_holder_every_time_dies_in_the_end(scene, clock) -> None:
    scene.swarm("a", retries=0)
    for _ in range(11):
        scene.run("lost")
        clock.advance(60_000)
    assert scene.task().state == "dead"
    assert "lost 11 times" in scene.task().cause


@pytest.mark.parametrize(
    ("stop", "state", "cause"),
    [("cancel", "cancelled", "cancelled while it ran"), ("kill", "cancelled", "its agent was killed")],
)
def test_a_stop_for_good_cancels_the_task(scene, stop, state, cause) -> None:
    scene.swarm("a", "b")
    (claim,) = scene.claim()
    scene.start(claim)
    scene.do(lambda tx: attempts.ask_stop(tx, claim.attempt_id, stop))
    scene.end(claim, "failed", "ended by signal 15")
    assert (scene.task().state, scene.task().cause) == (state, cause)
    assert scene.attempt(claim).state == "cancelled"


def test_a_success_counts_even_where_a_stop_was_asked_for(scene) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    scene.do(lambda tx: attempts.ask_stop(tx, claim.attempt_id, "cancel"))
    scene.end(claim)
    assert (scene.task().state, scene.row().outcome) == ("completed", "complete")


def test_over_time_is_a_failure_that_is_tried_again(scene) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    scene.do(lambda tx: attempts.ask_stop(tx, claim.attempt_id, "timeout"))
    scene.end(claim, "failed", "ran longer than 300 s")
    assert (scene.task().state, scene.task().attempts) == ("retrying", 1)


def test_what_was_given_back_is_ready_and_says_so(scene) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    scene.start(claim)
    scene.do(stops.requeue_all)
    since = scene.seq
    scene.end(claim, "failed", "ended by signal 15")
    assert (scene.task().state, scene.task().attempts) == ("ready", 0)
    event, *others = scene.events(since)
    assert event["kind"] == "task.retrying"
    assert [other["kind"] for other in others] == ["task.ready", "agent.status"]
    assert event["data"] == {"delay_s": 0.0, "reason": "ended by signal 15", "counted": False}
    assert scene.agent().state == "idle"


def test_a_launch_that_never_began_is_repeated_at_once_the_first_time_only(scene, clock) -> None:
    scene.swarm("a", retries=0)
    (claim,) = scene.claim()
    scene.end(claim, "never")
    assert (scene.task().state, scene.attempt(claim).state) == ("ready", "cancelled")
    delays = []
    for _ in range(3):
        (claim,) = scene.claim()
        scene.end(claim, "never")
        delays.append(scene.task().retry_at_ms - clock.now_ms())
        clock.advance(60_000)
    assert delays == [1_000, 2_000, 4_000]
    assert scene.task().attempts == 0
    scene.run("succeeded")
    assert scene.row().outcome == "complete"


def test_restarts_of_dashd_are_no_refusals_of_the_place(scene, clock) -> None:
    scene.swarm("a")
    delays_s = []
    for _ in range(10):
        (claim,) = scene.claim()
        scene.end(claim, "never", UNLAUNCHED)
        delays_s.append(
            0.0 if scene.task().retry_at_ms is None else (scene.task().retry_at_ms - clock.now_ms()) / 1_000
        )
        clock.advance(60_000)
    assert delays_s[0] == 0.0
    assert max(delays_s) <= healing.DELAY_S_MAX  # and not for ten minutes
    (claim,) = scene.claim()
    scene.end(claim, "never", "its gateway did not take it")
    assert scene.task().state == "ready"  # the first refusal


def test_any_number_of_launches_that_never_begin_leave_few_rows_a_day(scene, clock) -> None:
    scene.swarm("a", retries=0)
    for _ in range(12):
        (claim,) = scene.claim()
        scene.end(claim, "never", "its gateway did not take it")
        clock.advance(600_000)
    before = clock.now_ms()
    for _ in range(10):
        (claim,) = scene.claim()
        scene.end(claim, "never", "its gateway did not take it")
        clock.advance(scene.task().retry_at_ms - clock.now_ms() - 1)
        assert not scene.claim()
        clock.advance(1)
    assert clock.now_ms() - before == 10 * 600_000


@pytest.mark.parametrize("state", ["dead", "cancelled"])
def test_what_needs_a_task_that_did_not_complete_is_cancelled_down_the_line(scene, state) -> None:
    scene.swarm("a", "b", "c", strategy="pipeline", retries=0)
    if state == "dead":
        scene.run("failed")
    else:
        scene.do(lambda tx: lifecycle.cancel_task(tx, scene.task(), "no"))
        scene.do(lambda tx: lifecycle.settle_swarm(tx, SWARM))
    assert scene.states() == [state, "cancelled", "cancelled"]
    assert scene.task(2).cause == f"it needs task {SWARM}-t1, which is {state}"
    assert scene.task(3).cause == f"it needs task {SWARM}-t2, which is cancelled"
    assert scene.row().state == "failed"


def test_a_long_pipeline_ends_as_one(scene) -> None:
    scene.swarm(*map(str, range(3_000)), strategy="pipeline", retries=0)
    scene.run("failed")
    assert tasks.counts(scene.db, SWARM) == {"dead": 1, "cancelled": 2_999}
    assert scene.row().state == "failed"


def test_a_task_with_two_ways_to_be_cancelled_is_cancelled_once(scene) -> None:
    scene.swarm("a", "b", "c", strategy="map-reduce", agents_made=2, retries=0)
    first, second = scene.claim()
    scene.end(first, "failed")
    assert scene.states() == ["dead", "running", "cancelled"]
    scene.end(second, "failed")
    assert scene.states() == ["dead", "dead", "cancelled"]
    assert scene.kinds().count("task.cancelled") == 1


def test_the_last_prerequisite_makes_a_task_ready(scene) -> None:
    scene.swarm("a", "b", "c", strategy="map-reduce")
    scene.run("succeeded")
    assert scene.states() == ["completed", "ready", "waiting"]
    scene.run("succeeded")
    assert scene.states() == ["completed", "completed", "ready"]


def test_a_swarm_does_not_end_before_its_last_process(scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    first, second = scene.claim()
    scene.do(lambda tx: attempts.ask_stop(tx, second.attempt_id, "cancel"))
    scene.end(first)
    scene.do(lambda tx: lifecycle.settle_swarm(tx, SWARM))
    assert scene.row().state == "active"
    scene.end(second, "failed")
    assert scene.row().state == "completed"
    since = scene.seq
    scene.do(lambda tx: lifecycle.settle_swarm(tx, SWARM))
    assert scene.kinds(since) == []


def test_a_swarm_with_work_but_no_seat_gets_one(scene) -> None:
    scene.swarm("a", "b")
    (claim,) = scene.claim()
    scene.do(lambda tx: stops.kill(tx, scene.agent(), requeue=True))
    scene.end(claim, "failed")
    assert scene.seat_states() == ["killed", "idle"]
    assert [found.agent_id for found in scene.claim()] == [f"{SWARM}-002"]


@pytest.mark.parametrize("earlier", ["requeue", "timeout"])
def test_a_swarm_destroyed_while_a_run_is_given_back_or_over_time_still_ends(scene, earlier) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    scene.do(lambda tx: attempts.ask_stop(tx, claim.attempt_id, earlier))
    scene.do(lambda tx: swarms.want_destroyed(tx, SWARM))
    scene.do(lambda tx: stops.cancel(tx, scene.task(), "its swarm was destroyed"))
    scene.end(claim, "failed")
    assert (scene.states(), scene.row().state, scene.seat_states()) == (
        ["cancelled"],
        "destroyed",
        ["killed"],
    )


def test_pausing_holds_state_clock_and_tells_once(scene, clock) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    scene.paused(claim)  # not running yet: nothing to hold
    assert scene.agent().state == "spawning"
    scene.start(claim)
    since = scene.seq
    clock.advance(70)
    scene.paused(claim)
    scene.paused(claim)
    assert (scene.agent().state, scene.attempt(claim).active_ms) == ("paused", 70)
    clock.advance(1_000)
    scene.paused(claim, paused=False)
    scene.paused(claim, paused=False)
    assert scene.kinds(since) == ["agent.paused", "agent.resumed"]
    clock.advance(30)
    scene.end(claim)
    assert scene.attempt(claim).active_ms == 100
    scene.paused(claim)
    assert scene.agent().state == "completed"


def test_an_end_from_a_pause_ends_all_the_same(scene) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    scene.start(claim)
    scene.paused(claim)
    scene.end(claim, "failed")
    assert scene.agent().state == "idle"


def _late(scene, claim, state: str = "succeeded") -> None:
    scene.do(
        lambda tx: lifecycle.attempt_ended(tx, claim.attempt_id, Ending(state, "late", result="x"), jitter=0)
    )


def test_a_late_success_is_accepted_where_its_task_is_still_to_be_done(scene) -> None:
    scene.swarm("a")
    (claim,) = scene.run("lost")
    since = scene.seq
    _late(scene, claim)
    assert (scene.task().state, scene.task().result) == ("completed", "x")
    assert (scene.attempt(claim).state, scene.attempt(claim).late) == ("succeeded", 1)
    assert scene.events(since)[0]["data"] == {"attempt": 1, "late": True, "accepted": True}
    assert scene.row().outcome == "complete"
    _late(scene, claim)
    assert attempts.sums(scene.db, SWARM)[:3] == (1, 0, 1)


def test_a_late_success_is_recorded_where_another_attempt_runs(scene, clock) -> None:
    scene.swarm("a")
    (lost,) = scene.run("lost")
    clock.advance(60_000)
    (claim,) = scene.claim()
    since = scene.seq
    _late(scene, lost)
    _late(scene, lost)
    assert scene.states() == ["running"]
    assert [event["data"]["accepted"] for event in scene.events(since)] == [False]
    scene.end(claim, result="mine")
    assert scene.task().result == "mine"
    assert attempts.sums(scene.db, SWARM)[:3] == (2, 1, 1)


@pytest.mark.parametrize(("first", "late"), [("lost", "failed"), ("failed", "succeeded")])
def test_any_other_late_end_changes_nothing(scene, first, late) -> None:
    scene.swarm("a")
    (claim,) = scene.run(first)
    since, before = scene.seq, scene.task()
    _late(scene, claim, late)
    assert (scene.seq, scene.task()) == (since, before)


def test_bells_ring_for_what_has_become_startable(scene) -> None:
    scene.swarm("a", "b", strategy="pipeline")
    (claim,) = scene.claim()
    ticket = scene.store.bells.queue.ticket()
    scene.end(claim)
    assert ticket.is_set()


def test_agents_are_counted_apart_from_tasks(scene) -> None:
    scene.swarm("a", "b", "c", agents_made=2)
    scene.run("succeeded", "succeeded", "succeeded")
    assert agents.counts(scene.db, SWARM) == {"completed": 2}
    assert tasks.counts(scene.db, SWARM) == {"completed": 3}


def test_an_agent_that_asked_before_it_was_seen_to_run_is_held_from_the_start(scene) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    gate = Gate("g", "tool", "", 0, "ask", "operator", False, 60.0, "deny")
    told = decisions.Question(kind="tool", what="x", asked_by="a", agent=claim.agent_id, swarm=SWARM)
    row = scene.do(lambda tx: decisions.request(tx, gate, told))
    scene.start(claim)
    assert scene.attempt(claim).active_since_ms is None
    scene.do(lambda tx: decisions.decide(tx, row, "allow", "me", ""))
    assert scene.attempt(claim).active_since_ms is not None


def test_what_a_gateway_lost_is_its_seats_until_that_ends(scene, clock) -> None:
    scene.swarm("a", "b", agents_made=2, mode="gateway", driver="openclaw", walls="required")
    first, second = scene.claim()
    scene.start(first)
    scene.end(first, "lost")
    assert scene.task().pinned_to == first.agent_id
    scene.do(lambda tx: seats.end(tx, agents.get(tx.db, first.agent_id), killed=True))
    assert scene.task().pinned_to is None
    scene.start(second)
    scene.end(second, "failed")
    assert scene.task(2).pinned_to is None


def test_elsewhere_any_seat_takes_it(scene) -> None:
    scene.swarm("a")
    scene.run("lost")
    assert scene.task().pinned_to is None
