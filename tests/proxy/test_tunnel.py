"""The way out over real sockets: who gets where, what is dialled, and what is written down."""

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from dashd.proxy import tunnel
from dashd.proxy.caller import Caller
from dashd.proxy.ledger import Payer
from dashd.proxy.tunnel import Limits, TunnelRecord, Tunnels
from tests.fakes.outside import PUBLIC, Outside, open_outside
from tests.proxy.world import SWARM, World, ask, open_world, until

NAMED = ("api.example.org", "b.example.org:8443")
HOST = "api.example.org:443"
LIMITS = Limits()


class Written(list[TunnelRecord]):
    """What was written down; `fault` is raised instead."""

    fault: Exception | None = None

    async def note(self, record: TunnelRecord) -> None:
        await trio.lowlevel.checkpoint()
        if self.fault is not None:
            raise self.fault
        self.append(record)

    def ends(self) -> list[str]:
        return [each.how_it_ended for each in self]


@pytest.fixture
def written() -> Written:
    return Written()


@asynccontextmanager
async def open_way(
    path: Path,
    outside: Outside,
    written: Written,
    limits: Limits = LIMITS,
    named: tuple[str, ...] = NAMED,
    **more: Any,
) -> AsyncIterator[World]:
    tunnels = Tunnels(on_tunnel=written.note, resolve=outside.resolve, dial=outside.dial, limits=limits)
    async with open_world(path, tunnels=tunnels, hosts=named, **more) as world:
        yield world


def connect(target: str = HOST, *, key: str | None = "dash:key-0", headers: Sequence[str] = ()) -> bytes:
    lines = [f"CONNECT {target} HTTP/1.1", f"host: {target}", *headers]
    if key is not None:
        lines.append(f"proxy-authorization: Basic {base64.b64encode(key.encode()).decode()}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


@asynccontextmanager
async def tunnelled(world: World, sent: bytes = connect()) -> AsyncIterator[trio.SocketStream]:
    """A tunnel that is open."""
    async with await trio.open_tcp_stream("127.0.0.1", world.port) as stream:
        await stream.send_all(sent)
        assert await exactly(stream, len(b"HTTP/1.1 200 Connection established\r\n\r\n")) == (
            b"HTTP/1.1 200 Connection established\r\n\r\n"
        )
        yield stream


async def exactly(stream: trio.SocketStream, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := await stream.receive_some(size - len(data))):
        data += more
    return data


async def refused(world: World, sent: bytes) -> tuple[int, str, str]:
    """(status, phrase, message) of an answer that leaves the connection in order."""
    async with await trio.open_tcp_stream("127.0.0.1", world.port) as stream:
        await stream.send_all(sent)
        return await answer(stream)


async def answer(stream: trio.SocketStream) -> tuple[int, str, str]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some(1) or pytest.fail(f"closed behind {data!r}")
    lines = data.decode().split("\r\n")
    _, status, phrase = lines[0].split(" ", 2)
    headers = dict(line.split(": ", 1) for line in lines[1:] if line)
    body = await exactly(stream, int(headers["content-length"]))
    return int(status), phrase, json.loads(body)["error"]["message"]


async def test_bytes_pass_both_ways_and_are_written_down(tmp_path: Path, written: Written):
    async with (
        open_outside() as outside,
        open_way(tmp_path, outside, written) as world,
        tunnelled(world, connect() + b"early ") as stream,
    ):
        assert written.ends() == ["open"]
        await stream.send_all(b"and late")
        assert await exactly(stream, 14) == b"early and late"
        await stream.send_eof()
        assert await exactly(stream, 1) == b""
        await until(lambda: len(written) == 2)
    assert outside.dialled == [(PUBLIC, 443)]
    agent = f"{SWARM}-001"
    opened = TunnelRecord(agent, "api.example.org", 443, PUBLIC, 0, 0, "open", "")
    ended = replace(opened, bytes_up=14, bytes_down=14, how_it_ended="closed")
    assert written == [opened, ended]


async def test_a_host_that_is_not_named_is_refused_with_the_flag(tmp_path: Path, written: Written):
    async with (
        open_outside() as outside,
        open_way(tmp_path, outside, written) as world,
        await trio.open_tcp_stream("127.0.0.1", world.port) as stream,
    ):
        for target, name in (
            ("evil.example:443", "evil.example"),
            ("x.api.example.org:443", "x.api.example.org"),
            ("api.example.org:80", "api.example.org:80"),
            ("b.example.org:443", "b.example.org"),
        ):
            await stream.send_all(connect(target))
            status, phrase, message = await answer(stream)
            assert (status, phrase) == (403, f"Forbidden, needs --hosts {name}")
            assert f"Scope violation: attempted access to {name}; allowed scope: {NAMED[0]}" in message
            assert message.endswith(f"--hosts {name}")
        await stream.send_all(connect("b.example.org:8443"))
        assert (await exactly(stream, 12)) == b"HTTP/1.1 200"
    assert outside.looked_up == ["b.example.org"]
    assert outside.dialled == [(PUBLIC, 8443)]


async def test_no_host_is_the_default(tmp_path: Path, written: Written):
    assert Caller(Payer("a"), "pi").hosts == ()
    async with open_outside() as outside:
        async with open_way(tmp_path, outside, written, named=()) as world:
            status, _, message = await refused(world, connect())
            assert status == 403
            assert "allowed scope: nothing; whoever" in message
        async with open_world(fresh(tmp_path), hosts=NAMED) as bare:
            assert (await refused(bare, connect()))[0] == 403
    assert outside.looked_up == []


@pytest.mark.parametrize("key", [None, "", "dash:", "dash:key-1", "key-0:x", "dash:KEY-0"])
async def test_strangers_hear_407_and_may_try_again(tmp_path: Path, written: Written, key: str | None):
    async with (
        open_outside() as outside,
        open_way(tmp_path, outside, written) as world,
        await trio.open_tcp_stream("127.0.0.1", world.port) as stream,
    ):
        await stream.send_all(connect(key=key))
        status, _, message = await answer(stream)
        assert (status, message) == (407, "dash: this key opens nothing here")
        await stream.send_all(connect())
        assert (await exactly(stream, 12)) == b"HTTP/1.1 200"


@pytest.mark.parametrize(
    "header",
    [
        "proxy-authorization: Bearer key-0",
        f"Proxy-Authorization: basic {base64.b64encode(b'key-0').decode()}",
        f"proxy-authorization: Basic {base64.b64encode(b'key-0:').decode()}",
    ],
)
async def test_other_ways_to_show_a_key(tmp_path: Path, written: Written, header: str):
    async with (
        open_outside() as outside,
        open_way(tmp_path, outside, written) as world,
        tunnelled(world, connect(key=None, headers=[header])),
    ):
        pass


@pytest.mark.parametrize(
    "header",
    ["proxy-authorization: Basic !", "proxy-authorization: Basic /w==", "authorization: Bearer key-0"],
)
async def test_what_shows_no_key(tmp_path: Path, written: Written, header: str):
    async with open_outside() as outside, open_way(tmp_path, outside, written) as world:
        assert (await refused(world, connect(key=None, headers=[header])))[0] == 407


async def test_each_key_of_a_door_has_hosts_of_its_own(tmp_path: Path, written: Written):
    async with open_outside() as outside, open_way(tmp_path, outside, written, agents_count=2) as world:
        world.door.callers()[1].hosts = ("b.example.org",)
        assert (await refused(world, connect(key="dash:key-1")))[0] == 403
        async with tunnelled(world, connect("b.example.org:443", key="dash:key-1")):
            pass
        async with tunnelled(world):
            pass


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("127.0.0.1:443", 400),
        ("[::1]:443", 400),
        ("[fe80::1%25eth0]:443", 400),
        ("2130706433:443", 400),
        ("*.example.org:443", 400),
        ("me@api.example.org:443", 400),
        ("api.example.org:443@evil.example", 400),
        ("https://api.example.org", 400),
        ("api.example.org:0", 400),
        ("api.example.org:99999", 400),
        ("api.example.org:443:443", 400),
        ("api.example.org..:443", 400),
        ("localhost:443", 400),
        ("a" * 300 + ".org:443", 400),
        ("xn--pi-hka.example.org:443", 403),
        ("api.example.org.evil.example:443", 403),
    ],
)
async def test_targets_that_are_no_named_host(tmp_path: Path, written: Written, target: str, status: int):
    async with open_outside() as outside, open_way(tmp_path, outside, written) as world:
        assert (await refused(world, connect(target)))[0] == status
    assert outside.looked_up == []


