"""The door for programs outside: when it is open, to whom, for how long, and at whose expense."""

import hashlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from dashd.outside_door import OutsideDoor
from dashd.proxy.rates import Limits
from dashd.store import access_keys, budgets, lifecycle, stops, swarms, tasks
from dashd.store.access_keys import KeyRow
from tests.fakes.clock import FixedClock
from tests.proxy import world as proxy_world
from tests.proxy.world import Said, World, ask, chat, request

S_MAX = 20.0


class Bed:
    """A proxy, its outside door, and keys `s1`, `s2` …"""

    def __init__(
        self, world: World, ring: trio.Nursery, *, port: int = 0, limits: Limits | None = None
    ) -> None:
        self.world = world
        self.clock = FixedClock()
        self.ring = ring
        self.door = OutsideDoor(
            world.store, self.clock, world.exchange, ring, port=port, limits=limits or Limits()
        )

    async def key(self, number: int = 1, *, limit: int | None = None, **changes: Any) -> str:
        key_id, secret = f"key-{number}", f"s{number}"
        fields = dict.fromkeys(KeyRow.__struct_fields__) | {
            "id": key_id,
            "kind": "proxy",
            "name": key_id,
            "budget_id": key_id,
            "created_at_ms": number,
            "unsafe_no_jail": 0,
            "hash": hashlib.sha256(secret.encode()).hexdigest(),
        }

        def operation(tx: Any) -> None:
            budgets.insert(tx, budgets.new(key_id, "key", "project", None, at_ms=0, limit=limit))
            access_keys.insert(tx, KeyRow(**(fields | changes)))

        await self.world.store.writer.apply(operation)
        await self.door.follow()
        return secret

    async def call(self, secret: str, model: str = "offline", path: str = "/v1/chat/completions") -> Said:
        port = int(self.door.url.rpartition(":")[2].partition("/")[0])
        return await ask(port, request(chat(model=model), key=secret, path=path))

    async def write(self, operation: Any) -> None:
        await self.world.store.writer.apply(operation)
        await self.door.follow()


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    with trio.fail_after(S_MAX):
        async with proxy_world.open_world(tmp_path) as world, trio.open_nursery() as ring:
            yield Bed(world, ring)
            ring.cancel_scope.cancel()


async def test_it_is_open_from_the_first_key_to_the_last(bed: Bed) -> None:
    await bed.door.follow()
    assert bed.door.url == ""
    secret = await bed.key()
    url = bed.door.url
    assert url.startswith("http://127.0.0.1:")
    said = await bed.call(secret)
    assert (said.status, said.json["model"]) == (200, "offline")
    for wrong in ("", "s2", "key-1", hashlib.sha256(b"s1").hexdigest()):
        assert (await bed.call(wrong)).status == 401
    other = await bed.key(2)
    assert bed.door.url == url
    await bed.write(lambda tx: access_keys.revoke(tx, "key-1"))
    assert (await bed.call(secret)).status == 401
    assert (await bed.call(other)).status == 200
    await bed.write(lambda tx: access_keys.revoke(tx, "key-2"))
    assert bed.door.url == ""
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2].partition("/")[0]))


async def test_a_key_pays_for_itself_and_is_refused_with_its_budgets_name(bed: Bed) -> None:
    secret = await bed.key(limit=100_000_000)
    assert (await bed.call(secret)).status == 200
    node = await bed.world.budget("key-1")
    assert 0 < node.spent_nusd < 100_000_000
    (told,) = await bed.world.events("model.call")
    assert (told["budget"], told["key"], secret in str(told)) == ("key-1", "key-1", False)
    assert (await bed.world.budget("project")).spent_nusd == node.spent_nusd
    await bed.world.extend("key-1", node.spent_nusd)
    said = await bed.call(secret)
    assert said.status == 402
    error = said.json["error"]
    assert error["data"] == {"kind": "budget_exceeded", "retryable": False}
    assert error["code"] == "budget_exceeded"
    assert "budget key-1: nothing is left of" in error["message"]
    assert (await bed.world.budget("key-1")).spent_nusd == node.spent_nusd


async def test_it_opens_nothing_after_the_end_of_the_swarm_that_pays(bed: Bed, monkeypatch) -> None:
    secret, other = await bed.key(), await bed.key(2)
    followed, plain = trio.Event(), bed.door.follow

    async def follow() -> None:
        await plain()
        if "key-1" not in bed.door._callers:
            followed.set()

    def destroy(tx: Any) -> None:
        swarms.want_destroyed(tx, proxy_world.SWARM)
        for task in tasks.open_tasks(tx.db, proxy_world.SWARM):
            stops.cancel(tx, task, "its swarm was destroyed")
        lifecycle.settle_swarm(tx, proxy_world.SWARM)
        assert swarms.get(tx.db, proxy_world.SWARM).state == "destroyed"

    monkeypatch.setattr(bed.door, "follow", follow)
    bed.ring.start_soon(bed.door.follow_swarms)
    write = bed.world.store.writer.apply
    await write(lambda tx: tx.execute("UPDATE budget SET swarm_id = 'swarm1' WHERE id = 'key-1'"))
    assert (await bed.call(secret)).status == 200
    await trio.testing.wait_all_tasks_blocked()
    await write(destroy)
    await followed.wait()
    assert [(await bed.call(each)).status for each in (secret, other)] == [401, 200]


