"""`event.list` and `event.wait`: by cursor, with a bell."""

import math

import pytest
import trio
import trio.testing

from dashd.service import events
from dashd.wire import errors
from dashd.wire.methods import event as wire
from tests.fakes.scene import SWARM


def _seqs(got) -> list[int]:
    return [event.seq for event in got.events]


async def test_list_goes_on_from_its_cursor(call, scene) -> None:
    scene.swarm("a", "b", "c", agents_made=3)  # agent.spawned three times
    got = await call("event.list", limit=2)
    assert (_seqs(got), got.cursor, got.more, got.timed_out) == ([1, 2], 2, True, False)
    got = await call("event.list", since=2, limit=2)
    assert (_seqs(got), got.cursor, got.more) == ([3], 3, False)
    got = await call("event.list", since=3)
    assert (got.events, got.cursor, got.more) == ([], 3, False)
    assert got.events == []


async def test_filters(call, scene) -> None:
    scene.swarm("a", retries=0)
    scene.swarm("b", swarm_id="bbbbbb")
    scene.run("failed")
    kinds = [event.kind for event in (await call("event.list", swarm=SWARM, kinds=["task.*"])).events]
    assert kinds == ["task.assigned", "task.started", "task.failed", "task.dead"]
    kinds = [event.kind for event in (await call("event.list", attention=True)).events]
    assert kinds == ["task.dead", "swarm.failed"]
    (event,) = (await call("event.list", kinds=["swarm.failed"])).events
    assert (event.at, event.swarm) == ("2026-11-20T10:00:00.000Z", SWARM)


@pytest.mark.parametrize("method", ["event.list", "event.wait"])
@pytest.mark.parametrize(
    ("params", "kind", "path"),
    [
        ({"kinds": ["task.*", "taks.dead"]}, errors.InvalidParams, "kinds"),
        ({"swarm": "zzzzzz"}, errors.UnknownSwarm, "swarm"),
        ({"since": 99}, errors.InvalidParams, "since"),
        ({"since": 2**63 - 1}, errors.InvalidParams, "since"),
    ],
)
async def test_what_could_never_match_is_refused(call, method, params, kind, path) -> None:
    with pytest.raises(kind) as caught:
        await call(method, **params)
    assert caught.value.path == path
    assert caught.value.hint


async def test_wait_answers_at_once_where_there_is_something(call, scene, autojump_clock) -> None:
    scene.swarm("a")
    got = await call("event.wait", timeout_s=60)
    assert (_seqs(got), got.timed_out) == ([1], False)
    assert trio.current_time() == 0


async def test_a_wait_of_no_time_is_a_look(call, scene, autojump_clock) -> None:
    scene.swarm("a")
    assert _seqs(await call("event.wait", timeout_s=0)) == [1]
    got = await call("event.wait", since=1, timeout_s=0)
    assert (got.events, got.cursor, got.timed_out) == ([], 1, True)


async def test_wait_is_woken_by_the_commit(call, scene, autojump_clock, nursery) -> None:
    answers = []

    async def wait() -> None:
        answers.append(await call("event.wait", timeout_s=60))

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    scene.swarm("a")
    await trio.testing.wait_all_tasks_blocked()
    assert [_seqs(got) for got in answers] == [[1]]
    assert trio.current_time() == 0


async def test_what_is_not_wanted_wakes_nobody_for_long_and_is_not_read_again(
    call, scene, autojump_clock, nursery
) -> None:
    scene.swarm("a", retries=0)
    answers = []

    async def wait() -> None:
        answers.append(await call("event.wait", since=1, kinds=["swarm.*"], swarm=SWARM, timeout_s=60))

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    (claim,) = scene.claim()
    scene.start(claim)
    await trio.testing.wait_all_tasks_blocked()
    assert answers == []
    scene.end(claim)
    await trio.testing.wait_all_tasks_blocked()
    (got,) = answers
    assert [event.kind for event in got.events] == ["swarm.completed"]
    assert got.cursor == scene.seq


async def test_wait_says_when_its_time_was_over_and_where_to_go_on(call, scene, autojump_clock) -> None:
    scene.swarm("a")
    got = await call("event.wait", since=0, kinds=["task.dead"], timeout_s=25)
    assert (got.events, got.cursor, got.more, got.timed_out) == ([], 1, False, True)
    assert math.isclose(trio.current_time(), 25)


async def test_a_stopping_daemon_lets_nobody_wait(call, core, scene, autojump_clock) -> None:
    core.daemon.state = "stopping"
    got = await call("event.wait", timeout_s=3_600)
    assert got.timed_out
    assert trio.current_time() == 0


async def test_the_same_through_threads(store, caller, core) -> None:
    """Against the real store: an event that is committed while the reader waits."""
    object.__setattr__(core, "store", store)
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            got = await events.wait(core, caller, wire.WaitEvents(timeout_s=10))
            assert _seqs(got) == [1]
            nursery.cancel_scope.cancel(reason="seen")

        nursery.start_soon(wait)
        await store.writer.apply(lambda tx: tx.emit("system.alert"))
        await trio.sleep_forever()