@pytest.mark.parametrize(
    "raw", [b"api.example.org\0:443", b"api.example.org:443\x7f", b"\xc3\xa4pi.example:443"]
)
async def test_bytes_that_no_target_has_end_the_connection(tmp_path: Path, written: Written, raw: bytes):
    async with open_outside() as outside, open_way(tmp_path, outside, written) as world:
        said = await ask(world.port, connect().replace(HOST.encode(), raw))
        assert said.status == 400
    assert outside.looked_up == []


@pytest.mark.parametrize("target", ["API.Example.ORG:443", "api.example.org.:443", "api.example.org"])
async def test_spellings_of_a_named_host(tmp_path: Path, written: Written, target: str):
    async with (
        open_outside() as outside,
        open_way(tmp_path, outside, written) as world,
        tunnelled(world, connect(target)),
    ):
        pass
    assert outside.looked_up == ["api.example.org"]


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["::1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["100.64.0.1"],
        ["224.0.0.1"],
        ["::ffff:93.184.215.14"],
        ["fe80::1%eth0"],
        ["not an address"],
        [PUBLIC, "192.168.0.1"],
        ["2606:4700::1111", "fd00::1"],
    ],
)
async def test_one_address_that_is_not_public_refuses_the_name(
    tmp_path: Path, written: Written, addresses: list[str]
):
    async with (
        open_outside({"api.example.org": [addresses]}) as outside,
        open_way(tmp_path, outside, written) as world,
    ):
        status, phrase, message = await refused(world, connect())
    assert status == 403
    assert phrase.startswith("Forbidden, address is ")
    assert "only public addresses are dialled" in message
    assert outside.dialled == []
    assert [(each.how_it_ended, each.why, each.address) for each in written] == [("refused", "address", None)]


