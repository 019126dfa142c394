"""Each attempt's listener and key: what they open, for how long, and what a restart finds of them."""

import base64
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from dashd.clock import Clock
from dashd.domain import scope as scopes
from dashd.drivers.pi import PiDriver
from dashd.model_doors import ModelDoors
from dashd.proxy.formats.format import Style
from dashd.proxy.registry import Provider as Configured
from dashd.proxy.tunnel import TunnelRecord, Tunnels
from dashd.proxy.tunnel_records import TunnelRecords
from dashd.runtime.doors import OpenDoor
from dashd.store import agents, proxy_keys
from dashd.store.queue import Claim
from dashd.wire import errors
from tests.fakes.provider import PRICE
from tests.proxy import world as proxy_world
from tests.proxy.world import World

S_MAX = 20.0
STYLES: dict[str, Style] = {"embedded": "embedded"}


class Bed:
    """A proxy with two agents, and their doors."""

    def __init__(self, world: World, ring: trio.Nursery) -> None:
        self.world, self.ring = world, ring
        self.doors = ModelDoors(world.store, Clock(), world.exchange, Tunnels(), ring, STYLES)

    def made(self, ring: trio.Nursery) -> ModelDoors:
        """As a start makes them, for a program that speaks two formats."""
        speaks = {"embedded": PiDriver.formats}
        world = self.world
        return ModelDoors(world.store, Clock(), world.exchange, Tunnels(), ring, STYLES, speaks=speaks)

    def claim(self, number: int = 0, attempt: str = "t1.1") -> Claim:
        return Claim(f"{attempt}-{number}", self.world.agents[number], f"t{number}", proxy_world.SWARM)

    async def keys(self) -> list[tuple[str, bool]]:
        """(attempt, whether it is still good) of every key."""
        query = "SELECT name, revoked_at_ms IS NULL FROM proxy_key ORDER BY created_at_ms, rowid"
        found = await self.world.store.reader.read(lambda db: list(db.execute(query)))
        return [(name, bool(good)) for name, good in found]


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    with trio.fail_after(S_MAX):
        async with proxy_world.open_world(tmp_path, agents_count=2) as world, trio.open_nursery() as ring:
            yield Bed(world, ring)
            ring.cancel_scope.cancel()


async def _connect(opened: OpenDoor) -> trio.SocketStream:
    port = int(opened.access.url.rpartition(":")[2].partition("/")[0])
    return await trio.open_tcp_stream("127.0.0.1", port)


async def _ask(stream: trio.SocketStream, key: str) -> int:
    """The status of a call that costs nothing; 0 where the connection was closed instead."""
    await stream.send_all(
        f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n".encode()
    )
    data = b""
    while b'"object":"list"' not in data and b'"error"' not in data:
        piece = await stream.receive_some(65_536)
        if not piece:
            return 0
        data += piece
    return int(data.split()[1])


async def _status(opened: OpenDoor, key: str) -> int:
    async with await _connect(opened) as stream:
        return await _ask(stream, key)


async def test_a_key_opens_its_own_door_only(bed: Bed) -> None:
    mine, other = (
        await bed.doors.open(bed.claim(0), None, inside=False, calls=True),
        await bed.doors.open(bed.claim(1), None, inside=False, calls=True),
    )
    with mine.listener, other.listener:
        assert mine.access.key != other.access.key
        assert await _status(mine, mine.access.key) == 200
        assert await _status(other, other.access.key) == 200
        assert await _status(mine, other.access.key) == 401
        assert await _status(mine, "") == 401
    found = await bed.world.store.reader.read(lambda db: list(db.execute("SELECT * FROM proxy_key")))
    assert mine.access.key not in repr(found)


async def test_after_the_end_the_key_opens_nothing(bed: Bed) -> None:
    opened = await bed.doors.open(bed.claim(), None, inside=False, calls=True)
    opened.listener.close()
    async with await _connect(opened) as kept:
        assert await _ask(kept, opened.access.key) == 200
        door = bed.doors._doors[bed.claim().attempt_id]
        await bed.doors.close(bed.claim())
        assert door.find(opened.access.key) is None
        assert await _ask(kept, opened.access.key) in (0, 401)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(OSError, match="all attempts to connect"):
        await _connect(opened)
    assert await bed.keys() == [("t1.1-0", False)]
    await bed.doors.close(bed.claim())


async def test_a_late_close_leaves_the_seats_next_attempt_alone(bed: Bed) -> None:
    first, second = bed.claim(0, "t1.1"), bed.claim(0, "t2.1")
    (await bed.doors.open(first, None, inside=False, calls=True)).listener.close()
    opened = await bed.doors.open(second, None, inside=False, calls=True)
    with opened.listener:
        await bed.doors.close(first)
        assert await bed.keys() == [("t1.1-0", False), ("t2.1-0", True)]
        assert await _status(opened, opened.access.key) == 200


