"""Making an ended task ready again by hand: what becomes of its seat."""

import pytest

from dashd.service import retries
from dashd.store import agents, stops, swarms
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
