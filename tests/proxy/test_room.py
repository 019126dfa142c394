"""How many calls of an agent may wait, and what is said to the one beyond."""

from pathlib import Path

import pytest
import trio

from dashd.proxy import room
from dashd.proxy.room import AGENT_BYTES_MAX, BYTES_MAX, CALLS_MAX, SURE_BYTES_MAX, NoRoom, Room, Seat
from dashd.proxy.waits import Waits
from tests.fakes.clock import FixedClock
from tests.fakes.provider import Provider, open_provider
from tests.proxy.test_call import call
from tests.proxy.world import Said, open_world, pause, until


def _room() -> Room:
    return Room(Waits(FixedClock()))


def test_a_few_calls_of_each_agent_wait() -> None:
    found = _room()
    seats = [Seat(found, "a", 1) for _ in range(CALLS_MAX)]
    for seat in seats:
        seat.take()
        seat.take()
    with pytest.raises(NoRoom, match="8 calls of this agent wait already"):
        Seat(found, "a", 1).take()
    Seat(found, "b", 1).take()
    seats[0].leave()
    seats[0].leave()
    Seat(found, "a", 1).take()


def test_the_largest_call_waits_alone() -> None:
    found = _room()
    large = Seat(found, "a", AGENT_BYTES_MAX)
    large.take()
    with pytest.raises(NoRoom, match=f"{AGENT_BYTES_MAX} bytes of {AGENT_BYTES_MAX} already"):
        Seat(found, "a", 1).take()
    large.leave()
    Seat(found, "a", 1).take()


def test_who_keeps_little_has_room_whatever_the_others_keep() -> None:
    found = _room()
    for number in range(BYTES_MAX // AGENT_BYTES_MAX):
        Seat(found, f"large-{number}", AGENT_BYTES_MAX).take()
    with pytest.raises(NoRoom, match=f"keep {BYTES_MAX} bytes of {BYTES_MAX}"):
        Seat(found, "a", SURE_BYTES_MAX + 1).take()
    Seat(found, "a", SURE_BYTES_MAX).take()


def test_a_program_outside_needs_no_seat() -> None:
    found = _room()
    for _ in range(2 * CALLS_MAX):
        Seat(found, None, AGENT_BYTES_MAX).take()
    Seat(found, None, 1).leave()


def test_who_waits_for_something_is_told_of_and_has_a_seat() -> None:
    found = _room()
    seat = Seat(found, "a", AGENT_BYTES_MAX)
    with seat.during("rate", "requests_per_minute", "slow"):
        assert (wait := found.waits.of("a")) is not None
        assert wait.what == "rate"
        with pytest.raises(NoRoom):
            Seat(found, "a", 1).take()
    assert found.waits.of("a") is None


async def test_what_is_beyond_is_told_to_come_back_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "CALLS_MAX", 2)
    async with open_provider(Provider()) as provider, open_world(tmp_path, agents_count=2) as world:
        world.use(provider)
        await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "pause"))
        answers: list[Said] = []

        async def waits() -> None:
            answers.append(await call(world))

        async with trio.open_nursery() as nursery:
            for count in (1, 2):
                nursery.start_soon(waits)
                await until(lambda count=count: len(world.waiting) == count)
            refused = await call(world)
            assert (refused.status, refused.headers["retry-after"]) == (503, "10")
            assert "2 calls of this agent wait already" in refused.json["error"]["message"]
            assert (answers, len(world.waiting)) == ([], 2)
            await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "run"))
        assert [each.status for each in answers] == [200, 200]
        assert world.exchange.room._taken == {}


async def test_a_caller_that_goes_away_while_it_is_held_leaves_its_seat(tmp_path: Path) -> None:
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)
        await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "pause"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, world)
            await until(lambda: world.exchange.room._taken)
            nursery.cancel_scope.cancel()
        await until(lambda: not world.exchange.room._taken)
        assert (world.waiting, provider.calls) == ([], 0)
