"""What Dash relies on of a gateway: tests/drivers run it against the stand-in, tests/live the real one."""

import dataclasses
from collections.abc import Awaitable, Callable

import pytest
import trio

from dashd.drivers import openclaw_gateway
from dashd.drivers import openclaw_protocol as protocol
from dashd.drivers.openclaw_client import Client, GatewayRefused, is_ready, open_client
from dashd.drivers.openclaw_gateway import Seat

Dial = Callable[[], Awaitable[trio.SocketStream]]


async def check(dial: Dial, token: str, agent: str) -> None:
    """`agent` is one that the gateway has; nothing runs in it, and no model is called."""
    async with await dial() as stream:
        assert await is_ready(stream)
    await _refuses_strangers(dial)
    async with await dial() as stream, open_client(stream, token, "0", _ignore) as client:
        assert client.hello.protocol == protocol.PROTOCOL
        boot_id = client.hello.server.boot_id
        assert boot_id
        assert agent in await client.agents()
        assert await client.describe(f"agent:{agent}:no-such-session") is None
        waited = await client.wait("no-such-run", 0)
        assert (waited.status, waited.over) == ("timeout", False)
        with pytest.raises(GatewayRefused) as refused:
            await client.start("nobody", "agent:nobody:x", "a-run", "hello")
        assert refused.value.retry_after_s == 0
        await _takes_guests(client)
        assert all(isinstance(line, bytes) for line in await client.log(10))
    async with await dial() as stream, open_client(stream, token, "0", _ignore) as client:
        assert client.hello.server.boot_id == boot_id


async def _takes_guests(client: Client) -> None:
    """An agent and its provider come and go without a restart; nothing else of the configuration changes."""
    before, own, configured = await client.agents(), await client.owned(), await client.configured()
    assert own  # in a fleet without a default of its own, one more agent changes nothing for the others
    guest = Seat("guest0-001", "http://127.0.0.1:9/v1", "a-key", "m", "/nowhere", "abcdef")
    name = openclaw_gateway.agent_name(guest.agent_id, guest.tag)
    for key in ("a-key", "another-key"):
        await client.patch(openclaw_gateway.guests([dataclasses.replace(guest, key=key)]))
        assert await client.agents() == before | {name}
    with pytest.raises(GatewayRefused):
        await client.patch({"agents": {"entries": {name: None}}})  # it is to be said as a deletion
    await client.delete(name)
    with pytest.raises(GatewayRefused):
        await client.delete(name)
    _, providers, size = await client.configured()
    for change, lists in openclaw_gateway.farewells([name], providers, size):
        if None in change["models"]["providers"].values():
            with pytest.raises(GatewayRefused):
                await client.patch(change)  # a list is not removed by the way
        await client.patch(change, lists)
    left = await client.configured()
    assert (await client.agents(), set(left[0]), set(left[1])) == (before, *map(set, configured[:2]))


async def _refuses_strangers(dial: Dial) -> None:
    async with await dial() as stream:
        with pytest.raises(GatewayRefused) as refused:
            async with open_client(stream, "wrong", "0", _ignore):
                pass
        assert refused.value.retry_after_s == 0


def _ignore(event: protocol.Event) -> None:
    pass
