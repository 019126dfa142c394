"""A gateway's listener and the keys of its agents: who is let in, who rests, what a restart finds."""

import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from dashd.clock import Clock
from dashd.drivers.openclaw import OpenClawDriver
from dashd.gateway_doors import GatewayKeys
from dashd.proxy.rates import Limits, Rates
from dashd.proxy.registry import Provider as Configured
from dashd.proxy.room import CALLS_MAX
from dashd.store import added_gateways, agents, gateways
from dashd.store.added_gateways import AddedGatewayRow
from dashd.store.queue import Claim
from dashd.store.transaction import Tx
from tests.fakes.provider import PRICE
from tests.proxy import world as proxy_world
from tests.proxy.world import SWARM, World
from tests.test_model_doors import _ask

S_MAX = 20.0


class Bed:
    """A proxy, a swarm of two agents, and its gateway."""

    def __init__(self, world: World, ring: trio.Nursery) -> None:
        self.world, self.ring = world, ring
        self.doors = self.fresh()
        self.port = 0

    def fresh(self, limits: Limits | None = None) -> GatewayKeys:
        world = self.world
        own, speaks = limits or Limits(), OpenClawDriver.formats
        return GatewayKeys(world.store, Clock(), world.exchange, self.ring, "openclaw", own, speaks)

    async def open(self, doors: GatewayKeys | None = None) -> str:
        """Its launch; the gateway is served from now on."""
        row = await self.world.store.own.read(lambda db: gateways.open_of(db, SWARM))
        row = row or await self.world.store.writer.apply(lambda tx: gateways.insert(tx, SWARM, "t"))
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        await (doors or self.doors).serve(row.launch_id, listener)
        return row.launch_id

    def claim(self, number: int = 0) -> Claim:
        return Claim(f"t{number}.1", self.world.agents[number], f"t{number}", SWARM)

    async def status(self, key: str) -> int:
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            return await _ask(stream, key)


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    with trio.fail_after(S_MAX):
        async with proxy_world.open_world(tmp_path, agents_count=2) as world, trio.open_nursery() as ring:
            yield Bed(world, ring)
            ring.cancel_scope.cancel()


async def test_a_key_opens_while_an_attempt_of_its_agent_is_let_in(bed: Bed) -> None:
    launch = await bed.open()
    access = await bed.doors.keys(launch, SWARM, bed.world.agents[:2], None)
    mine, other = (access[agent].key for agent in bed.world.agents[:2])
    assert await bed.status(mine) == 400  # no attempt of it is in, so that it is nobody's run
    bed.doors.hold_off(launch, on=False)
    assert (await bed.status(mine), await bed.status("dk_wrong")) == (400, 400)
    await bed.doors.let_in(launch, bed.claim())
    assert (await bed.status(mine), await bed.status(other)) == (200, 400)
    bed.doors.hold_off(launch, on=True)
    assert await bed.status(mine) == 503
    bed.doors.hold_off(launch, on=False)
    assert await bed.status(mine) == 200
    bed.doors.keep_out(bed.claim())
    assert await bed.status(mine) == 400


async def test_the_end_of_an_earlier_attempt_keeps_no_later_one_out(bed: Bed) -> None:
    launch = await bed.open()
    key = (await bed.doors.keys(launch, SWARM, bed.world.agents[:1], None))[bed.world.agents[0]].key
    bed.doors.hold_off(launch, on=False)
    await bed.doors.let_in(launch, bed.claim())
    bed.doors.keep_out(Claim("t9.1", bed.world.agents[0], "t9", SWARM))
    assert await bed.status(key) == 200


async def test_calls_under_way_count_against_who_is_let_in_again(bed: Bed) -> None:
    """After a connection that was lost, or for the agent's next attempt: limits are the agent's."""
    doors, agent = bed.fresh(Limits(tokens_per_minute=10)), bed.world.agents[0]
    launch = await bed.open(doors)
    await doors.keys(launch, SWARM, bed.world.agents[:2], None)

    def rates(number: int = 0) -> Rates:
        found = doors._served[launch].inside[bed.world.agents[number]][1].rates
        assert found is not None
        return found

    await doors.let_in(launch, bed.claim())
    rates().begin(trio.current_time(), 100)
    for attempt in ("t0.1", "t9.1"):
        doors.keep_out(bed.claim())
        await doors.let_in(launch, Claim(attempt, agent, attempt[:2], SWARM))
        slow = rates().slowest(trio.current_time())
        assert slow is not None
        assert slow.under_way
    await doors.let_in(launch, bed.claim(1))
    assert rates(1).slowest(trio.current_time()) is None  # another agent's are its own
    rates().end(100)
    assert rates().slowest(trio.current_time()) is None