async def test_it_opens_nothing_after_its_time(bed: Bed) -> None:
    secret = await bed.key(expires_at_ms=bed.clock.now_ms() + 1_000)
    bed.clock.advance(999)
    assert (await bed.call(secret)).status == 200
    bed.clock.advance(1)
    assert (await bed.call(secret)).status == 401


async def test_after_a_rotation_the_secret_before_is_good_for_its_grace(bed: Bed) -> None:
    secret = await bed.key()
    fresh, until = hashlib.sha256(b"fresh").hexdigest(), bed.clock.now_ms() + 1_000
    await bed.write(lambda tx: access_keys.rotate(tx, access_keys.get(tx.db, "key-1"), fresh, until))
    assert [(await bed.call(each)).status for each in ("fresh", secret)] == [200, 200]
    bed.clock.advance(1_000)
    assert [(await bed.call(each)).status for each in ("fresh", secret)] == [200, 401]


async def test_a_key_s_own_rates_go_before_the_configured_ones(bed: Bed) -> None:
    bed.door._limits = Limits(requests_per_minute=2)
    as_configured, slower, unlimited = (
        await bed.key(1),
        await bed.key(2, requests_per_minute=1),
        await bed.key(3, requests_per_minute=0),
    )
    statuses = {each: [(await bed.call(each)).status for _ in range(3)] for each in (as_configured, slower)}
    assert statuses == {as_configured: [200, 200, 429], slower: [200, 429, 429]}
    assert [(await bed.call(unlimited)).status for _ in range(3)] == [200, 200, 200]
    said = (await bed.call(slower)).json["error"]["message"]
    assert "1 requests a minute" in said
    assert "proxy.key_requests_per_minute" in said


async def test_neither_a_restart_nor_a_change_of_keys_forgets_what_was_called(bed: Bed) -> None:
    secret = await bed.key(requests_per_minute=1)
    assert (await bed.call(secret)).status == 200
    await bed.key(2)
    assert (await bed.call(secret)).status == 429
    later = Bed(bed.world, bed.ring)
    await later.door.follow()
    assert (await later.call(secret)).status == 429


async def test_a_key_s_model_is_what_is_called_whatever_it_names(bed: Bed) -> None:
    secret = await bed.key(model="offline-b")
    assert (await bed.call(secret, model="gpt-nothing")).status == 200
    called = await bed.world.store.reader.read(lambda db: db.execute("SELECT model FROM hold").get)
    assert called == "offline-b"


async def test_a_port_that_is_taken_is_said_and_no_reason_to_fail(bed: Bed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        late = Bed(bed.world, bed.ring, port=port)
        await late.key()
        assert late.door.url == ""
        assert f"127.0.0.1:{port} cannot be had" in late.door.problem
        assert "proxy.port" in late.door.problem
    await late.door.follow()
    assert (late.door.url, late.door.problem) == (f"http://127.0.0.1:{port}/v1", "")


async def test_the_last_use_is_known_before_it_is_written_down(bed: Bed) -> None:
    secret = await bed.key()
    await bed.key(2)
    for _ in range(2):
        bed.clock.advance(500)
        await bed.call(secret)
        assert bed.door.last_used_ms("key-1") == bed.clock.now_ms()
    await bed.key(3)
    assert (bed.door.last_used_ms("key-1"), bed.door.last_used_ms("key-2")) == (bed.clock.now_ms(), None)
    await bed.write(lambda tx: access_keys.revoke(tx, "key-1"))
    assert bed.door.last_used_ms("key-1") is None


async def test_the_last_use_is_written_down(bed: Bed) -> None:
    secret = await bed.key()
    await bed.key(2)
    bed.ring.start_soon(bed.door.write_uses)
    await bed.call(secret)
    while True:
        found = await bed.world.store.reader.read(access_keys.live)
        if found[0].last_used_at_ms is not None:
            break
        await trio.sleep(0.001)
    assert [row.last_used_at_ms for row in found] == [bed.clock.now_ms(), None]


async def test_it_lists_models_and_answers_all_three_formats(bed: Bed) -> None:
    secret = await bed.key()
    bodies = {
        "/v1/responses": {"model": "offline", "input": "hi"},
        "/v1/messages": {
            "model": "offline",
            "max_tokens": 50,
            "messages": [{"role": "user", "content": "hi"}],
        },
    }
    port = int(bed.door.url.rpartition(":")[2].partition("/")[0])
    for path, body in bodies.items():
        said = await ask(port, request(json.dumps(body).encode(), key=secret, path=path))
        assert said.status == 200, said.body
    listed = await ask(port, request(None, key=secret, path="/v1/models", method="GET"))
    assert "offline" in [each["id"] for each in listed.json["data"]]