async def test_a_name_that_changes_its_address_is_dialled_at_the_one_that_was_checked(
    tmp_path: Path, written: Written
):
    """DNS rebinding: public when checked, private when looked up again."""
    answers = {"api.example.org": [[PUBLIC], ["127.0.0.1"]]}
    async with open_outside(answers) as outside, open_way(tmp_path, outside, written) as world:
        async with tunnelled(world):
            assert outside.looked_up == ["api.example.org"]
            assert outside.dialled == [(PUBLIC, 443)]
        assert (await refused(world, connect()))[0] == 403
    assert outside.looked_up == ["api.example.org"] * 2
    assert outside.dialled == [(PUBLIC, 443)]


async def test_the_next_address_is_tried_and_only_so_many(tmp_path: Path, written: Written):
    many = [f"93.184.215.{n}" for n in range(1, 10)]
    async with open_outside({"api.example.org": [many]}) as outside:
        outside.refuses = {many[0]}
        async with open_way(tmp_path, outside, written) as world:
            async with tunnelled(world):
                pass
            assert [address for address, _ in outside.dialled] == many[:2]
            outside.refuses = set(many)
            status, _, message = await refused(world, connect())
            assert status == 502
            assert "Connection refused" in message
            assert [address for address, _ in outside.dialled[2:]] == many[: tunnel.DIALS_MAX]


@pytest.mark.parametrize("addresses", [[], [f"93.184.{n}.1" for n in range(tunnel.ADDRESSES_MAX + 1)]])
async def test_a_name_without_an_address_or_with_too_many(
    tmp_path: Path, written: Written, addresses: list[str]
):
    async with (
        open_outside({"api.example.org": [addresses]}) as outside,
        open_way(tmp_path, outside, written) as world,
    ):
        assert (await refused(world, connect()))[0] == 502
        status, _, message = await refused(world, connect("b.example.org:8443"))
        assert (status, "Name or service not known" in message) == (502, True)
    assert outside.dialled == []


async def test_a_name_that_there_is_no_thread_to_look_up_for_a_moment_is_looked_up_then(
    tmp_path: Path, written: Written, scarce, monkeypatch: pytest.MonkeyPatch
):
    real = tunnel.socket.getaddrinfo

    def known(name, *arguments, **options):
        return (
            [(2, 1, 6, "", (PUBLIC, 443))]
            if name == b"api.example.org."
            else real(name, *arguments, **options)
        )

    monkeypatch.setattr(tunnel.socket, "getaddrinfo", known)
    async with open_outside() as outside:
        outside.resolve = tunnel.resolve  # type: ignore[method-assign, assignment]
        async with open_way(tmp_path, outside, written) as world:
            tries = scarce(2)
            async with tunnelled(world):
                assert tries.count("ask") == 3
        async with open_way(fresh(tmp_path), outside, written, Limits(resolve_s=0.02)) as world:
            monkeypatch.setattr(tunnel.threads, "AGAIN_S", 1_000)
            scarce(2)
            assert (await refused(world, connect()))[0] == 504


async def test_a_look_up_and_a_dial_that_hang_are_given_up(tmp_path: Path, written: Written):
    async def hang(*_: object) -> Any:
        await trio.sleep_forever()

    async with open_outside() as outside:
        outside.dial = hang  # type: ignore[method-assign]
        async with open_way(tmp_path, outside, written, Limits(resolve_s=0.02, dial_s=0.02)) as world:
            status, _, message = await refused(world, connect())
            assert (status, "no answer" in message) == (502, True)
            outside.resolve = hang  # type: ignore[method-assign]
        async with open_way(fresh(tmp_path), outside, written, Limits(resolve_s=0.02)) as world:
            assert (await refused(world, connect()))[0] == 504
    assert [each.why for each in written] == ["unreachable", "lookup_slow"]


@pytest.mark.parametrize(
    ("limits", "how"), [(Limits(idle_s=0.05), "idle"), (Limits(idle_s=9, total_s=0.05), "too-long")]
)
async def test_a_silent_tunnel_and_a_long_one_end(tmp_path: Path, written: Written, limits: Limits, how: str):
    async with open_outside() as outside, open_way(tmp_path, outside, written, limits) as world:
        async with tunnelled(world) as stream:
            assert await exactly(stream, 1) == b""
        assert written.ends() == ["open", how]


async def test_who_sends_without_reading_ends_idle(tmp_path: Path, written: Written):
    """Neither side's buffers grow for it."""
    async with (
        open_outside() as outside,
        open_way(tmp_path, outside, written, Limits(idle_s=0.1)) as world,
        tunnelled(world) as stream,
    ):
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(bytes(1 << 26))
        assert written.ends() == ["open", "idle"]


def fresh(path: Path) -> Path:
    (path / "fresh").mkdir()
    return path / "fresh"
