"""A raw trio `SocketStream` echo server on the Unix socket of the first argument: no framing, no parsing."""

import socket
import sys

import trio


async def echo(stream: trio.SocketStream) -> None:
    async with stream:
        async for data in stream:
            await stream.send_all(data)


async def main() -> None:
    bound = trio.socket.socket(socket.AF_UNIX)
    await bound.bind(sys.argv[1])
    bound.listen(512)
    print("ready", flush=True)
    await trio.serve_listeners(echo, [trio.SocketListener(bound)])


if __name__ == "__main__":
    trio.run(main)
