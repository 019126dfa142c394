"""`agent.logs`: what an agent printed, by offset, waited for without missing a byte."""

import math

import pytest
import trio

from dashd.wire import errors
from tests.fakes.scene import SWARM

FIRST = f"{SWARM}-001"


@pytest.fixture
def claim(scene):
    scene.swarm("a", "b")
    (claimed,) = scene.claim()
    scene.start(claimed)
    return claimed


async def test_an_agent_that_has_run_nothing_has_printed_nothing(call, scene) -> None:
    scene.swarm("a")
    got = await call("agent.logs", agent=FIRST)
    assert (got.attempt, got.text, got.next_offset, got.ended) == (None, "", 0, False)


async def test_the_end_of_the_output_then_on_from_there(call, core, claim) -> None:
    core.spools.prints(claim.attempt_id, b"one\n")
    core.spools.prints(claim.attempt_id, b"two\n")
    got = await call("agent.logs", agent=FIRST, bytes_max=6)
    assert (got.attempt, got.text, got.next_offset, got.ended) == (1, "e\ntwo\n"[-6:], 2, False)
    core.spools.prints(claim.attempt_id, b"three\n")
    assert (await call("agent.logs", agent=FIRST, offset=2)).text == "three\n"


async def test_one_stream_alone(call, core, claim) -> None:
    core.spools.prints(claim.attempt_id, b"out")
    core.spools.prints(claim.attempt_id, b"err", stream=2)
    assert (await call("agent.logs", agent=FIRST, stream="stderr", offset=0)).text == "err"
    assert (await call("agent.logs", agent=FIRST, stream="stdout")).text == "out"
    assert (await call("agent.logs", agent=FIRST)).text == "outerr"


async def test_bytes_that_are_no_text_are_replaced(call, core, claim) -> None:
    core.spools.prints(claim.attempt_id, b"\xff\x00ok")
    assert (await call("agent.logs", agent=FIRST)).text == "�\0ok"


async def test_the_end_is_said_once_everything_has_been_read(call, core, scene, claim) -> None:
    core.spools.prints(claim.attempt_id, b"last")
    scene.end(claim)
    got = await call("agent.logs", agent=FIRST, offset=0)
    assert (got.text, got.ended) == ("last", False)
    got = await call("agent.logs", agent=FIRST, offset=got.next_offset, wait_s=60)
    assert (got.text, got.ended) == ("", True)


async def test_an_earlier_attempt_by_its_number(call, core, scene, claim) -> None:
    core.spools.prints(claim.attempt_id, b"first")
    scene.end(claim)
    (second,) = scene.claim()
    core.spools.prints(second.attempt_id, b"second")
    assert (await call("agent.logs", agent=FIRST)).attempt == 2
    assert (await call("agent.logs", agent=FIRST)).text == "second"
    assert (await call("agent.logs", agent=FIRST, attempt=1)).text == "first"


@pytest.mark.parametrize("number", [3, 1_000_000])
async def test_an_attempt_that_is_not_there(call, claim, number) -> None:
    with pytest.raises(errors.NotFound, match="no attempt") as caught:
        await call("agent.logs", agent=FIRST, attempt=number)
    assert caught.value.path == "attempt"


async def test_waiting_ends_with_more_output(call, core, claim, autojump_clock, nursery) -> None:
    answers = []

    async def follow() -> None:
        answers.append(await call("agent.logs", agent=FIRST, offset=0, wait_s=60))

    nursery.start_soon(follow)
    await trio.testing.wait_all_tasks_blocked()
    assert answers == []
    core.spools.prints(claim.attempt_id, b"more")
    await trio.testing.wait_all_tasks_blocked()
    assert [(got.text, got.next_offset) for got in answers] == [("more", 1)]
    assert trio.current_time() == 0


async def test_waiting_ends_with_the_attempt(call, core, scene, claim, autojump_clock, nursery) -> None:
    answers = []

    async def follow() -> None:
        answers.append(await call("agent.logs", agent=FIRST, offset=0, wait_s=60))

    nursery.start_soon(follow)
    await trio.testing.wait_all_tasks_blocked()
    scene.end(claim)
    core.spools.ring(claim.attempt_id)
    await trio.testing.wait_all_tasks_blocked()
    assert [(got.text, got.ended) for got in answers] == [("", True)]


async def test_waiting_ends_in_time(call, claim, autojump_clock) -> None:
    got = await call("agent.logs", agent=FIRST, offset=0, wait_s=7)
    assert (got.text, got.ended) == ("", False)
    assert math.isclose(trio.current_time(), 7)


async def test_output_that_comes_between_the_look_and_the_wait_is_not_missed(
    call, core, scene, claim, autojump_clock, monkeypatch
) -> None:
    taken = core.spools.ticket

    def just_before(launch_id: str) -> trio.Event:
        core.spools.prints(launch_id, b"in between")
        return taken(launch_id)

    monkeypatch.setattr(core.spools, "ticket", just_before)
    assert (await call("agent.logs", agent=FIRST, offset=0, wait_s=60)).text == "in between"


async def test_a_reader_stays_with_its_attempt_while_the_agent_moves_on(
    call, core, scene, claim, autojump_clock, nursery
) -> None:
    answers = []

    async def follow() -> None:
        answers.append(await call("agent.logs", agent=FIRST, offset=0, wait_s=60))

    nursery.start_soon(follow)
    await trio.testing.wait_all_tasks_blocked()
    core.spools.printed[claim.attempt_id] = [(1, b"bye")]  # printed, and not yet heard of
    scene.end(claim)
    (second,) = scene.claim()
    core.spools.prints(second.attempt_id, b"another attempt")
    core.spools.ring(claim.attempt_id)
    await trio.testing.wait_all_tasks_blocked()
    assert [(got.attempt, got.text, got.ended) for got in answers] == [(1, "bye", False)]


async def test_output_that_was_removed_is_called_so(call, core, scene, claim) -> None:
    core.spools.prints(claim.attempt_id, b"hello\n")
    scene.end(claim)
    scene.run("succeeded")
    await call("swarm.destroy", swarm=SWARM)
    for asked in ({}, {"offset": 0}, {"attempt": 1}):
        with pytest.raises(errors.NotFound, match="has been removed") as caught:
            await call("agent.logs", agent=FIRST, **asked)
        assert f"agent.result {FIRST}" in caught.value.hint
    followed = await call("agent.logs", agent=FIRST, offset=1, wait_s=5)
    assert (followed.text, followed.next_offset, followed.ended) == ("", 1, True)
