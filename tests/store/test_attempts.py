"""Tables `attempt` and `launch`."""

import pytest

from dashd.domain.attempt import Ending
from dashd.store import attempts, tasks
from dashd.wire import errors
from tests.fakes.scene import SWARM


def test_a_claim_makes_an_attempt_and_its_launch(scene) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    launch = attempts.launch(scene.db, scene.attempt(claim).launch_id)
    assert (launch.owner, launch.ended, launch.pid, launch.spool_offset) == (claim.attempt_id, 0, None, 0)
    assert attempts.open_of_agent(scene.db, claim.agent_id) == scene.attempt(claim)
    assert attempts.open_of_task(scene.db, claim.task_id) == scene.attempt(claim)
    assert attempts.open_attempts(scene.db) == [scene.attempt(claim)]
    assert (attempts.open_count(scene.db), attempts.open_in_swarm(scene.db, SWARM)) == (1, 1)
    assert attempts.open_in_swarm(scene.db, "bbbbbb") == 0
    assert attempts.next_number(scene.db, claim.task_id) == 2


@pytest.mark.parametrize("look", [attempts.get, attempts.launch])
def test_what_must_exist_is_missed(scene, look) -> None:
    with pytest.raises(AssertionError, match="nowhere"):
        look(scene.db, "nowhere")


def test_a_start_is_written_on_attempt_and_launch(scene, clock) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    scene.start(claim, pid=77)
    row = scene.attempt(claim)
    launch = attempts.launch(scene.db, row.launch_id)
    assert (row.state, row.started_at_ms, row.active_since_ms) == ("running", clock.now_ms(), clock.now_ms())
    assert (launch.pid, launch.start_time, launch.boot_id) == (77, 7, "boot")


def test_an_end_is_written_on_attempt_and_launch(scene) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    ending = Ending("failed", "why", exit_code=2, exit_signal=None, cpu_ms=5, rss_max_kib=6)
    scene.do(lambda tx: attempts.set_ended(tx, scene.attempt(claim), "failed", ending))
    row = scene.attempt(claim)
    assert (row.state, row.reason, row.exit_code, row.exit_signal, row.cpu_ms, row.rss_max_kib) == (
        "failed",
        "why",
        2,
        None,
        5,
        6,
    )
    assert row.started_at_ms is not None
    assert attempts.launch(scene.db, row.launch_id).ended == 1
    assert attempts.open_count(scene.db) == 0
    with pytest.raises(errors.IllegalTransition):
        scene.do(lambda tx: attempts.set_ended(tx, scene.attempt(claim), "succeeded", ending))


def test_what_never_began_has_no_start(scene) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    scene.do(lambda tx: attempts.set_ended(tx, scene.attempt(claim), "cancelled", Ending("never", "no")))
    assert scene.attempt(claim).started_at_ms is None
    assert attempts.never_count(scene.db, claim.task_id, unlaunched=False) == 1
    assert attempts.never_count(scene.db, claim.task_id, unlaunched=True) == 0


@pytest.mark.parametrize(
    ("first", "second", "stands"),
    [
        ("timeout", "requeue", "timeout"),
        ("requeue", "timeout", "requeue"),
        ("cancel", "requeue", "cancel"),
        ("cancel", "kill", "cancel"),
        ("kill", "cancel", "kill"),
        ("requeue", "cancel", "cancel"),
        ("requeue", "kill", "kill"),
        ("timeout", "cancel", "cancel"),
        ("timeout", "kill", "kill"),
    ],
)
def test_the_first_stop_wins_unless_it_would_bring_back_what_was_cancelled(
    scene, first, second, stands
) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    for stop in (first, second):
        scene.do(lambda tx, stop=stop: attempts.ask_stop(tx, claim.attempt_id, stop))
    assert scene.attempt(claim).stop == stands


def test_active_time_leaves_pauses_out(scene, clock) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    scene.start(claim)
    clock.advance(100)
    scene.do(lambda tx: attempts.hold_clock(tx, claim.attempt_id))
    clock.advance(10_000)
    scene.do(lambda tx: attempts.hold_clock(tx, claim.attempt_id))
    assert (scene.attempt(claim).active_ms, scene.attempt(claim).active_since_ms) == (100, None)
    scene.do(lambda tx: attempts.run_clock(tx, claim.attempt_id))
    clock.advance(50)
    scene.do(lambda tx: attempts.run_clock(tx, claim.attempt_id))
    scene.do(lambda tx: attempts.hold_clock(tx, claim.attempt_id))
    assert scene.attempt(claim).active_ms == 150


def test_a_clock_set_back_takes_no_active_time_away(scene, clock) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    scene.start(claim)
    clock.advance(-5_000)
    scene.do(lambda tx: attempts.hold_clock(tx, claim.attempt_id))
    assert scene.attempt(claim).active_ms == 0


def test_a_seats_runs_by_number_and_from_the_newest(scene) -> None:
    scene.swarm("a", "b", "c")
    claims = scene.run("succeeded", "succeeded", "succeeded")
    seat = claims[0].agent_id
    assert [row.task_id for row in attempts.of_agent(scene.db, seat, 2)] == [f"{SWARM}-t3", f"{SWARM}-t2"]
    second = attempts.nth_of_agent(scene.db, seat, 2)
    assert second is not None
    assert second.id == claims[1].attempt_id
    assert attempts.number_in_seat(scene.db, second) == 2
    assert attempts.nth_of_agent(scene.db, seat, 4) is None
    assert attempts.succeeded_by_agent(scene.db, [seat, "other"]) == {seat: 3}


