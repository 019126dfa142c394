"""The way to a provider over HTTP: bytes as they come, whether any left, and faults as one class."""

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from dashd.proxy import upstream as upstream_module
from dashd.proxy.upstream import Answer, HttpUpstream, Request, UpstreamBroken
from tests.fakes.provider import Act, Provider, open_provider


@asynccontextmanager
async def opened() -> AsyncIterator[HttpUpstream]:
    upstream = HttpUpstream()
    with trio.fail_after(20):
        try:
            yield upstream
        finally:
            with trio.CancelScope(shield=True):
                await upstream.aclose()


def made(url: str, *, stream: bool = True) -> Request:
    body = b'{"stream":%s,"max_tokens":9}' % (b"true" if stream else b"false")
    return Request("p", "openai-chat", url + "/chat/completions", {"x-own": "1"}, body, stream)


async def read(answer: Answer) -> bytes:
    body = b""
    while chunk := await answer.receive():
        body += chunk
    assert await answer.receive() == b""
    await answer.aclose()
    return body


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_comes_through_and_the_connection_is_used_again(stream: bool):
    async with open_provider(Provider()) as provider, opened() as upstream:
        for _ in range(2):
            request = made(provider.url, stream=stream)
            answer = await upstream.send(request)
            assert answer.status == 200
            assert request.sent
            assert b"Hello" in await read(answer)
        assert provider.heads[0]["x-own"] == "1"
        assert "user-agent" not in provider.heads[0]
        assert "cookie" not in provider.heads[1]


async def test_nothing_left_where_nobody_listens():
    async with opened() as upstream:
        request = made("http://127.0.0.1:1/v1")
        with pytest.raises(UpstreamBroken, match="connecting"):
            await upstream.send(request)
        assert not request.sent


async def test_an_address_that_is_none():
    async with opened() as upstream:
        for url in ("http://", "http://[", "ftp://x"):
            request = made(url)
            with pytest.raises(UpstreamBroken):
                await upstream.send(request)
            assert not request.sent


async def test_a_cut_is_said():
    async with open_provider(Provider(lambda _: Act(cut_at=200))) as provider, opened() as upstream:
        request = made(provider.url)
        answer = await upstream.send(request)
        with pytest.raises(UpstreamBroken, match="answering"):
            await read(answer)
        await answer.aclose()


async def test_errors_and_redirects_are_answers():
    for status in (302, 429, 500):
        act = Act(status=status, retry_after="7")
        async with open_provider(Provider(lambda _, act=act: act)) as provider, opened() as upstream:
            answer = await upstream.send(made(provider.url))
            assert answer.status == status
            assert answer.headers["retry-after"] == "7"
            await read(answer)
            assert provider.calls == 1


async def test_cancelled_while_waiting_it_is_known_that_bytes_left():
    async with open_provider(Provider(lambda _: Act(stall_at=0))) as provider, opened() as upstream:
        request = made(provider.url)
        with trio.move_on_after(0.1):
            await upstream.send(request)
        assert request.sent
        again = Act()
        provider.script = lambda _: again
        assert b"Hello" in await read(await upstream.send(made(provider.url)))


async def test_an_answer_given_up_early_does_not_hold_the_connection():
    async with open_provider(Provider(lambda _: Act(stall_at=100))) as provider, opened() as upstream:
        for _ in range(3):
            answer = await upstream.send(made(provider.url))
            await answer.receive()
            await answer.aclose()


async def test_the_environment_sends_nothing_elsewhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with open_provider(Provider()) as provider, opened() as upstream:
        assert b"Hello" in await read(await upstream.send(made(provider.url)))


@pytest.mark.slow
def test_nothing_heavy_is_loaded_before_the_first_call():
    code = (
        "import sys, dashd.proxy.server, dashd.proxy.offline;"
        "print([name for name in ('httpx2', 'httpcore2', 'genai_prices') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.strip() == "[]"


async def test_without_certificates_or_descriptors_nobody_is_reached(monkeypatch: pytest.MonkeyPatch):
    def gone(_secure: bool) -> object:
        raise FileNotFoundError(2, "No such file or directory", "cacert.pem")

    monkeypatch.setattr(upstream_module, "_open", gone)
    async with opened() as upstream:
        with pytest.raises(UpstreamBroken, match="No such file"):
            await upstream.send(made("https://127.0.0.1:1/v1"))


async def test_a_name_that_there_is_no_thread_to_look_up_breaks_that_try_alone(
    scarce: Callable[[int], list[str]],
):
    async with open_provider(Provider()) as provider, opened() as upstream:
        tries = scarce(1)
        request = made(provider.url.replace("127.0.0.1", "localhost"))
        with pytest.raises(UpstreamBroken, match="connecting: NoThread can't start new thread"):
            await upstream.send(request)
        assert not request.sent
        assert b"Hello" in await read(await upstream.send(request))
        assert tries.count("getaddrinfo") == 2