async def test_a_model_that_is_swapped_is_that_of_the_next_call(bed: Bed) -> None:
    launch = await bed.open()
    await bed.doors.keys(launch, SWARM, bed.world.agents[:1], None)
    await bed.doors.let_in(launch, bed.claim())
    caller = bed.doors._served[launch].inside[bed.world.agents[0]][1]
    assert caller.model is None
    await bed.world.store.writer.apply(lambda tx: agents.set_model(tx, bed.world.agents[0], "other"))
    await bed.doors.swap(bed.world.agents[0])
    assert caller.model == "other"


async def test_after_a_restart_the_key_is_known_and_waits_for_its_attempt(bed: Bed) -> None:
    launch = await bed.open()
    key = (await bed.doors.keys(launch, SWARM, bed.world.agents[:1], None))[bed.world.agents[0]].key
    again = bed.fresh()
    await bed.open(again)
    again.hold_off(launch, on=False)
    assert await bed.status(key) == 400  # it has no attempt under way
    await again.let_in(launch, bed.claim())
    assert await bed.status(key) == 200
    found = await bed.world.store.own.read(lambda db: list(db.execute("SELECT * FROM proxy_key")))
    assert key not in repr(found)


async def test_with_its_gateway_a_key_ends(bed: Bed) -> None:
    launch = await bed.open()
    await bed.doors.keys(launch, SWARM, bed.world.agents[:1], None)
    await bed.doors.close(launch)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(OSError, match="all attempts to connect"):
        await bed.status("")
    query = "SELECT count(*) FROM proxy_key WHERE revoked_at_ms IS NULL"
    assert await bed.world.store.own.read(lambda db: db.execute(query).get) == 0


DOOR = "added:desk"
FIRST, SECOND = f"{DOOR}@111111", f"{DOOR}@222222"


async def _listen(bed: Bed, doors: GatewayKeys, port: int | None = None) -> int:
    await bed.world.store.writer.apply(_put_desk)
    bed.port = await doors.listen(DOOR, "desk", port)
    return bed.port


def _put_desk(tx) -> None:
    if added_gateways.find(tx.db, "desk") is None:
        added_gateways.put(tx, AddedGatewayRow("desk", "ws://127.0.0.1:1", "file", None, "[]", None, 4, 0))


async def test_an_added_one_has_a_door_on_loopback_and_keys_for_each_of_its_starts(bed: Bed) -> None:
    port = await _listen(bed, bed.doors)
    access = (await bed.doors.keys(FIRST, SWARM, bed.world.agents[:1], None))[bed.world.agents[0]]
    assert access.url == f"http://127.0.0.1:{port}/v1"
    assert _listening_on(port) == {"0100007F"}
    await bed.doors.let_in(FIRST, bed.claim())
    assert await bed.status(access.key) == 503  # nobody knows whose run it is
    bed.doors.hold_off(FIRST, on=False)
    assert await bed.status(access.key) == 200
    assert bed.doors.holders(FIRST) == {bed.world.agents[0]}
    await bed.doors.retire(SECOND)  # it has begun again: what it takes up by itself has the former key
    assert await bed.status(access.key) == 400
    assert bed.doors.holders(SECOND) == set()
    again = (await bed.doors.keys(SECOND, SWARM, bed.world.agents[:1], None))[bed.world.agents[0]]
    assert (await bed.status(again.key), await bed.status(access.key)) == (200, 400)
    await bed.doors.forget(SECOND, bed.world.agents[:1])
    assert await bed.status(again.key) == 400
    assert bed.doors.holders(SECOND) == set()


