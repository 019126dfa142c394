"""A small method table of the tests' own, and a connection over a socket pair that speaks it."""

import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio

from dashd.rpc import connection, dispatch
from dashd.service.core import Caller
from dashd.wire import errors
from dashd.wire.methods.table import Method, Params, Result


class Subtract(Params):
    minuend: int
    subtrahend: int = 0


class Wait(Params):
    seconds: float = 3_600.0
    name: str = ""


class Value(Result):
    value: Any = None


class Fail(Params):
    how: str


class Blob(Params):
    size: int


class Log:
    """The core of these tests: what was called, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.release = trio.Event()
        self.started = 0


def subtract(core: Log, _caller: Caller, params: Subtract) -> Value:
    core.calls.append(f"{params.minuend}-{params.subtrahend}")
    return Value(value=params.minuend - params.subtrahend)


async def wait(core: Log, _caller: Caller, params: Wait) -> Value:
    core.started += 1
    core.calls.append(f"wait {params.name}")
    with trio.move_on_after(params.seconds):
        await core.release.wait()
    core.calls.append(f"waited {params.name}")
    return Value(value=params.name)


async def change(core: Log, caller: Caller, params: Wait) -> Value:
    return await wait(core, caller, params)


def fail(_core: Log, _caller: Caller, params: Fail) -> Value:
    raise make_error(params.how)


async def fail_later(_core: Log, _caller: Caller, params: Fail) -> Value:
    await trio.lowlevel.checkpoint()
    if params.how == "group":
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_raise, errors.SwarmEnded())
    if params.how == "while cancelled":
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_fail_when_cancelled)
            nursery.start_soon(trio.sleep_forever)
    raise make_error(params.how)


async def _raise(error: Exception) -> None:
    raise error


async def _fail_when_cancelled() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise KeyError("clean-up")


def make_error(how: str) -> Exception:
    return {"dash": errors.UnknownSwarm(hint="look", path="swarm"), "bug": ZeroDivisionError("oops")}[how]


def blob(_core: Log, _caller: Caller, params: Blob) -> Value:
    return Value(value="x" * params.size)


def strange(_core: Log, _caller: Caller, _params: Wait) -> Value:
    return Value(value=object())


METHODS = {
    "subtract": Method("subtract", Subtract, Value, "Subtracts."),
    "wait": Method("wait", Wait, Value, "Waits."),
    "change": Method("change", Wait, Value, "Waits and changes something.", changes=True),
    "fail": Method("fail", Fail, Value, "Fails."),
    "fail_later": Method("fail_later", Fail, Value, "Fails in a task."),
    "blob": Method("blob", Blob, Value, "Gives much."),
    "strange": Method("strange", Wait, Value, "Gives what is not JSON."),
}
HANDLERS = {
    "subtract": subtract,
    "wait": wait,
    "change": change,
    "fail": fail,
    "fail_later": fail_later,
    "blob": blob,
    "strange": strange,
}


class Peer:
    """The client's end of a socket, in lines."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.socket = trio.socket.from_stdlib_socket(sock)
        self._buffer = b""

    async def send(self, *messages: object) -> None:
        """Each as one line; dicts and lists become JSON."""
        data = b"".join(m if isinstance(m, bytes) else json.dumps(m).encode() + b"\n" for m in messages)
        while data:
            data = data[await self.socket.send(data) :]

    def send_nowait(self, message: object) -> None:
        """A short message, before anybody else gets a turn."""
        os.write(self.socket.fileno(), json.dumps(message).encode() + b"\n")

    async def line(self) -> bytes | None:
        """The next line; None at the end of the stream."""
        while b"\n" not in self._buffer:
            try:
                chunk = await self.socket.recv(1 << 20)
            except ConnectionResetError:
                return None
            if not chunk:
                assert not self._buffer, "half a line"
                return None
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    async def answer(self) -> Any:
        """The next line as JSON."""
        line = await self.line()
        assert line is not None, "the stream has ended"
        return json.loads(line)

    async def ask(self, message: object) -> Any:
        await self.send(message)
        return await self.answer()

    async def ended(self) -> bool:
        return await self.line() is None

    def finish_sending(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()


def call(method: str, params: object = msgspec.UNSET, id: object = 1) -> dict[str, Any]:  # noqa: A002
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params is not msgspec.UNSET:
        message["params"] = params
    if id is not msgspec.UNSET:
        message["id"] = id
    return message


class Line:
    """One served connection."""

    def __init__(self, peer: Peer, served: connection.Connection, core: Log, nursery: trio.Nursery) -> None:
        self.peer = peer
        self.served = served
        self.core = core
        self.nursery = nursery
        self.ended = trio.Event()


Open = Callable[..., Any]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def table(log: Log) -> dispatch.Dispatch:
    """The tests' own methods, and cancelling."""
    from dashd.rpc import door

    return dispatch.Dispatch(
        HANDLERS, log, peer_handlers={"$/cancelRequest": door.HANDLERS["$/cancelRequest"]}, table=METHODS
    )


@pytest.fixture
def open_line(table: dispatch.Dispatch, log: Log) -> Open:
    """`async with open_line(limits) as line`: a peer at one end, a Connection at the other."""

    @asynccontextmanager
    async def opened(
        limits: connection.PeerLimits = connection.DEFAULTS,
        served_by: dispatch.Dispatch = table,
        *,
        patience_s: float = 20,
    ) -> AsyncIterator[Line]:
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        ours.setblocking(False)
        served = connection.Connection(ours, served_by, Caller("operator", os.getuid()), limits)
        with theirs, trio.fail_after(patience_s):
            async with trio.open_nursery() as nursery:
                line = Line(Peer(theirs), served, log, nursery)

                async def run() -> None:
                    await served.run()
                    line.ended.set()

                nursery.start_soon(run)
                yield line
                line.peer.close()
                log.release.set()
                await line.ended.wait()

    return opened
