"""What bounds tunnels, what ends them, and that the defaults dial nothing but the public internet."""

import socket
import sys
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair

from dashd.domain import hosts
from dashd.proxy import tunnel
from dashd.proxy.caller import Caller, Traffic
from dashd.proxy.door import digest
from dashd.proxy.ledger import Payer
from dashd.proxy.tunnel import Limits, NotPassed, Tunnels
from dashd.wire.errors import StoreFull
from tests.fakes.outside import PUBLIC, open_outside
from tests.proxy.test_tunnel import Written, connect, exactly, open_way, refused, tunnelled
from tests.proxy.world import World, ask, chat, request, until


@pytest.fixture
def written() -> Written:
    return Written()


async def test_a_tunnel_moves_so_many_bytes_and_says_what_ended_it(
    tmp_path: Path, written: Written, caplog: pytest.LogCaptureFixture
):
    limits = Limits(tunnel_bytes_max=150)
    async with open_outside() as outside, open_way(tmp_path, outside, written, limits) as world:
        async with tunnelled(world) as stream:
            await stream.send_all(bytes(100))
            assert await exactly(stream, 200) == bytes(50)
        (caller,) = world.door.callers()
        assert caller.traffic.bytes == 150
        async with tunnelled(world):  # another has room of its own
            pass
        await until(lambda: len(written) == 4)
    assert (written[1].how_it_ended, written[1].bytes_up, written[1].bytes_down) == ("tunnel-bytes", 100, 50)
    assert "out of tunnel-bytes" in caplog.text


async def test_a_caller_moves_so_many_over_all_its_tunnels(tmp_path: Path, written: Written):
    limits = Limits(caller_bytes_max=150)
    async with open_outside() as outside, open_way(tmp_path, outside, written, limits) as world:
        async with tunnelled(world) as one, tunnelled(world) as two:
            await one.send_all(bytes(50))
            assert await exactly(one, 50) == bytes(50)
            await two.send_all(bytes(100))
            assert await exactly(two, 1) == b""
        status, phrase, message = await refused(world, connect())
        assert (status, phrase) == (403, "Bytes used up")
        assert "this agent has moved 150 of 150 bytes" in message
        assert (await ask(world.port, request(chat(model="offline")))).status == 200
    assert "agent-bytes" in written.ends()


async def test_what_was_moved_before_a_restart_counts(tmp_path: Path, written: Written):
    limits = Limits(caller_bytes_max=150)
    async with open_outside() as outside, open_way(tmp_path, outside, written, limits) as world:
        world.door.callers()[0].traffic.bytes = 150
        assert (await refused(world, connect()))[0] == 403


async def test_so_many_tunnels_of_a_caller_over_its_life(tmp_path: Path, written: Written):
    limits = Limits(caller_total_max=2)
    async with open_outside() as outside, open_way(tmp_path, outside, written, limits) as world:
        for _ in range(2):
            async with tunnelled(world):
                pass
        for _ in range(2):
            status, phrase, message = await refused(world, connect())
            assert (status, phrase, "all 2 tunnels" in message) == (403, "Tunnels used up", True)
        await until(lambda: written.ends().count("reset") + written.ends().count("closed") == 2)
    assert [each.why for each in written if each.how_it_ended == "refused"] == ["tunnels_used_up"]


async def test_so_many_tunnels_of_a_caller_and_of_all(tmp_path: Path, written: Written):
    limits = Limits(caller_max=2, daemon_max=3)
    async with (
        open_outside() as outside,
        open_way(tmp_path, outside, written, limits, agents_count=2) as world,
    ):
        async with tunnelled(world), tunnelled(world):
            status, _, message = await refused(world, connect())
            assert (status, "2 tunnels of 2" in message) == (429, True)
            async with tunnelled(world, connect(key="dash:key-1")):
                assert (await refused(world, connect(key="dash:key-1")))[0] == 503
        one, two = (caller.traffic for caller in world.door.callers())
        await until(lambda: one.open == two.open == 0)
        async with tunnelled(world):
            pass


