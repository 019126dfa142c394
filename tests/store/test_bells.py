"""A ticket taken before a ring is rung by it; one taken after waits for the next."""

import trio
import trio.testing

from dashd.store import bells


async def test_a_ticket_taken_before_the_ring_needs_no_wait() -> None:
    bell = bells.Bell()
    ticket = bell.ticket()
    bell.ring()
    with trio.fail_after(1):
        await ticket.wait()


async def test_one_ring_wakes_everybody_and_later_tickets_wait_for_the_next(autojump_clock) -> None:
    bell = bells.Bell()
    woken = []

    async def listen(name: str) -> None:
        await bell.ticket().wait()
        woken.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen, "a")
        nursery.start_soon(listen, "b")
        await trio.testing.wait_all_tasks_blocked()
        bell.ring()
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(woken) == ["a", "b"]
        late = bell.ticket()
        with trio.move_on_after(60) as waited:
            await late.wait()
        assert waited.cancelled_caught
        bell.ring()
        await late.wait()


async def test_look_then_wait_misses_nothing(autojump_clock) -> None:
    bell, value, seen = bells.Bell(), 0, []

    async def look() -> None:
        while not seen or seen[-1] < 50:
            ticket = bell.ticket()
            seen.append(value)
            await trio.lowlevel.checkpoint()  # the change may fall here, between the look and the wait
            await ticket.wait()
            seen.append(value)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            for value in range(1, 51):  # noqa: B007
                bell.ring()
                await trio.lowlevel.checkpoint()
    assert seen[-1] == 50


def test_ringing_with_nobody_there_is_nothing() -> None:
    bell = bells.Bell()
    bell.ring()
    bell.ring()


def test_the_bells_of_a_store_are_three_different_ones() -> None:
    ours = bells.Bells()
    assert len({id(ours.events), id(ours.queue), id(ours.agents)}) == 3
    assert ours.events is not bells.Bells().events


async def test_of_two_bells_one_is_enough(autojump_clock, nursery) -> None:
    first, second = bells.Bell(), bells.Bell()
    waited = trio.Event()

    async def wait() -> None:
        await bells.either(first.ticket(), second.ticket())
        waited.set()

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    assert not waited.is_set()
    second.ring()
    with trio.fail_after(1):
        await waited.wait()
