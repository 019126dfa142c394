"""A connection that ends and is made again: who waits for it, who is held off, what is remembered."""

import contextlib
import dataclasses
import errno
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import trio

from dashd.domain.attempt import Ending
from dashd.drivers import openclaw_client
from dashd.drivers import openclaw_protocol as protocol
from dashd.drivers.driver import ModelAccess
from dashd.drivers.openclaw_client import GatewayLost, GatewayRefused
from dashd.jail.holder_link import HolderGone
from dashd.runtime import added_gateway, gateway, gateway_connection, gateway_entry, gateway_refusals
from dashd.runtime.gateway_connection import ASK_S_MAX, DRAIN_S_MAX, RAW_MAX, Connection, GatewayGone
from tests.fakes.gateway_attempts import CLAIM, FakeGateway, commit, plan_of
from tests.fakes.scene import swarm_row

DOOR = "a door"
TOKEN = "a-canary"


class FakeDoors:
    """Whether the gateway's calls are held off; `meanwhile` is called while keys are made."""

    def __init__(self) -> None:
        self.held = True
        self.meanwhile: Callable[[], None] = lambda: None
        self.made: list[str] = []

    async def keys(self, gateway: str, swarm_id: str, agent_ids, model) -> dict[str, ModelAccess]:
        await trio.lowlevel.checkpoint()
        self.meanwhile()
        self.made += agent_ids
        return {each: ModelAccess("http://127.0.0.1:1/v1", f"key of {each}", "m") for each in agent_ids}

    def hold_off(self, gateway: str, *, on: bool) -> None:
        assert gateway == DOOR
        self.held = on


class FakeStream:
    """Nothing passes."""

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        await trio.lowlevel.checkpoint()


class FakeClient:
    """One connection that was let in."""

    def __init__(self) -> None:
        self.hello = protocol.Hello(4, protocol.Server("1.2.3", "boot"))
        self.lost = trio.Event()
        self.heard_at = trio.current_time()

    async def agents(self) -> set[str]:
        await trio.lowlevel.checkpoint()
        return {"a"}


class Scripted(Connection):
    """Tries end as `answers` say, one after the other; after them they are let in."""

    def __init__(self, world: Any) -> None:
        super().__init__(world)
        self.answers: list[Exception | None] = []
        self.clients: list[FakeClient] = []
        self.heard: list[str] = []
        self.unreachable_s: list[float] = []
        self.breaks: list[Exception] = []
        """How the next connections end that were let in."""

    @property
    def door(self) -> str:
        return DOOR

    async def add(self, agent_id: str) -> None:
        raise NotImplementedError

    def enter(self, tx: Any, launch_id: str, boot_id: str | None) -> None:
        raise NotImplementedError

    async def _dial(self) -> Any:
        await trio.lowlevel.checkpoint()
        return FakeStream()

    async def _token(self) -> str:
        return TOKEN

    async def _greet(self, client: Any) -> set[str] | None:
        if not self.answers:
            return await client.agents()
        found = self.answers.pop(0)
        if found is not None:
            raise found
        return None

    def shun(self, why: str) -> None:
        self.heard.append(f"shunned: {why}")

    def _unreachable(self, error: Exception, for_s: float) -> float:
        self.heard.append(f"unreachable: {error}")
        self.unreachable_s.append(for_s)
        return 1.0

    def _shut_out(self, refused: GatewayRefused, for_s: float) -> float:
        self.end(str(refused))
        return 1.0


def token_of(token: str) -> Callable[[], Awaitable[str]]:
    async def found() -> str:
        await trio.lowlevel.checkpoint()
        return token

    return found


@pytest.fixture
def made(bed, monkeypatch) -> Scripted:
    found = Scripted(dataclasses.replace(bed.world, gateway_doors=FakeDoors()))

    @contextlib.asynccontextmanager
    async def open_client(_stream, token, _version, _heard):
        assert token == TOKEN
        found.clients.append(FakeClient())
        yield found.clients[-1]
        if found.breaks:
            raise found.breaks.pop()

    async def is_ready(_stream) -> bool:
        return True

    monkeypatch.setattr(openclaw_client, "open_client", open_client)
    monkeypatch.setattr(openclaw_client, "is_ready", is_ready)
    return found


