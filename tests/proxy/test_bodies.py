"""What was said is kept where that is wanted: redacted, bounded, behind the call; else nothing is."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from dashd.domain.redaction import MARK
from dashd.proxy.bodies import QUEUE_MAX, Bodies, Heard
from dashd.store import call_bodies
from dashd.store.call_bodies import CallRow
from tests.fakes.clock import FixedClock
from tests.fakes.provider import Act, Provider, open_provider
from tests.proxy.world import World, ask, chat, open_world, request

OURS = "dk_live_" + "a" * 43


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as opened:
        yield opened


async def kept(world: World, count: int = 1) -> list[CallRow]:
    while True:
        found = await world.store.reader.read(lambda db: call_bodies.page(db, None, 0, 20))
        if len(found) >= count:
            return found
        await trio.sleep(0.001)


def bodies(world: World, keep: Any = "full", bytes_max: int = 65_536) -> Bodies:
    made = Bodies(world.store, FixedClock(), world.registry.secrets, keep=keep, bytes_max=bytes_max)
    world.exchange.bodies = made
    return made


async def test_nothing_is_kept_unless_somebody_asked(world: World):
    assert world.exchange.bodies is None
    await ask(world.port, request(chat(model="offline")))
    assert await world.store.reader.read(call_bodies.count) == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_both_texts_are_kept_without_their_secrets(world: World, stream: bool):
    async with open_provider(Provider()) as provider, trio.open_nursery() as ring:
        world.use(provider)
        ring.start_soon(bodies(world).run, 10**9, 10**9)
        text = f"my key is {OURS}, yours is sk-canary"
        assert (await ask(world.port, request(chat(text, stream=stream)))).status == 200
        (row,) = await kept(world)
        ring.cancel_scope.cancel()
    assert OURS not in row.request
    assert "sk-canary" not in row.request
    assert row.request.count(MARK) == 2
    assert "Hello" in row.answer
    meta = json.loads(row.meta)
    assert (meta["stream"], meta["format"], meta["cut"]) == (stream, "openai-chat", False)
    assert meta["request_bytes"] == len(chat(text, stream=stream))
    assert row.basis == "usage"
    assert row.agent_id == world.agents[0]


async def test_meta_keeps_no_text(world: World):
    async with trio.open_nursery() as ring:
        ring.start_soon(bodies(world, "meta").run, 10**9, 10**9)
        await ask(world.port, request(chat("hi", model="offline")))
        (row,) = await kept(world)
        ring.cancel_scope.cancel()
    assert (row.request, row.answer) == (None, None)
    assert json.loads(row.meta)["answer_bytes"] > 0


async def test_a_text_is_cut_and_all_of_them_are_bounded(world: World):
    async with trio.open_nursery() as ring:
        made = bodies(world, bytes_max=300)
        await ask(world.port, request(chat("x" * 50_000, model="offline")))
        ring.start_soon(made.run, 10**9, 10**9)
        (row,) = await kept(world)
        assert len(row.request) <= 300
        assert json.loads(row.meta)["cut"]
        ring.cancel_scope.cancel()
    left = await world.store.writer.apply(lambda tx: call_bodies.prune(tx, 0, 0))
    assert left == 0


async def test_each_try_is_kept_with_what_it_came_to(world: World):
    async with (
        open_provider(Provider(lambda n: Act(status=500, bills=False) if n == 0 else Act())) as provider,
        trio.open_nursery() as ring,
    ):
        world.use(provider)
        ring.start_soon(bodies(world).run, 10**9, 10**9)
        assert (await ask(world.port, request(chat()))).status == 200
        found = await kept(world, 2)
        ring.cancel_scope.cancel()
    assert [row.basis for row in found] == ["usage", "worst-case"]


async def test_where_nobody_writes_calls_go_on_and_what_is_missed_is_counted(world: World):
    made = bodies(world)
    for number in range(QUEUE_MAX + 3):
        made.keep(number, b"{}", made.listener(stream=False), {})
    assert made.missed == 3


def _event(data: object) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


@pytest.mark.parametrize(
    "event",
    [
        lambda piece: {"choices": [{"delta": {"content": piece}}]},
        lambda piece: {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": piece}}]}}]},
        lambda piece: {"type": "response.output_text.delta", "delta": piece},
        lambda piece: {"type": "content_block_delta", "delta": {"type": "text_delta", "text": piece}},
        lambda piece: {
            "type": "content_block_delta",
            "delta": {"type": "input_json_delta", "partial_json": piece},
        },
    ],
)
def test_a_secret_that_comes_in_pieces_is_put_together(event):
    heard = Heard(10_000, stream=True)
    for at in range(0, len(OURS), 3):
        heard.feed(_event(event(OURS[at : at + 3])))
    assert heard.text == OURS


@pytest.mark.parametrize(
    "data",
    [
        "nonsense",
        [1],
        {"choices": [None, {"delta": 5}]},
        {"delta": None},
        {"choices": 5},
        {"choices": [{"delta": {"tool_calls": 3}}]},
    ],
)
def test_what_is_no_event_of_ours_says_nothing(data):
    heard = Heard(100, stream=True)
    heard.feed(_event(data))
    heard.feed(b"data: [DONE]\n\n")
    assert (heard.text, heard.whole) == ("", True)


def test_an_event_that_is_no_text_says_nothing_and_the_next_one_does():
    heard = Heard(100, stream=True)
    heard.feed(b'data: {"type": "x.delta", "delta": "\xff"}\n\n')
    heard.feed(_event({"type": "x.delta", "delta": "said"}))
    assert heard.text == "said"


def test_no_more_is_kept_in_memory_than_was_said():
    heard = Heard(10, stream=False)
    for _ in range(100):
        heard.feed(b"12345")
    assert (len(heard.text), heard.bytes, heard.whole) == (10, 500, False)
