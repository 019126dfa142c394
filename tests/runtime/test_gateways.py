"""Which gateway a swarm has: one, until it has ended, then another."""

import pytest
import trio
import trio.testing

from dashd.runtime.gateways import Gateways


class FakeGateway:
    """See runtime.gateway.Gateway; it runs until it is told to end."""

    def __init__(self, swarm_id, row) -> None:
        self.swarm_id, self.row = swarm_id, row
        self.ending = False
        self._ended = trio.Event()

    def end(self, why: str) -> None:
        self.ending = True
        self._ended.set()

    async def never_began(self) -> bool:
        """One that was left is known to be of no use once it has ended."""
        if self.row is None:
            return False
        await self._ended.wait()
        return True

    def has(self, launch_id: str) -> bool:
        return launch_id == f"{self.swarm_id}-g1"

    async def run(self) -> None:
        await self._ended.wait()
        await trio.sleep(1)


class Row:
    swarm_id = "s1"


@pytest.fixture
async def gateways(nursery):
    made = Gateways()
    await nursery.start(made.run, FakeGateway, [Row()])
    return made


async def test_one_that_was_left_is_the_swarms(gateways, autojump_clock) -> None:
    assert (await gateways.of("s1")).row is not None
    other = await gateways.of("s2")
    assert (other.row, await gateways.of("s2")) == (None, other)
    assert gateways.find("s3") is None
    assert (gateways.named("s2-g1"), gateways.named("s3-g1")) == (other, None)


async def test_the_next_one_begins_when_the_last_one_has_ended(gateways, autojump_clock) -> None:
    first = await gateways.of("s1")
    first.end("")
    second = await gateways.of("s1")
    assert trio.current_time() >= 1
    assert second is not first
    assert gateways.find("s1") is second


async def test_one_that_was_left_and_never_began_is_followed_by_another(
    gateways, nursery, autojump_clock
) -> None:
    left, found = await gateways.of("s1"), []

    async def begun() -> None:
        found.append(await gateways.begun("s1"))

    nursery.start_soon(begun)
    await trio.sleep(10)
    assert found == []  # it may have begun
    left.end("")
    await trio.sleep(10)
    assert found == [gateways.find("s1")]
    assert (found[0] is not left, found[0].row) == (True, None)


async def test_all_are_ended_together(gateways, autojump_clock) -> None:
    await gateways.of("s2")
    with trio.fail_after(2):
        await gateways.end_all()
    assert (gateways.find("s1"), gateways.find("s2")) == (None, None)


async def test_none_begins_where_all_are_being_let_go(autojump_clock) -> None:
    """An attempt comes from a write, which is not cancelled, when dashd has begun to stop."""
    made = Gateways()
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run, FakeGateway, [])
        nursery.cancel_scope.cancel()
    with trio.CancelScope() as stopping:
        stopping.cancel()
        await made.of("s1")
    assert stopping.cancelled_caught
