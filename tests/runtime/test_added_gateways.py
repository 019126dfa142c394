"""Which added gateways there is a connection to: one a name, as long as it is of use."""

import pytest
import trio

from dashd.runtime.added_gateways import AddedGateways
from dashd.store import added_gateways, budgets, proxy_keys
from dashd.store.added_gateways import AddedGatewayRow

DESK = AddedGatewayRow("desk", "ws://127.0.0.1:1", "file", None, "[]", None, 4, 0)


class FakeGateway:
    """See runtime.added_gateway; it runs until it is told to end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.uses = 0
        self.ending = False
        self._ended = trio.Event()

    def end(self) -> None:
        self.ending = True
        self._ended.set()

    async def run(self) -> None:
        await self._ended.wait()
        await trio.sleep(1)


@pytest.fixture
async def found(bed, nursery):
    for name in ("desk", "attic"):
        bed.scene.do(lambda tx, name=name: added_gateways.put(tx, rename(name)))
    bed.scene.swarm("a")
    bed.scene.do(lambda tx: proxy_keys.insert(tx, b"1" * 32, budgets.PROJECT, "aaaaaa-001", "added:attic@1"))
    made = AddedGateways()
    await nursery.start(made.run, bed.store, FakeGateway)
    return made


def rename(name):
    return AddedGatewayRow(name, DESK.url, "file", None, "[]", None, 4, 0)


async def test_what_an_earlier_daemon_left_is_taken_up_at_once(found, autojump_clock) -> None:
    assert set(found._found) == {"attic"}
    attic = found._found["attic"]
    assert (await found.of("attic"), attic.uses) == (attic, 1)


async def test_one_that_is_needed_is_made_once_and_after_its_end_anew(found, autojump_clock) -> None:
    first = await found.of("desk")
    assert (await found.of("desk"), first.uses) == (first, 2)
    first.end()
    second = await found.of("desk")
    assert (trio.current_time() >= 1, second is not first) == (True, True)


async def test_there_is_none_of_a_name_that_was_not_added(found, autojump_clock) -> None:
    assert await found.of("cellar") is None


async def test_none_begins_where_all_are_being_let_go(bed, autojump_clock, monkeypatch) -> None:
    """A look at rows is not cut short, and dashd may have begun to stop meanwhile."""
    bed.scene.do(lambda tx: added_gateways.put(tx, DESK))
    made = AddedGateways()
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run, bed.store, FakeGateway)
        nursery.cancel_scope.cancel()

    async def read(query):
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        return query(bed.store.db)

    monkeypatch.setattr(bed.store.own, "read", read)
    with trio.CancelScope() as stopping:
        stopping.cancel()
        await made.of("desk")
    assert stopping.cancelled_caught
