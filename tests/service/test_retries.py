"""Making an ended task ready again by hand: what becomes of its seat."""

import pytest

from dashd.service import retries
from dashd.store import agents, budgets, stops, swarms
from dashd.store.queue import Claim
from dashd.wire import errors
from tests.fakes.scene import SWARM


def _retry(scene, number: int = 1, seat: str | None = None) -> None:
    scene.do(lambda tx: retries.retry(tx, scene.task(number), seat))


def test_the_seat_that_ran_it_is_reopened(scene) -> None:
    scene.swarm("a", "b", agents_made=2, retries=0)
    first, _ = scene.claim()
    scene.end(first, "failed")
    _retry(scene)
    assert scene.agent().state == "idle"


def test_an_open_seat_stays_as_it_is(scene) -> None:
    scene.swarm("a", "b", "c", agents_made=2, retries=0)
    first, _ = scene.claim()
    scene.end(first, "failed")
    scene.claim()
    _retry(scene)
    assert scene.seat_states() == ["spawning", "spawning"]


def test_a_task_that_never_ran_gets_a_seat_where_none_is_left(scene) -> None:
    scene.swarm("a", "b", agents_made=1)
    (claim,) = scene.claim()
    scene.do(lambda tx: stops.cancel(tx, scene.task(2), "no"))
    _retry(scene, 2)
    assert agents.open_count(scene.db, SWARM) == 1
    assert scene.task(2).agent_id is None
    scene.do(lambda tx: stops.cancel(tx, scene.task(2), "no"))
    scene.db.execute("UPDATE agent SET state = 'killed'")
    _retry(scene, 2)
    assert scene.seat_states() == ["killed", "idle"]
    assert claim.task_id == f"{SWARM}-t1"


def test_a_refusal_changes_nothing(scene) -> None:
    scene.swarm("a", "b", agents_made=2, retries=0)
    first, second = scene.claim()
    scene.end(first)
    since = scene.seq
    with pytest.raises(errors.IllegalTransition):
        _retry(scene)
    assert scene.seq == since
    scene.end(second, "failed")
    with pytest.raises(errors.SwarmEnded):
        _retry(scene, 2)


def test_in_a_swarm_that_is_full_the_seat_stays_ended_and_another_takes_the_task(scene) -> None:
    scene.swarm("a", "b", "c", agents_made=2, retries=0)
    first, _ = scene.claim()
    scene.end(first, "failed")
    scene.do(lambda tx: stops.kill(tx, scene.agent(1), requeue=False))
    scene.do(lambda tx: swarms.set_agents_max(tx, SWARM, 1))
    _retry(scene, 1, f"{SWARM}-001")
    assert scene.seat_states() == ["killed", "spawning"]
    assert scene.task().state == "ready"


def test_all_retries_are_given_again_after_lost_attempts_too(scene, clock) -> None:
    scene.swarm("a", "b", agents_made=1, retries=0)
    for _ in range(11):
        scene.run("lost")
        clock.advance(60_000)
    assert scene.task().state == "dead"
    _retry(scene)
    scene.run("lost")
    assert scene.task().state == "retrying"


def _one_seat_left(scene, *killed: int) -> Claim:
    """A swarm of four seats: one ran five tasks, of which four are dead, and the others' ended well."""
    scene.swarm(*"abcdefgh", agents_made=4, retries=0)
    first, *others = scene.claim()
    scene.end(first, "failed")
    for _ in range(3):
        scene.end(*scene.claim(), "failed")
    (last,) = scene.claim()
    for number in killed:
        scene.do(lambda tx, number=number: stops.kill(tx, scene.agent(number), requeue=False))
    for each in others:
        scene.end(each)
    states = ["killed" if number in killed else "completed" for number in (2, 3, 4)]
    assert scene.seat_states() == ["spawning", *states]
    return last


def _retry_all(scene, *numbers: int) -> None:
    for number in numbers or (1, 5, 6, 7):
        _retry(scene, number)


def test_several_that_are_retried_run_at_once_as_at_the_start(scene) -> None:
    last = _one_seat_left(scene)
    _retry(scene, 1)
    assert scene.seat_states().count("idle") == 1  # for one task there is one seat more
    _retry_all(scene, 5, 6, 7)
    assert len(scene.claim()) == 3
    scene.end(last)
    assert len(scene.claim()) == 1
    assert scene.states().count("running") == 4
    assert len(scene.seat_states()) == 4  # those it had, and none beside them


def test_a_seat_that_was_killed_or_has_spent_its_own_stays_ended(scene) -> None:
    _one_seat_left(scene, 3)
    scene.do(lambda tx: budgets.set_limits(tx, f"{SWARM}-002", 0, None))
    _retry_all(scene)
    assert scene.seat_states() == ["spawning", "completed", "killed", "idle"]


def test_no_more_seats_are_reopened_than_the_swarm_is_large(scene) -> None:
    _one_seat_left(scene)
    scene.do(lambda tx: swarms.set_agents_max(tx, SWARM, 2))
    _retry_all(scene)
    assert scene.seat_states() == ["spawning", "idle", "completed", "completed"]