async def test_a_refused_or_failed_one_takes_no_room(tmp_path: Path, written: Written):
    async with open_outside() as outside, open_way(tmp_path, outside, written, Limits(caller_max=1)) as world:
        outside.refuses = {PUBLIC}
        for _ in range(3):
            assert (await refused(world, connect()))[0] == 502
            assert (await refused(world, connect("evil.example:443")))[0] == 403
        outside.refuses.clear()
        async with tunnelled(world):
            pass


async def test_a_byte_and_its_arrival_keep_a_tunnel_open(autojump_clock: MockClock):
    """On lockstep streams, where a byte has arrived only when somebody took it."""
    limits = Limits(idle_s=120, total_s=3_600)
    made = tunnel.Tunnel(Caller(Payer("a"), "pi"), hosts.Host("api.example.org"), limits)
    made.outside, outside = lockstep_stream_pair()
    inside, agent = lockstep_stream_pair()

    async def answer_late() -> None:
        assert await agent.receive_some(2) == b"ok"
        for _ in range(5):
            await trio.sleep(100)
            await outside.send_all(b"x")
            await trio.sleep(100)
            assert await agent.receive_some(1) == b"x"
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_late)
        began = trio.current_time()
        await made.relay(inside, greeting=b"ok", early=b"")
        assert (made.how, trio.current_time() - began) == ("idle", pytest.approx(5 * 200 + 120))
        nursery.cancel_scope.cancel()


async def test_a_tunnel_that_is_never_idle_ends_all_the_same(autojump_clock: MockClock):
    made = tunnel.Tunnel(Caller(Payer("a"), "pi"), hosts.Host("api.example.org"), Limits(total_s=3_600))
    made.outside, outside = memory_stream_pair()
    inside, _ = memory_stream_pair()

    async def tick() -> None:
        while True:
            await outside.send_all(b"x")
            await trio.sleep(50)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        began = trio.current_time()
        await made.relay(inside, greeting=b"", early=b"")
        assert (made.how, trio.current_time() - began) == ("too-long", pytest.approx(3_600))
        nursery.cancel_scope.cancel()


async def test_either_side_may_break_off(tmp_path: Path, written: Written):
    async def cut(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        linger_none = b"\1\0\0\0\0\0\0\0"
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_none)

    async with open_outside(serve=cut) as outside, open_way(tmp_path, outside, written) as world:
        async with tunnelled(world) as stream:
            await stream.send_all(b"x")
            assert await exactly(stream, 1) == b""
        await until(lambda: len(written) == 2)
    assert written.ends() == ["open", "reset"]


async def test_a_revoked_key_ends_its_tunnels_with_the_last_one(tmp_path: Path, written: Written):
    async with open_outside() as outside, open_way(tmp_path, outside, written) as world:
        (caller,) = world.door.callers()
        world.door.admit(digest("second"), caller)
        async with tunnelled(world) as stream:
            world.door.revoke(digest("second"))
            await stream.send_all(b"x")
            assert await exactly(stream, 1) == b"x"
            world.door.revoke(digest("key-0"))
            assert await exactly(stream, 1) == b""
        assert written.ends() == ["open", "revoked"]
        assert (await refused(world, connect()))[0] == 407


async def test_a_key_revoked_while_its_tunnel_is_opened(tmp_path: Path, written: Written):
    async with open_outside() as outside:
        dial = outside.dial

        async def revoking(address: str, port: int) -> trio.SocketStream:
            world.door.revoke(digest("key-0"))
            return await dial(address, port)

        outside.dial = revoking  # type: ignore[method-assign]
        async with open_way(tmp_path, outside, written) as world:
            async with await trio.open_tcp_stream("127.0.0.1", world.port) as stream:
                await stream.send_all(connect())
                assert await exactly(stream, 1) == b""
            assert written.ends() == ["open", "revoked"]