async def test_it_is_made_again_and_calls_are_held_off_meanwhile(made, nursery, autojump_clock) -> None:
    starting = GatewayRefused("connect", protocol.Fault("UNAVAILABLE", "busy", True, 3_000))
    made.answers = [GatewayLost("not yet"), starting]
    nursery.start_soon(made._stay_connected)
    first = await made.connected()
    heard = ["unreachable: not yet", f"unreachable: {starting}"]
    assert (made.heard, made._doors.held, made.version) == (heard, False, "1.2.3")
    assert trio.current_time() == 4
    made.answers = [GatewayLost("gone")]
    first.lost.set()
    while made._client is not None:
        await trio.lowlevel.checkpoint()
    assert (made._doors.held, made.version) == (True, None)
    assert await made.connected() is not first


@pytest.mark.parametrize(("asked_ms", "pause_s"), [(10, 1.0), (7_000, 7.0)])
async def test_one_that_lets_dashd_in_and_refuses_the_rest_is_not_there_whenever_it_wants_to_be_asked(
    made, nursery, autojump_clock, asked_ms, pause_s
) -> None:
    drains = protocol.Fault("UNAVAILABLE", "during gateway restart", True, asked_ms)
    made.answers = [GatewayRefused("agents.list", drains)] * 100
    nursery.start_soon(made._stay_connected)
    await made.connected()
    assert len(made.heard) == 100  # an own one is ended for it, and an added one told of
    assert made.unreachable_s[-1] == pytest.approx(99 * pause_s)
    made.end("")


async def test_who_asks_how_it_fares_is_told_what_it_says_now(
    made, nursery, autojump_clock, monkeypatch
) -> None:
    nursery.start_soon(made._stay_connected)
    client = await made.connected()
    assert await made.ask() == "1.2.3"
    assert await made.connected() is client  # which is another one

    async def stands_still(_stream: object) -> bool:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(openclaw_client, "is_ready", stands_still)
    with trio.fail_after(ASK_S_MAX + 1), pytest.raises(GatewayLost, match="no answer within 5 s"):
        await made.ask()
    assert await made.connected() is client  # it may only be busy
    made.end("")


@pytest.mark.parametrize(
    "error",
    [
        OSError(111, "Connection refused"),
        HolderGone("its holder is gone"),
        GatewayRefused("connect", protocol.Fault("UNAUTHORIZED", "wrong token: t")),
    ],
)
async def test_why_it_does_not_answer_is_told_without_its_token(made, monkeypatch, error) -> None:
    async def dial() -> None:
        await trio.lowlevel.checkpoint()
        raise error

    monkeypatch.setattr(made, "_dial", dial)
    monkeypatch.setattr(made, "_token", token_of("wrong token"))
    with pytest.raises(GatewayLost) as lost:
        await made.ask()
    assert str(lost.value) == str(error).replace("wrong token", "***")


async def test_one_that_breaks_after_hours_was_there_until_then(made, nursery, autojump_clock) -> None:
    nursery.start_soon(made._stay_connected)
    client = await made.connected()
    await trio.sleep(10_000)
    made.breaks.append(GatewayLost("the connection broke"))
    client.lost.set()
    await trio.sleep(0.1)
    assert made.heard == ["unreachable: the connection broke"]
    assert made.unreachable_s == [pytest.approx(0.0, abs=1)]
    made.end("")


@pytest.mark.parametrize(("cores", "starts"), [(1, 2), (2, 4), (4, 4), (64, 4)])
async def test_agents_begin_two_to_four_at_a_time_on_any_machine(bed, monkeypatch, cores, starts) -> None:
    monkeypatch.setattr(gateway_connection, "cores", lambda: cores)
    assert Scripted(bed.world).starts.value == starts


async def test_whether_it_stands_still_is_known_by_what_it_says(made, nursery, autojump_clock) -> None:
    assert not made.has_spoken(0.0)  # it was never there
    nursery.start_soon(made._stay_connected)
    client = await made.connected()
    asked_at = trio.current_time() + 1
    await trio.sleep(10)
    assert not made.has_spoken(asked_at)
    client.heard_at = trio.current_time()
    assert made.has_spoken(asked_at)
    made.end("")


async def test_a_refusal_for_good_and_a_greeting_that_fails_are_the_subclass_s(
    made, nursery, autojump_clock
) -> None:
    made.answers = [None, GatewayRefused("connect", protocol.Fault("UNAUTHORIZED", "wrong token"))]
    with trio.fail_after(60):
        await made._stay_connected()
    assert made._doors.held  # it was never connected
    with pytest.raises(GatewayGone, match="wrong token"):
        await made.connected()