def test_a_tasks_runs_and_a_swarms_sums(scene, clock) -> None:
    scene.swarm("a", retries=1)
    (first,) = scene.claim()
    scene.end(first, "lost", "gone", cpu_ms=3)
    clock.advance(60_000)
    (second,) = scene.claim()
    scene.end(second, cpu_ms=4)
    assert [row.number for row in attempts.of_task(scene.db, first.task_id, 9)] == [2, 1]
    assert tasks.get(scene.db, first.task_id).lost == 1
    assert attempts.sums(scene.db, SWARM) == (2, 1, 0, 7, 1, 0)
    assert attempts.sums(scene.db, "bbbbbb") == (0, 0, 0, 0, 0, 0)


def test_wishes_are_those_of_open_runs(scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    first, second = scene.claim()
    scene.do(lambda tx: attempts.ask_stop(tx, first.attempt_id, "kill"))
    assert sorted(attempts.wishes(scene.db)) == [
        (first.attempt_id, "kill", 0, 0, 0, 0),
        (second.attempt_id, None, 0, 0, 0, 0),
    ]
    scene.end(first)
    assert [wish[0] for wish in attempts.wishes(scene.db)] == [second.attempt_id]


def test_the_spool_offset_is_kept(scene) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    scene.do(lambda tx: attempts.set_spool_offset(tx, claim.attempt_id, 99))
    assert attempts.launch(scene.db, claim.attempt_id).spool_offset == 99


def test_what_runs_at_a_place_and_what_was_left_there(scene) -> None:
    scene.swarm("a", "b", "c", "d", agents_made=4)
    claims = scene.claim()
    for claim, place in zip(claims, ("desk", "desk", "desk", "attic"), strict=True):
        scene.do(
            lambda tx, claim=claim, place=place: tx.execute(
                "UPDATE launch SET place = ? WHERE id = ?", (place, claim.attempt_id)
            )
        )
    for claim in claims[:2]:
        scene.do(lambda tx, claim=claim: attempts.set_place_boot(tx, claim.attempt_id, "b1"))
    assert attempts.begun_at(scene.db, "desk") == [claim.agent_id for claim in claims[:2]]
    assert attempts.left_at(scene.db, "desk", "b1", 10) == []
    scene.start(claims[0])
    scene.end(claims[0], "lost", "it is dead")
    scene.start(claims[1])
    scene.end(claims[1])
    (left,) = attempts.left_at(scene.db, "desk", "b1", 10)
    assert left.id == claims[0].attempt_id
    assert attempts.left_at(scene.db, "desk", "b2", 10) == []


def test_sessions_of_an_earlier_start_are_needed_while_their_task_is_open(scene, clock) -> None:
    scene.swarm("a", "b", mode="gateway")
    for boot_id in ("b1", "b2"):
        (claim,) = scene.claim()
        scene.do(lambda tx, claim=claim: _put_at(tx, claim, "desk"))
        scene.do(lambda tx, claim=claim, boot=boot_id: attempts.set_place_boot(tx, claim.attempt_id, boot))
        scene.start(claim)
        assert attempts.follows_killed(scene.db, scene.attempt(claim)) is (boot_id == "b2")
        scene.end(claim, "lost")
        clock.advance(60_000)
    assert sorted(attempts.session_boots(scene.db, claim.agent_id, "desk")) == ["b1", "b2"]
    assert attempts.session_boots(scene.db, claim.agent_id, "attic") == []
    (claim,) = scene.claim()
    assert claim.task_id == f"{SWARM}-t1"
    scene.start(claim)
    scene.end(claim)
    assert attempts.session_boots(scene.db, claim.agent_id, "desk") == []
    (claim,) = scene.claim()
    assert not attempts.follows_killed(scene.db, scene.attempt(claim))


def _put_at(tx, claim, place: str) -> None:
    tx.execute("UPDATE launch SET place = ? WHERE id = ?", (place, claim.attempt_id))


def test_one_that_failed_may_go_on_at_its_place_as_well(scene) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    scene.do(
        lambda tx: tx.execute(
            "UPDATE launch SET place = 'desk', place_boot = 'b1' WHERE id = ?", (claim.attempt_id,)
        )
    )
    scene.start(claim)
    scene.end(claim, "failed", "not_started")
    assert len(attempts.left_at(scene.db, "desk", "b1", 10)) == 1


def test_one_that_never_began_stands_between_no_two_of_a_session_and_is_no_attempt(scene, clock) -> None:
    scene.swarm("a")
    (lost,) = scene.run("lost")
    clock.advance(60_000)
    scene.run("never")
    clock.advance(60_000)
    (third,) = scene.claim()
    assert attempts.session_launch(scene.db, scene.attempt(third), lambda _: True) == lost.attempt_id
    assert attempts.sums(scene.db, SWARM)[:2] == (2, 1)
    assert tasks.get(scene.db, third.task_id).attempts == 0


def test_how_often_an_agent_was_given_another_name_in_a_start(scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    for claim, written in zip(scene.claim(), ("b1~2", "b1"), strict=True):
        scene.do(lambda tx, claim=claim: _put_at(tx, claim, "desk"))
        scene.do(
            lambda tx, claim=claim, written=written: attempts.set_place_boot(tx, claim.attempt_id, written)
        )
        scene.start(claim)
        scene.end(claim, "lost", "gone")
    assert attempts.renewed(scene.db, "desk", "b1") == {f"{SWARM}-001": 2}
    assert attempts.renewed(scene.db, "desk", "b") == attempts.renewed(scene.db, "attic", "b1") == {}
    assert len(attempts.left_at(scene.db, "desk", "b1", 10)) == 2  # under both names
    assert attempts.left_at(scene.db, "desk", "b", 10) == []