async def test_a_daemon_that_stops_writes_down_what_was_open(tmp_path: Path, written: Written):
    async with open_outside() as outside:
        async with open_way(tmp_path, outside, written) as world:
            stream = await trio.open_tcp_stream("127.0.0.1", world.port)
            await stream.send_all(connect())
            assert await exactly(stream, 12) == b"HTTP/1.1 200"
        assert written.ends() == ["open", "stopped"]
        await stream.aclose()


async def test_what_cannot_be_written_down_does_not_open(
    tmp_path: Path, written: Written, caplog: pytest.LogCaptureFixture
):
    received: list[bytes] = []

    async def note(stream: trio.SocketStream) -> None:
        received.append(bytes(await stream.receive_some(10)))

    async with open_outside(serve=note) as outside, open_way(tmp_path, outside, written) as world:
        written.fault = StoreFull()
        status, _, message = await refused(world, connect())
        assert (status, "could not be written down" in message) == (503, True)
        written.fault = None
        async with tunnelled(world):
            written.fault = StoreFull()
        (caller,) = world.door.callers()
        await until(lambda: caller.traffic.open == 0)
    assert set(received) <= {b""}
    assert caplog.text.count("not written down: ") == 2


async def test_a_record_that_hangs_holds_nobody_up(
    tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def hang(_: tunnel.TunnelRecord) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(tunnel, "RECORD_S", 0.02)
    async with open_outside() as outside:
        tunnels = Tunnels(on_tunnel=hang, resolve=outside.resolve, dial=outside.dial)
        async with open_way(tmp_path, outside, written) as world:
            with pytest.raises(NotPassed, match="could not be written down"):
                async with tunnels.open(world.door.callers()[0], "api.example.org:443"):
                    pytest.fail("it opened")
            await until(lambda: "not written down: " in caplog.text)


async def test_a_refusal_is_written_down_once_for_each_kind_and_host(
    tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tunnel, "REFUSALS_MAX", 3)
    async with open_outside() as outside, open_way(tmp_path, outside, written) as world:
        for number in (1, 1, 2, 2, 3, 4, 5):
            assert (await refused(world, connect(f"evil{number}.example:443")))[0] == 403
    assert [(each.host, each.how_it_ended, each.why) for each in written] == [
        (f"evil{number}.example", "refused", "host") for number in (1, 2, 3)
    ]


@pytest.mark.parametrize("path", ["http://api.example.org/x", "HTTP://api.example.org/v1/chat/completions"])
async def test_plain_http_is_told_what_would_pass(tmp_path: Path, written: Written, path: str):
    async with open_outside() as outside, open_way(tmp_path, outside, written) as world:
        shown = "proxy-authorization: Bearer key-0"
        for body in (None, chat(model="offline")):
            said = await ask(world.port, request(body, path=path, method="POST", headers=[shown]))
            assert said.status == 403
            assert "only CONNECT passes here, for https:// to hosts named with --hosts" in said.body.decode()
        assert (await ask(world.port, request(None, path=path, method="GET"))).status == 407
        assert await world.holds() == []
    assert outside.looked_up == []


@pytest.mark.parametrize("header", ["content-length: 4", "transfer-encoding: chunked"])
async def test_a_connect_with_a_body_is_refused(tmp_path: Path, written: Written, header: str):
    async with open_outside() as outside, open_way(tmp_path, outside, written) as world:
        status, _, message = await refused(world, connect(headers=[header]))
        assert (status, "CONNECT has no body" in message) == (400, True)
    assert outside.looked_up == []


async def test_an_old_client_without_a_host_header(tmp_path: Path, written: Written):
    async with open_outside() as outside, open_way(tmp_path, outside, written) as world:
        sent = connect().replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"host: api.example.org:443\r\n", b"")
        async with await trio.open_tcp_stream("127.0.0.1", world.port) as stream:
            await stream.send_all(sent + b"x")
            assert (await exactly(stream, 12)) == b"HTTP/1.1 200"


async def _through(world: World, size: int) -> None:
    async with tunnelled(world) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, bytes(size))
        assert len(await exactly(stream, size)) == size