async def test_events_of_a_run_are_told_to_who_hears_it(made) -> None:
    heard: list[str] = []
    forget = made.hear("r1", lambda event: heard.append(event.stream))
    payload = msgspec.Raw(b'{"runId": "r1", "stream": "tool", "data": {}}')
    made._heard(protocol.Event("agent", payload))
    made._heard(protocol.Event("chat", payload))
    made._heard(protocol.Event("agent", msgspec.Raw(b"[]")))
    forget()
    made._heard(protocol.Event("agent", payload))
    assert heard == ["tool"]


async def test_why_calls_failed_is_remembered_for_so_many_runs(made, autojump_clock) -> None:
    for number in range(RAW_MAX + 1):
        made._note_raw(f"r{number}", "400 no")
    assert await made.raw(f"r{RAW_MAX}", 1.0) == "400 no"
    assert await made.raw("r0", 1.0) == ""


async def test_who_waits_for_one_that_ends_is_told_why(made, autojump_clock) -> None:
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(GatewayGone, match="enough"):
                await made.connected()

        nursery.start_soon(wait)
        await trio.sleep(1)
        made.end("enough")


async def test_keys_that_go_while_others_are_made_are_still_those_that_were_asked_for(made, bed) -> None:
    """It began again meanwhile, or an agent has ended: whoever asked first hears of that by itself."""
    bed.scene.swarm(agents_made=2)
    doors, seats = made._doors, [bed.scene.agent(1), bed.scene.agent(2)]
    await made._access(swarm_row(), seats[:1])
    doors.meanwhile = made._made.clear
    found = await made._access(swarm_row(), seats)
    assert [each.key for each in found.values()] == [f"key of {seat.id}" for seat in seats]
    assert doors.made == [seat.id for seat in seats], "each is made once"


async def test_without_a_price_list_no_key_is_made_and_it_is_tried_again(made, bed) -> None:
    def unread() -> None:
        raise OSError(errno.EAGAIN, "reading the price list: timed out")

    bed.scene.swarm()
    made._doors.meanwhile = unread
    with pytest.raises(GatewayLost, match="timed out"):
        await made._access(swarm_row(), [bed.scene.agent()])


def _event(parts: int) -> protocol.Event:
    data = {"parts": [{"n": number} for number in range(parts)]}
    payload = {"stream": "tool", "data": data, "runId": "r1"}
    return protocol.Event("agent", msgspec.Raw(msgspec.json.encode(payload)))


def _took_s(work: Callable[[], object]) -> float:
    """The best of several."""

    def once() -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    return min(once() for _ in range(7))


async def test_an_event_that_nobody_listens_to_is_not_taken_apart(bed) -> None:
    gateway, event = Scripted(bed.world), _event(80_000)
    assert len(memoryview(event.payload)) < protocol.EVENT_BYTES_MAX
    whole_s = _took_s(lambda: msgspec.json.decode(event.payload, type=protocol.RunEvent))
    assert _took_s(lambda: gateway._heard(event)) < whole_s / 2
    heard: list[protocol.RunEvent] = []
    gateway.hear("r1", heard.append)
    gateway._heard(event)
    assert [len(each.data["parts"]) for each in heard] == [80_000]


async def test_one_that_is_too_large_is_passed_over_with_words(bed, caplog) -> None:
    gateway, heard = Scripted(bed.world), list[protocol.RunEvent]()
    gateway.hear("r1", heard.append)
    gateway._heard(_event(200_000))
    assert (heard, "bytes was passed over: a door" in caplog.text) == ([], True)


async def test_what_has_begun_comes_in_again_after_all_the_time_that_a_gateway_drains(
    nursery, autojump_clock
) -> None:
    waits = (
        gateway.READY_S_MAX,
        added_gateway.BEGUN_S_MAX,
        gateway_entry.LOST_S_MAX,
        gateway_refusals.ANSWER_S_MAX,
    )
    assert waits == (DRAIN_S_MAX,) * 4

    class WithDoor(FakeGateway):
        door = DOOR

    made, plan = WithDoor(), plan_of("s-t1.2", ("turn:1",))
    drains = protocol.Fault("UNAVAILABLE", "during gateway restart", True, 1_000)
    plan.begun, plan.follows_killed = True, False
    made.client.refuses = GatewayRefused("agent.wait", drains)

    async def let_in(_door: str, _claim: object) -> None:
        await trio.lowlevel.checkpoint()

    async def drain() -> None:
        await trio.sleep(315)
        made.client.refuses = None

    nursery.start_soon(drain)
    world = SimpleNamespace(commit=commit, gateway_doors=SimpleNamespace(let_in=let_in))
    with trio.fail_after(330):
        found = await gateway_entry._let_in(world, made, CLAIM, plan)  # type: ignore[arg-type]
    assert not isinstance(found, Ending)
