"""The agents' desk at their own listener: what is asked, held, bounded and forgotten."""

import json
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from dashd.domain.asking import Answer
from dashd.proxy import asks
from dashd.proxy.asks import Desk
from tests.proxy.world import ask, open_world, request

TOLD = {"kind": "command", "text": "rm a", "call": "7"}


def asked(path=asks.PATH, **changes):
    return request(json.dumps({**TOLD, **changes}).encode(), path=path)


class Judge:
    """Holds what it is asked until the test answers."""

    def __init__(self):
        self.heard = []
        self.left = []
        self.arrived = trio.Event()
        self.answer = trio.Event()

    async def __call__(self, given):
        self.heard.append(given)
        self.arrived.set()
        try:
            await self.answer.wait()
        except trio.Cancelled:
            self.left.append(given.call)
            raise
        return Answer("deny", "no")


@asynccontextmanager
async def desk_of(tmp_path):
    async with open_world(tmp_path) as world:
        (caller,) = world.door.callers()
        judge = Judge()
        caller.desk = Desk(judge)
        yield world, judge


async def test_the_answer_is_held_until_there_is_one(tmp_path, nursery):
    async with desk_of(tmp_path) as (world, judge):
        said = []

        async def go():
            said.append(await ask(world.port, asked()))

        nursery.start_soon(go)
        await judge.arrived.wait()
        assert [(each.kind, each.text, each.call) for each in judge.heard] == [("command", "rm a", "7")]
        assert not said
        judge.answer.set()
        while not said:
            await trio.lowlevel.checkpoint()
        assert (said[0].status, said[0].json) == (200, {"decision": "deny", "text": "no"})
        assert await world.holds() == []


async def test_a_caller_that_hangs_up_is_forgotten_and_its_place_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(asks, "OPEN_MAX", 1)
    async with desk_of(tmp_path) as (world, judge):
        async with await trio.open_tcp_stream("127.0.0.1", world.port) as stream:
            await stream.send_all(asked())
            await judge.arrived.wait()
            full = await ask(world.port, asked(call="8"))
            assert (full.status, judge.left) == (429, [])
            assert "1 of your asks wait already" in full.json["error"]["message"]
        while not judge.left:
            await trio.lowlevel.checkpoint()
        judge.answer.set()
        assert (await ask(world.port, asked(call="8"))).status == 200


@pytest.mark.parametrize(
    ("sent", "status", "word"),
    [
        (request(b"{}", path=asks.PATH), 400, "not an ask"),
        (request(b"[" * 100_000, path=asks.PATH), 400, "not an ask"),
        (request(b'{"kind": "command", "text": "\xff", "call": "1"}', path=asks.PATH), 400, "not an ask"),
        (asked(kind="money"), 400, "command|path|tool"),
        (asked(text="x" * 20_001), 400, "20000"),
        (request(b" " * (asks.BODY_BYTES_MAX + 1), path=asks.PATH), 413, "bytes pass"),
        (request(None, method="GET", path=asks.PATH), 405, "POST"),
        (request(json.dumps(TOLD).encode(), path=asks.PATH, key="no"), 401, "opens nothing"),
        (asked(path="/dash/v1/approve"), 404, "/dash/v1/ask are"),
        (asked(path="/x/dash/v1/ask"), 404, "is no path here"),
    ],
)
async def test_what_is_no_ask_reaches_nobody(tmp_path, sent, status, word):
    async with desk_of(tmp_path) as (world, judge):
        said = await ask(world.port, sent)
        assert said.status == status
        assert word in said.json["error"]["message"]
        assert not judge.heard


async def test_a_program_that_is_no_agent_finds_no_such_path(tmp_path):
    async with open_world(tmp_path) as world:
        said = await ask(world.port, asked())
        assert said.status == 404
        assert "is no path here" in said.json["error"]["message"]
        assert not said.json["error"]["message"].endswith("/dash/v1/ask are")


class Reply:
    """Takes the answer of a desk."""

    started = False

    def watch(self, left):
        self.leave = left

    async def start(self, status, headers, *, length):
        self.status = status

    async def send(self, data):
        self.body = data


async def test_what_comes_too_fast_is_answered_later(autojump_clock):
    async def judge(_ask):
        return Answer("allow")

    desk, body = Desk(judge), json.dumps(TOLD).encode()
    began = trio.current_time()
    for _ in range(asks.PER_MINUTE_MAX):
        await desk.serve(body, Reply())
    assert trio.current_time() == began
    for _ in range(4):
        await desk.serve(body, reply := Reply())
    assert trio.current_time() - began == pytest.approx(4 * 60 / asks.PER_MINUTE_MAX)
    assert json.loads(reply.body) == {"decision": "allow", "text": ""}