async def test_many_at_once_keep_their_bytes_apart_and_calls_go_on(tmp_path: Path, written: Written):
    async with open_outside() as outside, open_way(tmp_path, outside, written) as world:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(_through, world, 10_000 * number)
            assert (await ask(world.port, request(chat(model="offline")))).status == 200
        await until(lambda: len(written) == 40)
    moved = sorted((each.bytes_up, each.bytes_down) for each in written if each.how_it_ended != "open")
    assert moved == [(10_000 * number, 10_000 * number) for number in range(20)]


async def test_the_default_dials_no_loopback_whatever_the_name_says(tmp_path: Path, written: Written):
    """The real dialler, and a real server that would notice."""
    met = False

    async def notice(stream: trio.SocketStream) -> None:
        nonlocal met
        met = True

    async with open_outside({"api.example.org": [["127.0.0.1"]]}, serve=notice) as outside:
        for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "localhost"):
            with pytest.raises(PermissionError, match="is not dialled"):
                await tunnel.dial(address, outside.port)
        named = (f"api.example.org:{outside.port}",)
        async with open_way(tmp_path, outside, written, named=named) as world:
            tunnels = Tunnels(resolve=outside.resolve)
            with pytest.raises(NotPassed, match="loopback"):
                async with tunnels.open(world.door.callers()[0], named[0]):
                    pytest.fail("it opened")
    assert not met


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere loopback has one address")
async def test_the_real_dialler_and_its_stand_in_keep_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hosts, "refused_address", lambda address: None)
    async with open_outside() as here, open_outside(host="127.0.0.2") as outside:
        for dial, address in ((tunnel.dial, "127.0.0.2"), (outside.dial, PUBLIC)):
            async with await dial(address, outside.port) as stream:
                await stream.send_all(b"x")
                await stream.send_eof()
                assert await exactly(stream, 2) == b"x"
        with pytest.raises(PermissionError, match="this machine's own"):
            await tunnel.dial("127.0.0.1", here.port)
        outside.refuses = {PUBLIC}
        with socket.create_server(("127.0.0.2", 0)) as closed:
            port = closed.getsockname()[1]
        for dial, address in ((tunnel.dial, "127.0.0.2"), (outside.dial, PUBLIC)):
            with pytest.raises(OSError, match="refused"):
                await dial(address, port)


async def test_the_real_resolver_and_its_stand_in_keep_the_same(monkeypatch: pytest.MonkeyPatch):
    """The system's own answer in shape; no name is looked up."""
    asked: list[object] = []
    real = socket.getaddrinfo

    def system(name: bytes, port: int, **how: int) -> object:
        asked.append(name)
        if name != b"api.example.org.":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(PUBLIC, port, flags=socket.AI_NUMERICHOST, **how)

    async with open_outside() as outside:
        monkeypatch.setattr(socket, "getaddrinfo", system)
        for resolve in (tunnel.resolve, outside.resolve):
            turns = Traffic().turns
            assert await resolve("api.example.org", 443, turns) == [PUBLIC]
            with pytest.raises(OSError, match="not known"):
                await resolve("no.example.org", 443, turns)
            assert turns.borrowed_tokens == 0
    assert asked == [b"api.example.org.", b"no.example.org."]


async def test_a_look_up_that_is_given_up_keeps_its_turn_until_it_ends(monkeypatch: pytest.MonkeyPatch):
    """So one caller's dead name servers hang two threads, not all of them."""
    import threading

    go_on = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: go_on.wait(20) and [])
    turns = Traffic().turns
    try:
        for _ in range(4):
            with trio.move_on_after(0.02):
                await tunnel.resolve("api.example.org", 443, turns)
        assert turns.borrowed_tokens == 2
    finally:
        go_on.set()
    with trio.fail_after(20):
        await until(lambda: turns.borrowed_tokens == 0)


def test_programs_inside_are_told_where_the_way_out_is():
    told = tunnel.environment(8787, "dk_1")
    assert told["HTTPS_PROXY"] == told["https_proxy"] == "http://dash:dk_1@127.0.0.1:8787"
    assert "HTTP_PROXY" not in told
    assert "127.0.0.1" in told["NO_PROXY"]
