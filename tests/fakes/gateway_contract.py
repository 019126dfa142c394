"""What Dash relies on of a gateway: tests/drivers run it against the stand-in, tests/live the real one."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from dashd.drivers import openclaw_protocol as protocol
from dashd.drivers.openclaw_client import GatewayRefused, is_ready, open_client

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
        assert refused.value.retry_after_s is None
    async with await dial() as stream, open_client(stream, token, "0", _ignore) as client:
        assert client.hello.server.boot_id == boot_id


async def _refuses_strangers(dial: Dial) -> None:
    async with await dial() as stream:
        with pytest.raises(GatewayRefused) as refused:
            async with open_client(stream, "wrong", "0", _ignore):
                pass
        assert refused.value.retry_after_s is None


def _ignore(event: protocol.Event) -> None:
    pass