async def test_after_a_restart_the_port_is_the_same_and_another_one_where_it_is_taken(bed: Bed) -> None:
    port = await _listen(bed, bed.doors)
    key = (await bed.doors.keys(FIRST, SWARM, bed.world.agents[:1], None))[bed.world.agents[0]].key
    assert await _listen(bed, bed.fresh(), port) != port  # the former one has it
    bed.doors._served[DOOR].accepting.cancel()
    await trio.testing.wait_all_tasks_blocked()
    again = bed.fresh()
    assert await _listen(bed, again, port) == port
    again.hold_off(FIRST, on=False)
    assert (await bed.status(key), again.holders(FIRST)) == (400, {bed.world.agents[0]})
    await again.let_in(FIRST, bed.claim())
    assert await bed.status(key) == 200


async def test_where_the_gateway_has_ended_meanwhile_nobody_is_let_in(bed: Bed) -> None:
    await _listen(bed, bed.doors)
    await bed.doors.shut(DOOR)
    await bed.doors.let_in(FIRST, bed.claim())
    assert bed.doors.holders(FIRST) == set()


async def test_shut_it_leaves_nothing(bed: Bed) -> None:
    await _listen(bed, bed.doors)
    await bed.doors.keys(FIRST, SWARM, bed.world.agents[:1], None)
    await bed.doors.keys(SECOND, SWARM, bed.world.agents[:1], None)
    await bed.doors.shut(DOOR)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(OSError, match="all attempts to connect"):
        await bed.status("")
    query = "SELECT count(*) FROM proxy_key WHERE revoked_at_ms IS NULL"
    assert await bed.world.store.own.read(lambda db: db.execute(query).get) == 0


def _listening_on(port: int) -> set[str]:
    """The addresses that something listens on at this port, as the kernel writes them."""
    lines = [each.split() for each in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    found = [line[1].split(":") for line in lines if line[3] == "0A"]
    return {address for address, number in found if int(number, 16) == port}


async def test_held_calls_shut_no_other_agent_of_the_gateway_out(tmp_path: Path) -> None:
    """Eight agents that are paused with eight calls each had all places of the listener, for days."""
    async with (
        proxy_world.open_world(tmp_path, agents_count=9, deadline_s=3 * S_MAX) as world,
        trio.open_nursery() as ring,
    ):
        bed = Bed(world, ring)
        launch = await bed.open()
        access = await bed.doors.keys(launch, SWARM, world.agents, None)
        bed.doors.hold_off(launch, on=False)
        for number in range(9):
            await bed.doors.let_in(launch, bed.claim(number))
        keys = [access[agent].key for agent in world.agents]
        for agent in world.agents[:8]:
            await world.store.writer.apply(partial(proxy_world.pause, agent=agent, wanted="pause"))
        call = proxy_world.chat(model="offline")
        for _ in range(CALLS_MAX):
            for key in keys[:8]:
                ring.start_soon(proxy_world.ask, bed.port, proxy_world.request(call, key=key))
        await proxy_world.until(lambda: len(world.waiting) == 8 * CALLS_MAX)
        assert await bed.status(keys[8]) == 200
        ring.cancel_scope.cancel()


async def test_a_gateway_is_told_the_format_of_its_swarm_s_model(bed: Bed) -> None:
    """Before it runs as well, after a restart, and until it ends: whatever model an agent is given."""
    agent = bed.world.agents[0]
    assert await bed.doors.spoken(agent) is None  # its swarm has none
    bed.world.registry.add(Configured("two", "anthropic", "http://127.0.0.1:1/v1", models=("c",)))
    bed.world.registry.prices.set("c", PRICE)

    def as_gateway(tx: Tx) -> None:
        tx.execute("UPDATE swarm SET mode = 'gateway', model = 'c'")
        agents.set_model(tx, agent, "offline")

    await bed.world.store.writer.apply(as_gateway)
    assert await bed.doors.spoken(agent) == "anthropic"
    launch = await bed.open()
    access = await bed.doors.keys(launch, SWARM, [agent], "c")
    assert (access[agent].name, access[agent].format) == ("c", "anthropic")
    bed.world.registry.add(Configured("two", "openai-chat", "http://127.0.0.1:1/v1", models=("c",)))
    assert await bed.fresh().spoken(agent) == "openai-chat"
    assert await bed.doors.spoken(agent) == "anthropic"  # what it was told, not what it would be told now
    await bed.doors.forget(launch, [agent])
    assert await bed.doors.spoken(agent) == "openai-chat"
    await bed.doors.close(launch)
    assert not bed.doors._formats
