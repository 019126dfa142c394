"""Who waits for more output of which launch."""

import trio.testing

from dashd.runtime.growth import Growth


async def test_a_ring_wakes_all_who_wait_for_that_launch(nursery, autojump_clock) -> None:
    growth = Growth()
    woken = []

    async def wait(name: str, launch_id: str) -> None:
        await growth.ticket(launch_id).wait()
        woken.append(name)

    for name, launch_id in (("a", "one"), ("b", "one"), ("c", "two")):
        nursery.start_soon(wait, name, launch_id)
    await trio.testing.wait_all_tasks_blocked()
    growth.ring("one")
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(woken) == ["a", "b"]
    growth.ring("two")
    await trio.testing.wait_all_tasks_blocked()
    assert "c" in woken


def test_a_ring_that_nobody_hears_leaves_nothing_behind() -> None:
    growth = Growth()
    growth.ring("one")
    ticket = growth.ticket("one")
    assert not ticket.is_set()
    growth.ring("one")
    assert ticket.is_set()
    assert not growth._waiting


def test_a_daemon_that_stops_wakes_everybody() -> None:
    growth = Growth()
    tickets = [growth.ticket("one"), growth.ticket("two")]
    growth.ring_all()
    assert all(ticket.is_set() for ticket in tickets)
    assert not growth._waiting
