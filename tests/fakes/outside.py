"""What is outside, small: names with scripted addresses, and a server on loopback in place of each of them.

`resolve` and `dial` stand in for those of dashd.proxy.tunnel; tests/proxy/test_tunnel.py holds both to what
the real ones keep.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio

PUBLIC = "93.184.215.14"
Serve = Callable[[trio.SocketStream], Awaitable[None]]


async def echo(stream: trio.SocketStream) -> None:
    """Says everything back, and then that it is over."""
    async for data in stream:
        await stream.send_all(data)
    await stream.send_eof()


@dataclass
class Outside:
    """`answers`: by name the addresses of each look-up; the last one stays."""

    answers: dict[str, list[list[str]]]
    host: str
    port: int
    refuses: set[str] = field(default_factory=set)
    looked_up: list[str] = field(default_factory=list)
    dialled: list[tuple[str, int]] = field(default_factory=list)

    async def resolve(self, name: str, port: int, turns: trio.CapacityLimiter) -> list[str]:
        async with turns:
            self.looked_up.append(name)
            if name not in self.answers:
                raise OSError("Name or service not known")
            known = self.answers[name]
            return known.pop(0) if len(known) > 1 else known[0]

    async def dial(self, address: str, port: int) -> trio.SocketStream:
        self.dialled.append((address, port))
        if address in self.refuses:
            raise ConnectionRefusedError("Connection refused")
        return await trio.open_tcp_stream(self.host, self.port)


@asynccontextmanager
async def open_outside(
    answers: dict[str, list[list[str]]] | None = None, serve: Serve = echo, *, host: str = "127.0.0.1"
) -> AsyncIterator[Outside]:
    """Everything outside is served by `serve`, for as long as this is open."""
    known = {"api.example.org": [[PUBLIC]], "b.example.org": [[PUBLIC]]} if answers is None else answers
    (listener,) = await trio.open_tcp_listeners(0, host=host)

    async def served(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await serve(stream)

    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, served, [listener])
        yield Outside(known, host, listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()