async def test_after_a_restart_the_same_key_opens_the_kept_listener(bed: Bed) -> None:
    opened = await bed.doors.open(bed.claim(), None, inside=False, calls=True)
    async with trio.open_nursery() as ring:
        later = ModelDoors(bed.world.store, Clock(), bed.world.exchange, Tunnels(), ring, STYLES)
        await later.resume(bed.claim(), opened.listener.dup(), calls=True)
        bed.doors._open[bed.claim().attempt_id].cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert await _status(opened, opened.access.key) == 200
        await later.resume(bed.claim(), opened.listener.dup(), calls=True)  # its holder was adopted again
        assert await _status(opened, opened.access.key) == 200
        await later.close(bed.claim())
        opened.listener.close()
        assert await bed.keys() == [("t1.1-0", False)]


async def test_a_start_revokes_the_keys_of_attempts_that_have_ended(bed: Bed) -> None:
    (await bed.doors.open(bed.claim(), None, inside=False, calls=True)).listener.close()
    await bed.world.store.writer.apply(proxy_keys.revoke_ended)
    assert await bed.keys() == [("t1.1-0", False)]


async def test_a_failure_leaves_no_listener_behind(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    (
        await bed.doors.open(bed.claim(1), None, inside=False, calls=True)
    ).listener.close()  # whatever is opened once for ever

    async def fails(agent_id: str) -> None:
        raise OSError("no")

    monkeypatch.setattr(bed.doors, "swap", fails)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="no"):
        await bed.doors.open(bed.claim(), None, inside=False, calls=True)
    kept = socket.create_server(("127.0.0.1", 0))
    with pytest.raises(OSError, match="no"):
        await bed.doors.resume(bed.claim(), kept, calls=True)
    assert kept.fileno() == -1
    assert len(os.listdir("/proc/self/fd")) == before


async def test_an_agent_is_refused_as_its_driver_says(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bed.doors, "_styles", {"embedded": "pi", "pi": "openclaw"})
    opened = await bed.doors.open(bed.claim(), None, inside=False, calls=True)
    door = bed.doors._doors[bed.claim().attempt_id]
    assert [door.style, *(caller.style for caller in door.callers())] == ["pi", "pi"]
    await bed.doors.resume(bed.claim(), opened.listener, calls=True)
    door = bed.doors._doors[bed.claim().attempt_id]
    assert [door.style, *(caller.style for caller in door.callers())] == ["pi", "pi"]


async def test_a_swap_wakes_calls_that_are_parked(bed: Bed) -> None:
    (await bed.doors.open(bed.claim(), None, inside=False, calls=True)).listener.close()
    changes = bed.world.registry.changes.ticket()
    await bed.world.store.writer.apply(lambda tx: agents.set_model(tx, bed.world.agents[0], "offline-b"))
    await bed.doors.swap(bed.world.agents[0])
    await changes.wait()


@pytest.mark.slow
async def test_a_hundred_attempts_leave_no_file_open(bed: Bed) -> None:
    before = None
    for number in range(101):
        claim = bed.claim(0, f"t{number}.1")
        opened = await bed.doors.open(claim, None, inside=False, calls=True)
        opened.listener.close()
        assert await _status(opened, opened.access.key) == 200
        await bed.doors.close(claim)
        await trio.testing.wait_all_tasks_blocked()
        if number == 0:
            before = len(os.listdir("/proc/self/fd"))
    assert len(os.listdir("/proc/self/fd")) == before
    assert not bed.doors._open
    assert not bed.doors._doors
    assert not bed.doors._keys
    assert not bed.doors._seats


async def test_a_key_for_hosts_calls_no_model(bed: Bed) -> None:
    """A command that was given hosts pays nothing, so its key must not spend; also after a restart."""
    opened = await bed.doors.open(bed.claim(), None, inside=False, calls=False)
    assert await _status(opened, opened.access.key) == 403
    body = b'{"model":"offline","messages":[{"role":"user","content":"hi"}]}'
    for path in ("chat/completions", "responses", "messages"):
        async with await _connect(opened) as stream:
            head = f"POST /v1/{path} HTTP/1.1\r\nhost: x\r\nx-api-key: {opened.access.key}\r\n"
            await stream.send_all(
                f"{head}connection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
            )
            said = b"".join([piece async for piece in stream])
        assert said.startswith(b"HTTP/1.1 403 "), said
        assert b"calls no model" in said
        assert b"--driver embedded" in said
    holds = await bed.world.store.reader.read(lambda db: list(db.execute("SELECT * FROM hold")))
    assert holds == []
    async with await _connect(opened) as stream:
        word = base64.b64encode(f"dash:{opened.access.key}".encode()).decode()
        await stream.send_all(
            f"CONNECT a.example:443 HTTP/1.1\r\nhost: x\r\nproxy-authorization: Basic {word}\r\n\r\n".encode()
        )
        assert b"--hosts a.example" in await stream.receive_some(4096), "its own door, to other hosts"
    await bed.doors.resume(bed.claim(), opened.listener, calls=False)
    assert await _status(opened, opened.access.key) == 403


