"""The agents' door over real sockets: what passes, what is refused early, what ends a connection."""

import json
from pathlib import Path

import pytest
import trio

from dashd.proxy import crowd, server
from dashd.proxy.door import digest
from dashd.proxy.formats.body import BODY_BYTES_MAX
from tests.fakes.provider import Act, Provider, open_provider
from tests.proxy.world import Said, World, ask, chat, open_world, pause, read, request, until

CALL = chat(model="offline")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines that a test can wait for."""
    for name in ("HEAD_S", "BODY_S", "IDLE_S", "LINGER_S"):
        monkeypatch.setattr(server, name, 0.05)


async def test_every_format_answers_below_any_prefix(tmp_path: Path):
    async with open_world(tmp_path) as world:
        messages = [{"role": "user", "content": "hi"}]
        for path, body in (
            ("/a/b/v1/chat/completions?x=1", {"model": "offline", "messages": messages}),
            ("/v1/responses", {"model": "offline", "input": "hi"}),
            ("/v1/messages", {"model": "offline", "messages": messages, "max_tokens": 50}),
        ):
            for stream in (False, True):
                sent = json.dumps({**body, "stream": stream}).encode()
                said = await ask(world.port, request(sent, path=path))
                assert said.status == 200
                assert said.whole
                kind = "text/event-stream" if stream else "application/json"
                assert said.headers["content-type"] == kind
                assert b"[offline stand-in]" in said.body


async def test_a_key_as_anthropic_s_clients_show_it(tmp_path: Path):
    async with open_world(tmp_path) as world:
        said = await ask(world.port, request(CALL, key=None, headers=["X-Api-Key: key-0"]))
        assert said.status == 200


@pytest.mark.parametrize("key", [None, "", "key-1", "KEY-0", "key-0 x"])
async def test_strangers_are_refused_with_neutral_words(tmp_path: Path, key: str | None):
    async with open_world(tmp_path) as world:
        said = await ask(world.port, request(CALL, key=key))
        assert said.status == 401
        assert said.json["error"]["message"] == "dash: this key opens nothing here; it may have ended"


async def test_a_stranger_at_openclaw_s_door_is_told_in_its_style(tmp_path: Path):
    async with open_world(tmp_path, style="openclaw") as world:
        assert (await ask(world.port, request(CALL, key="no"))).status == 400


async def test_a_revoked_key_is_a_stranger_s(tmp_path: Path):
    async with open_world(tmp_path) as world:
        assert (await ask(world.port, request(CALL))).status == 200
        world.door.revoke(digest("key-0"))
        assert (await ask(world.port, request(CALL))).status == 401


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request(CALL, path="/v1/files"), 404),
        (request(None, method="GET"), 405),
        (request(None, method="DELETE", path="/v1/models"), 405),
        (request(None), 411),
        (request(CALL, headers=["content-encoding: gzip"]), 415),
        (request(CALL).replace(b"application/json", b"text/plain"), 415),
        (request(None, headers=[f"content-length: {BODY_BYTES_MAX + 1}"]), 413),
        (request(None, headers=["content-length: 99999999999999999"]), 413),
        (request(b"{}"), 400),
        (request(b"[" * 100_000), 400),
        (b"GET\r\n\r\n", 400),
        (b"x" * 70_000, 431),
        (request(CALL, headers=["content-length: 5"]), 400),
    ],
)
async def test_what_does_not_pass_says_so(tmp_path: Path, sent: bytes, status: int):
    async with open_world(tmp_path) as world:
        said = await ask(world.port, sent)
        assert said.status == status
        assert said.whole
        assert said.json["error"]["message"].startswith("dash: ")
        assert await world.holds() == []


async def test_models_are_listed(tmp_path: Path):
    async with open_world(tmp_path) as world:
        said = await ask(world.port, request(None, method="GET", path="/v1/models"))
        assert [each["id"] for each in said.json["data"]] == ["offline", "offline-b"]
        bare = await ask(world.port, request(None, method="HEAD", path="/models"))
        assert bare.status == 200
        assert bare.body == b""
        assert bare.headers["content-length"] == said.headers["content-length"]
        assert (await ask(world.port, request(None, method="GET", path="/v1/models", key="no"))).status == 401


async def test_a_connection_is_kept_after_a_list_of_models(tmp_path: Path):
    async with open_world(tmp_path) as world:
        kept = request(None, method="GET", path="/v1/models").replace(b"connection: close\r\n", b"")
        async with await trio.open_tcp_stream("127.0.0.1", world.port) as stream:
            await stream.send_all(kept + request(CALL))
            assert (await _all(stream)).count(b"HTTP/1.1 200 OK") == 2


async def test_a_chunked_body_and_expect_continue(tmp_path: Path):
    async with open_world(tmp_path) as world:
        head = request(None, headers=["transfer-encoding: chunked", "expect: 100-continue"])
        async with await trio.open_tcp_stream("127.0.0.1", world.port) as stream:
            await stream.send_all(head)
            assert await stream.receive_some(1_000) == b"HTTP/1.1 100 \r\n\r\n"
            for at in range(0, len(CALL), 10):
                piece = CALL[at : at + 10]
                await stream.send_all(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await stream.send_all(b"0\r\n\r\n")
            said = await _rest(stream)
        assert said.status == 200


async def test_who_asks_before_sending_hears_the_refusal_at_once(tmp_path: Path):
    async with open_world(tmp_path) as world:
        head = request(None, key="no", headers=["content-length: 30000000", "expect: 100-continue"])
        async with await trio.open_tcp_stream("127.0.0.1", world.port) as stream:
            await stream.send_all(head)
            assert (await stream.receive_some(1_000)).startswith(b"HTTP/1.1 401 ")


async def test_a_connection_is_kept_and_calls_on_it_are_answered_in_order(tmp_path: Path):
    async with open_world(tmp_path) as world:
        kept = request(CALL).replace(b"connection: close\r\n", b"")
        async with await trio.open_tcp_stream("127.0.0.1", world.port) as stream:
            await stream.send_all(kept + kept)
            await stream.send_all(request(CALL))
            data = await _all(stream)
        assert data.count(b"HTTP/1.1 200 OK") == 3
        assert len(await world.holds()) == 3


async def test_a_chunked_body_that_grows_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "BODY_BYTES_MAX", 1_000)
    async with open_world(tmp_path) as world:
        body = b"400\r\n" + b" " * 1_024 + b"\r\n" + b"0\r\n\r\n"
        said = await ask(world.port, request(None, headers=["transfer-encoding: chunked"]) + body)
        assert said.status == 413


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("sent", "answer"), [(b"", b""), (b"POST /v1", b""), (request(CALL)[:-5], b"HTTP/1.1 408")]
)
async def test_one_deadline_for_each_head_and_body(tmp_path: Path, sent: bytes, answer: bytes):
    """A caller who drips is cut at the deadline, however often a byte comes."""
    async with open_world(tmp_path) as world:
        began = trio.current_time()
        async with await trio.open_tcp_stream("127.0.0.1", world.port) as stream:
            await stream.send_all(sent)
            data = await _all(stream)
        assert data[: len(answer) or None] == answer
        assert trio.current_time() - began < 2


async def test_connections_are_bounded_and_the_others_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(crowd, "CONNECTIONS_MAX", 2)
    async with open_world(tmp_path) as world:
        idle = [await trio.open_tcp_stream("127.0.0.1", world.port) for _ in range(2)]
        answers: list[Said] = []

        async def third() -> None:
            answers.append(await ask(world.port, request(CALL)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(third)
            with trio.move_on_after(0.1):
                await until(lambda: answers)
            assert answers == []
            await idle[0].aclose()
        assert answers[0].status == 200
        await idle[1].aclose()


async def test_an_agent_with_too_many_calls_is_told_so_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(crowd, "CALLS_MAX", 1)
    monkeypatch.setattr(crowd, "SHARED_MAX", 1)
    async with open_world(tmp_path, agents_count=2) as world, trio.open_nursery() as nursery:
        await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "pause"))
        for _ in range(2):
            nursery.start_soon(ask, world.port, request(CALL))
        await until(lambda: len(world.waiting) == 2)
        said = await ask(world.port, request(CALL))
        assert (said.status, said.headers["retry-after"]) == (503, "10")
        assert b"2 calls of this agent are under way" in said.body
        assert (await ask(world.port, request(CALL, key="key-1"))).status == 200
        nursery.cancel_scope.cancel()


async def test_closing_the_door_lets_calls_under_way_end(tmp_path: Path):
    """What a restart does: no new connection, but the answer comes."""
    import socket

    act = Act(delay_s=0.1)
    async with open_provider(Provider(lambda _: act)) as provider, open_world(tmp_path) as world:
        world.use(provider)
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        answers: list[Said] = []

        async def one() -> None:
            answers.append(await ask(port, request(chat(stream=True))))

        async with trio.open_nursery() as nursery:
            called = trio.Event()

            async def note() -> None:
                called.set()

            provider.on_call = note
            doors = await nursery.start(server.serve, listener, world.door, world.exchange)
            nursery.start_soon(one)
            await called.wait()
            doors.cancel()
        assert answers[0].status == 200
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream("127.0.0.1", port)


async def test_cancelled_calls_under_way_are_settled_first(tmp_path: Path):
    async with (
        open_provider(Provider(lambda _: Act(stall_at=0))) as provider,
        open_world(tmp_path) as world,
    ):
        world.use(provider)
        called = trio.Event()

        async def note() -> None:
            called.set()

        provider.on_call = note
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_swallowed, world)
            await called.wait()
            nursery.cancel_scope.cancel()
        await world.settled()
        assert [basis for _, basis, _ in await world.holds()] == ["worst-case"]


async def _swallowed(world: World) -> None:
    await ask(world.port, request(chat(stream=True)))


async def _all(stream: trio.SocketStream) -> bytes:
    data = b""
    async for chunk in stream:
        data += chunk
    return data


async def _rest(stream: trio.SocketStream) -> Said:
    return read(await _all(stream))
