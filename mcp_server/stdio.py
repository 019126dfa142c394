"""MCP over fd 0 and 1, on the trio loop alone: one JSON message a line, no threads, so it ends when told to.

While it serves, fd 0 is the null device and fd 1 is stderr: what a library or a child prints cannot tear a
message. A line that is too long or is no message is answered as an error where it can be seen whom to
answer, and the next line is read as if nothing had happened. Of the SDK only its message types are used.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.streams.memory
import mcp_types as types
import msgspec
import trio
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage

from dashd.wire import framing

LINE_BYTES_MAX = framing.FRAME_BYTES_MAX
GRACE_S = 0.1
"""How long open calls may go on after the end of the input: `printf … | dash-mcp` gets its answers."""
_RECEIVE_BYTES = 64 * 1024
_EDGE_BYTES = 300
# The id of a request that cannot be read whole: its first member or its last, "jsonrpc" aside.
_VERSION = rb'"jsonrpc"\s*:\s*"2\.0"'
_ID = rb'"id"\s*:\s*(\d{1,18}|"[^"\\]{0,200}")'
_ID_FIRST = re.compile(rb"\s*\{\s*(?:" + _VERSION + rb"\s*,\s*)?" + _ID + rb"\s*,")
_ID_LAST = re.compile(rb",\s*" + _ID + rb"\s*(?:,\s*" + _VERSION + rb"\s*)?\}\s*$")

Incoming = anyio.streams.memory.MemoryObjectSendStream[SessionMessage | Exception]
Outgoing = anyio.streams.memory.MemoryObjectSendStream[SessionMessage]
Answers = anyio.streams.memory.MemoryObjectReceiveStream[SessionMessage]


async def serve(server: Server[Any]) -> None:
    """Serves one client until the input ends or the output breaks; may be cancelled at any point."""
    with _claimed() as (source_fd, sink_fd):
        # Each sets O_NONBLOCK on a file that it may share with the other or with a parent, and sets it back
        # when it is closed: last opened, first closed.
        async with trio.lowlevel.FdStream(source_fd) as source, trio.lowlevel.FdStream(sink_fd) as sink:
            await serve_streams(server, source, sink)


async def serve_streams(
    server: Server[Any], source: trio.abc.ReceiveStream, sink: trio.abc.SendStream
) -> None:
    to_server, from_client = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_client, from_server = anyio.create_memory_object_stream[SessionMessage](0)
    exchange = Exchange()
    async with trio.open_nursery() as nursery:

        async def write() -> None:
            async with from_server:
                await exchange.write(sink, from_server)
            nursery.cancel_scope.cancel(reason="all is written, or the client is gone")

        nursery.start_soon(exchange.read, source, to_server, to_client.clone())
        nursery.start_soon(write)
        await server.run(from_client, to_client, server.create_initialization_options())


class Exchange:
    """Both directions of one connection, and which requests are still open."""

    def __init__(self) -> None:
        self._open: set[types.RequestId] = set()
        self._settled = trio.Event()

    async def read(self, source: trio.abc.ReceiveStream, to_server: Incoming, to_client: Outgoing) -> None:
        """Passes on every message until the input ends, and the end after GRACE_S or the last answer."""
        lines = Lines()
        async with to_server, to_client:
            while chunk := await source.receive_some(_RECEIVE_BYTES):
                for line, cut in lines.feed(bytes(chunk)):
                    if cut:
                        await to_client.send(_refusal(line, types.INVALID_REQUEST, _TOO_LONG))
                    elif line.strip():
                        await self._pass_on(line, to_server, to_client)
            with trio.move_on_after(GRACE_S):
                while self._open:
                    self._settled = trio.Event()
                    await self._settled.wait()

    async def _pass_on(self, line: bytes, to_server: Incoming, to_client: Outgoing) -> None:
        try:
            message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError:  # pydantic's ValidationError is one
            await to_client.send(_explained(line))
            return
        if isinstance(message, types.JSONRPCRequest):
            self._open.add(message.id)
        elif isinstance(message, types.JSONRPCNotification) and message.method == "notifications/cancelled":
            self._settle((message.params or {}).get("requestId"))  # It will not be answered.
        await to_server.send(SessionMessage(message))

    async def write(self, sink: trio.abc.SendStream, from_server: Answers) -> None:
        """Writes every message until there is no more, or nobody who reads."""
        with contextlib.suppress(trio.BrokenResourceError):
            async for each in from_server:
                text = each.message.model_dump_json(by_alias=True, exclude_unset=True)
                await sink.send_all(text.encode() + b"\n")
                if isinstance(each.message, types.JSONRPCResponse | types.JSONRPCError):
                    self._settle(each.message.id)

    def _settle(self, request_id: object) -> None:
        if isinstance(request_id, str | int):
            self._open.discard(request_id)
        self._settled.set()


class Lines:
    """Cuts lines out of chunks. A line over `bytes_max` comes as its two edges, marked as cut."""

    def __init__(self, bytes_max: int = LINE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._held = bytearray()
        self._cut = False

    def feed(self, chunk: bytes) -> Iterator[tuple[bytes, bool]]:
        """The lines that `chunk` ends, without their newlines, each with whether it was cut."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._hold(end)
            yield bytes(self._held), self._cut
            self._held.clear()
            self._cut = False
        self._hold(rest)

    def _hold(self, part: bytes) -> None:
        self._held += part
        if len(self._held) > self._bytes_max:
            self._cut = True
            del self._held[_EDGE_BYTES:-_EDGE_BYTES]


_TOO_LONG = f"the message is longer than {LINE_BYTES_MAX:,} bytes"


def _explained(line: bytes) -> SessionMessage:
    """The answer to a line that is no message."""
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _refusal(b"", types.PARSE_ERROR, f"the line is not valid JSON: {error}")
    return _refusal(line, types.INVALID_REQUEST, "the line is not a JSON-RPC 2.0 message")


def _refusal(line: bytes, code: int, text: str) -> SessionMessage:
    found = _ID_FIRST.match(line) or _ID_LAST.search(line[-_EDGE_BYTES:])
    request_id = msgspec.json.decode(found[1]) if found else None
    error = types.ErrorData(code=code, message=text)
    return SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error))


@contextlib.contextmanager
def _claimed() -> Iterator[tuple[int, int]]:
    """Duplicates of fd 0 and 1 for the protocol alone; until the end, the numbers 0 and 1 lead elsewhere.

    Whoever gets the duplicates closes them.
    """
    source, sink = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in (0, 1))
    keep = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in (0, 1)]
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    try:
        os.dup2(2, 1)
    except OSError:
        os.dup2(null, 1)  # stderr is closed
    os.close(null)
    try:
        yield source, sink
    finally:
        for fd, kept in enumerate(keep):
            os.dup2(kept, fd)
            os.close(kept)
