"""The client, against the stand-in of a gateway: the same that tests of whole daemons use."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from functools import partial

import pytest
import trio

from dashd.drivers import openclaw_client
from dashd.drivers import openclaw_protocol as protocol
from dashd.drivers.openclaw_client import (
    Client,
    GatewayLost,
    GatewayRefused,
    is_ready,
    open_client,
    open_ready,
)
from tests.fakes import gateway_contract
from tests.fakes.openclaw_gateway import Gateway, Peer

S_MAX = 20.0
TOKEN = "t" * 32


class Standing:
    """A stand-in that serves in threads of the test's own."""

    def __init__(self, path: str, door: socket.socket) -> None:
        self.gateway = Gateway(path)
        self._door = door
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._door.accept()
                threading.Thread(target=Peer(sock, self.gateway).serve, daemon=True).start()

    async def dial(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(*self._door.getsockname())


@pytest.fixture
def standing(tmp_path) -> Iterator[Standing]:
    agents = {"ownership": "explicit", "entries": {"a": {"workspace": "/"}}}
    config = {"gateway": {"auth": {"token": TOKEN}}, "agents": agents}
    (tmp_path / "openclaw.json").write_text(json.dumps(config))
    with socket.create_server(("127.0.0.1", 0)) as door:
        made = Standing(str(tmp_path / "openclaw.json"), door)
        yield made
        for peer in list(made.gateway.peers):
            peer.hang_up()
        door.shutdown(socket.SHUT_RDWR)


async def test_who_has_the_token_is_let_in_and_hears_what_it_asks(standing) -> None:
    with trio.fail_after(S_MAX):
        async with await standing.dial() as stream:
            assert await is_ready(stream)
        async with await standing.dial() as stream, open_client(stream, TOKEN, "0", print) as client:
            assert client.hello.server.boot_id == standing.gateway.boot_id
            assert await client.agents() == {"a"}
            await client.patch({"agents": {"entries": {"b": {}}}})
            assert await client.agents() == {"a", "b"}
            assert await client.describe("agent:a:x") is None
            before = client.heard_at
            assert not (await client.wait("nobody's", 0)).over
            assert before < client.heard_at <= trio.current_time()


async def test_the_stand_in_keeps_the_contract(standing) -> None:
    with trio.fail_after(S_MAX):
        await gateway_contract.check(standing.dial, TOKEN, "a")


def _answering(door: socket.socket, answer: bytes) -> None:
    """Whatever is asked there, this is the answer."""
    with contextlib.suppress(OSError):
        sock, _ = door.accept()
        with sock:
            sock.recv(4_096)
            sock.sendall(answer)
            sock.recv(4_096)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"\xff\xfe nonsense\r\n\r\n",
    ],
)
async def test_who_speaks_something_else_is_lost_and_no_fault(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door, trio.fail_after(S_MAX):
        threading.Thread(target=_answering, args=(door, answer), daemon=True).start()
        async with await trio.open_tcp_stream(*door.getsockname()) as stream:
            with pytest.raises(GatewayLost):
                async with open_client(stream, TOKEN, "0", print):
                    pass


async def test_one_that_is_not_ready_is_told_no_token() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door, trio.fail_after(S_MAX):
        busy = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
        threading.Thread(target=_answering, args=(door, busy), daemon=True).start()
        with pytest.raises(GatewayLost, match="still starting"):
            async with open_ready(partial(trio.open_tcp_stream, *door.getsockname()), TOKEN, "0"):
                pass


async def test_no_error_over_a_connection_repeats_its_token(standing) -> None:
    fault = protocol.Fault("UNAVAILABLE", f"busy with {TOKEN}", True, 7_000)
    with trio.fail_after(S_MAX):
        async with open_ready(standing.dial, TOKEN, "0") as client:
            assert await client.agents() == {"a"}
        with pytest.raises(GatewayRefused) as refused:
            async with open_ready(standing.dial, TOKEN, "0"):
                raise GatewayRefused("agents.list", fault)
        with pytest.raises(GatewayRefused, match=r"UNAUTHORIZED: wrong \*\*\*$"):
            async with open_ready(standing.dial, "token", "0"):
                pass
    assert (str(refused.value), refused.value.retry_after_s) == ("agents.list: UNAVAILABLE: busy with ***", 7)


async def test_what_cannot_be_read_ends_a_connection_and_nothing_else(standing) -> None:
    with trio.fail_after(S_MAX):
        async with await standing.dial() as stream:
            with pytest.raises(GatewayLost):
                await _disturbed(standing, stream)


async def _disturbed(standing, stream) -> None:
    async with open_client(stream, TOKEN, "0", _raise_unreadable) as client:
        for peer in standing.gateway.peers:
            peer.send({"type": "event", "event": "agent", "payload": {}})
        await client.lost.wait()


def _raise_unreadable(_event: object) -> None:
    raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


async def test_a_start_that_calls_itself_by_a_long_name(standing) -> None:
    standing.gateway.boot_id = "b" * 10_000
    with trio.fail_after(S_MAX):
        async with await standing.dial() as stream, open_client(stream, TOKEN, "0", print) as client:
            assert client.hello.server.boot_id == "b" * protocol.NAME_CHARACTERS_MAX


async def test_a_wrong_token_and_an_unknown_agent_are_refused(standing) -> None:
    with trio.fail_after(S_MAX):
        async with await standing.dial() as stream:
            with pytest.raises(GatewayRefused) as refused:
                async with open_client(stream, "wrong", "0", print):
                    pass
            assert (refused.value.code, refused.value.retry_after_s) == ("UNAUTHORIZED", 0)
        async with await standing.dial() as stream, open_client(stream, TOKEN, "0", print) as client:
            with pytest.raises(GatewayRefused, match="unknown agent"):
                await client.start("nobody", "agent:nobody:x", "r", "hello")


@pytest.mark.parametrize(
    ("said_ms", "later_s"),
    [(None, 1.0), (0.0, 1.0), (0.001, 1.0), (-1e300, 1.0), (7_000.0, 7.0), (1e300, 60.0)],
)
def test_whatever_a_gateway_says_it_is_neither_asked_at_once_nor_forgotten(said_ms, later_s) -> None:
    refused = GatewayRefused("agent", protocol.Fault("UNAVAILABLE", "busy", True, said_ms))
    assert (refused.for_now, refused.retry_after_s) == (True, later_s)
    for_good = GatewayRefused("agent", protocol.Fault("INVALID_REQUEST", "no", False, said_ms))
    assert for_good.retry_after_s == 0


async def test_who_waits_when_the_connection_ends_is_told(standing) -> None:
    with trio.fail_after(S_MAX):
        async with await standing.dial() as stream:
            with pytest.raises(GatewayLost):
                await _wait_on(standing, stream)


async def _wait_on(standing: Standing, stream: trio.SocketStream) -> None:
    """For a run that there is not, while the gateway hangs up."""
    async with open_client(stream, TOKEN, "0", print) as client:
        (peer,) = standing.gateway.peers
        peer.hang_up()
        with pytest.raises(GatewayLost):
            await client.wait("nobody's", 60_000)
        await client.lost.wait()
        await client.agents()


async def test_what_is_no_gateway_is_not_waited_for_for_ever(standing, monkeypatch) -> None:
    monkeypatch.setattr(openclaw_client, "CONNECT_S_MAX", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with await trio.open_tcp_stream(*silent.getsockname()) as stream:
            with pytest.raises(GatewayLost):
                await is_ready(stream)
        async with await trio.open_tcp_stream(*silent.getsockname()) as stream:
            with pytest.raises(GatewayLost):
                async with open_client(stream, TOKEN, "0", print):
                    pass


async def test_a_configuration_that_is_nested_too_deep_is_no_fault() -> None:
    """As deep as can just be read is deeper than can be written, which is how its parts are measured."""
    config: dict[str, object] = {}
    for _ in range(5_000):
        config = {"a": config}
    client = Client(None, print)

    async def call(_method: str, _answer: object) -> protocol.Config:
        await trio.lowlevel.checkpoint()
        return protocol.Config("h", config)

    client.call = call
    with pytest.raises(GatewayLost, match="nested too deep"):
        await client.configured()
