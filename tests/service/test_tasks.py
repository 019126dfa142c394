"""`task.*`: the units of work."""

import pytest

from dashd.wire import errors
from tests.fakes.scene import SWARM

FIRST = f"{SWARM}-t1"


async def test_lists_are_walked_by_cursor(call, scene) -> None:
    scene.swarm(*"abcde")
    scene.run("succeeded")
    seen, cursor = [], ""
    while True:
        page = await call("task.list", swarm=SWARM, limit=2, cursor=cursor)
        assert page.total == 5
        seen += page.items
        if not (cursor := page.next_cursor):
            break
    assert [item.item for item in seen] == list("abcde")
    assert (seen[0].state, seen[0].agent, seen[1].agent) == ("completed", f"{SWARM}-001", None)
    assert [item.item for item in (await call("task.list", states=["completed"])).items] == ["a"]
    with pytest.raises(errors.UnknownSwarm):
        await call("task.list", swarm="zzzzzz")


async def test_a_long_item_is_cut_in_lists_and_whole_on_its_own(call, scene) -> None:
    scene.swarm("x" * 10_000)
    (item,) = (await call("task.list")).items
    assert len(item.item) == 500
    assert item.item.endswith("x…")
    assert len((await call("task.get", task=FIRST)).item) == 10_000


async def test_get_shows_how_it_stands(call, scene, clock) -> None:
    scene.swarm("a", "b", strategy="pipeline", priority=1)
    scene.run("failed")
    got = await call("task.get", task=FIRST)
    assert (got.state, got.priority, got.level, got.cause) == ("retrying", "high", "high", "failed it")
    assert got.retry_at == "2026-11-20T10:00:01.000Z"
    assert [(run.number, run.state, run.reason) for run in got.attempts] == [(1, "failed", "failed it")]
    assert (await call("task.get", task=f"{SWARM}-t2")).after == [FIRST]


@pytest.mark.parametrize("method", ["get", "cancel", "retry"])
async def test_an_unknown_task_is_refused(call, method) -> None:
    with pytest.raises(errors.UnknownTask):
        await call(f"task.{method}", task="nothing")


async def test_cancel_of_what_waits_is_done_at_once_and_ends_the_swarm(call, scene) -> None:
    scene.swarm("a", "b", strategy="pipeline")
    got = await call("task.cancel", task=FIRST)
    assert (got.state, got.changed, got.cursor) == ("cancelled", True, scene.seq)
    assert (scene.states(), scene.row().state) == (["cancelled", "cancelled"], "failed")
    again = await call("task.cancel", task=FIRST)
    assert (again.state, again.changed) == ("cancelled", False)


async def test_cancel_of_what_runs_comes_with_its_end(call, scene) -> None:
    scene.swarm("a")
    (claim,) = scene.claim()
    got = await call("task.cancel", task=FIRST)
    assert (got.state, got.changed) == ("running", True)
    scene.end(claim, "failed")
    assert scene.task().state == "cancelled"


async def test_cancel_wins_over_a_requeue_that_came_before(call, scene) -> None:
    scene.swarm("a", "b", agents_made=2)
    claim, _ = scene.claim()
    await call("agent.kill", agent=claim.agent_id, requeue=True)
    await call("task.cancel", task=claim.task_id)
    scene.end(claim, "failed")
    assert scene.task().state == "cancelled"


async def test_retry_gives_all_retries_again(call, scene, clock) -> None:
    scene.swarm("a", "b", retries=1, agents_made=1)
    scene.run("failed")
    clock.advance(60_000)
    scene.run("failed")
    assert scene.task().state == "dead"
    since = scene.seq
    got = await call("task.retry", task=FIRST)
    assert (got.state, got.changed) == ("ready", True)
    assert (scene.task().attempts, scene.task().cause) == (0, None)
    assert scene.events(since)[0]["data"] == {"by": "hand"}
    scene.run("failed")
    assert scene.task().state == "retrying"


async def test_retry_of_one_that_waits_for_its_delay_starts_it_now(call, scene) -> None:
    scene.swarm("a")
    scene.run("failed")
    await call("task.retry", task=FIRST)
    assert (scene.task().state, scene.task().attempts) == ("ready", 1)
    assert len(scene.claim()) == 1


@pytest.mark.parametrize(("number", "state"), [(1, "completed"), (2, "running"), (3, "ready")])
async def test_only_what_ended_badly_can_be_retried(call, scene, number, state) -> None:
    scene.swarm("a", "b", "c")
    scene.run("succeeded")
    scene.claim()
    assert scene.task(number).state == state
    with pytest.raises(errors.IllegalTransition, match=state) as caught:
        await call("task.retry", task=f"{SWARM}-t{number}")
    assert caught.value.hint


async def test_retry_of_a_cancelled_task_needs_its_prerequisites(call, scene) -> None:
    scene.swarm(*"abcdefgh", "last", strategy="map-reduce", agents_made=8, retries=0)
    claims = scene.claim()
    scene.end(claims[0], "failed")
    with pytest.raises(errors.Conflict) as caught:
        await call("task.retry", task=f"{SWARM}-t9")
    assert FIRST in caught.value.message
    assert "and others" in caught.value.message
    assert f"{SWARM}-t6" not in caught.value.message
    await call("task.retry", task=FIRST)
    (again,) = scene.claim()
    for claim in (again, *claims[1:]):
        scene.end(claim)
    # All that was left had ended, so the swarm has too: the last cannot come back any more.
    with pytest.raises(errors.SwarmEnded):
        await call("task.retry", task=f"{SWARM}-t9")


async def test_retry_of_a_cancelled_task_whose_prerequisites_have_completed(call, scene) -> None:
    scene.swarm("a", "b", "c", strategy="map-reduce", agents_made=2)
    first, second = scene.claim()
    await call("task.cancel", task=f"{SWARM}-t3")
    scene.end(first)
    with pytest.raises(errors.Conflict, match=f"needs {SWARM}-t2"):
        await call("task.retry", task=f"{SWARM}-t3")
    assert scene.task(3).state == "cancelled"
    assert second.task_id == f"{SWARM}-t2"