async def test_what_earlier_attempts_have_moved_counts(bed: Bed) -> None:
    """Also after a restart, which begins with the same rows."""
    reach = scopes.to_json(msgspec.structs.replace(scopes.DEFAULT, hosts=("a.example",)))
    await bed.world.store.writer.apply(
        lambda tx: tx.execute("UPDATE swarm SET scope = ?, walls = 'required'", (reach,))
    )
    moved = TunnelRecord(bed.world.agents[0], "a.example", 443, "93.184.215.14", 40, 2, "closed", "")
    await TunnelRecords(bed.world.store).note(moved)
    for number, bytes_moved in ((0, 42), (1, 0)):
        claim = bed.claim(number)
        (await bed.doors.open(claim, None, inside=False, calls=False)).listener.close()
        (caller,) = bed.doors._doors[claim.attempt_id].callers()
        assert (caller.hosts, caller.traffic.bytes) == (("a.example",), bytes_moved)


async def test_without_the_price_list_there_is_no_way_to_a_model(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unread() -> None:
        raise errors.Unavailable("reading the price list: timed out")

    monkeypatch.setattr(bed.world.registry, "prepare", unread)
    with pytest.raises(OSError, match="timed out"):
        await bed.doors.open(bed.claim(), None, inside=False, calls=True)
    assert await bed.keys() == []


@pytest.fixture
def claude(bed: Bed) -> Bed:
    """`c` is served in the format of Anthropic's alone."""
    bed.world.registry.add(Configured("two", "anthropic", "http://127.0.0.1:1/v1", models=("c",)))
    bed.world.registry.prices.set("c", PRICE)
    bed.doors = bed.made(bed.ring)
    return bed


@pytest.mark.parametrize("inside", [True, False])
async def test_a_program_is_told_the_format_of_its_model(claude: Bed, inside: bool) -> None:
    agent = claude.world.agents[0]
    assert await claude.doors.spoken(agent) is None
    for number, (model, form) in enumerate((("c", "anthropic"), ("offline", "openai-chat"))):
        claim = claude.claim(0, f"t{number}.1")
        opened = await claude.doors.open(claim, model, inside=inside, calls=True)
        assert (opened.access.name, opened.access.format) == (model, form)
        assert await claude.doors.spoken(agent) == form  # before it is served, in a jail that starts
        listener = opened.listener or socket.create_server(("127.0.0.1", 0))
        if inside:
            await claude.doors.resume(claim, listener, calls=True)
        else:
            listener.close()
        assert await claude.doors.spoken(agent) == form
        await claude.doors.close(claim)
        assert await claude.doors.spoken(agent) is None
    assert not claude.doors._formats


async def test_a_program_is_told_the_format_of_the_model_that_its_agent_was_given(claude: Bed) -> None:
    """While it had nothing to do, so that any of its driver's formats was right."""
    agent = claude.world.agents[0]
    await claude.world.store.writer.apply(lambda tx: agents.set_model(tx, agent, "c"))
    opened = await claude.doors.open(claude.claim(), "offline", inside=True, calls=True)
    assert (opened.access.name, opened.access.format) == ("offline", "anthropic")
    assert await claude.doors.spoken(agent) == "anthropic"


async def test_a_restart_knows_what_a_program_speaks(claude: Bed) -> None:
    agent, claim = claude.world.agents[0], claude.claim()
    await claude.world.store.writer.apply(lambda tx: agents.set_model(tx, agent, "c"))
    opened = await claude.doors.open(claim, "c", inside=False, calls=True)
    later = claude.made(claude.ring)
    await later.resume(claim, opened.listener, calls=True)
    assert await later.spoken(agent) == "anthropic"
    await claude.world.store.writer.apply(lambda tx: agents.set_model(tx, agent, "offline"))
    assert await later.spoken(agent) == "anthropic"  # what it was told, not what it would be told now
    await later.close(claim)
