"""When gateways are asked, and what is made of their answers: a scripted gateway, in virtual time.

tests/test_gateway_ports.py asks the stand-in.
"""

import contextlib
import socket

import msgspec
import pytest
import trio
import trio.testing

from dashd.drivers import openclaw_client
from dashd.drivers import openclaw_protocol as protocol
from dashd.drivers.openclaw_client import GatewayLost, GatewayRefused
from dashd.runtime import gateway_probes
from dashd.runtime.gateway_probes import PROBE_S_MAX, SHUN_S, SHUN_S_MAX, GatewayProbes, NoToken
from dashd.runtime.rounds import AGAIN_S, AT_ONCE_MAX, EVERY_S
from dashd.store import added_gateways
from dashd.store.added_gateways import AddedGatewayRow

DESK = AddedGatewayRow("desk", "ws://127.0.0.1:1", "file", None, "[]", None, 4, 0)


async def token(_row):
    await trio.lowlevel.checkpoint()
    return "t"


class Scripted(GatewayProbes):
    """Gateways that answer with a boot id, fail with words, or never answer (None)."""

    def __init__(self, world) -> None:
        super().__init__(world, token)
        self.answers: dict[str, str | Exception | None] = {}
        self.asked: list[tuple[float, str]] = []
        self.at_once = self.most_at_once = 0

    async def _hello(self, row, _token):
        self.asked.append((trio.current_time(), row.name))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await trio.lowlevel.checkpoint()
            found = self.answers[row.name]
            if found is None:
                await trio.sleep_forever()
            if isinstance(found, Exception):
                raise found
            return protocol.Server("2026.9.6", found)
        finally:
            self.at_once -= 1


@pytest.fixture
async def asked(bed, nursery):
    made = Scripted(bed.world)
    nursery.start_soon(made.run)
    return made


async def put(bed, name="desk"):
    row = msgspec.structs.replace(DESK, name=name)
    return await bed.world.store.writer.apply(lambda tx: added_gateways.put(tx, row))


def told(scene):
    return [each["kind"] for each in scene.events() if each["kind"].startswith("gateway.")]


async def test_a_new_one_is_asked_at_once_and_then_every_thirty_seconds(bed, asked, autojump_clock, scene):
    await trio.sleep(100)
    asked.answers["desk"] = "b1"
    await put(bed)
    await trio.sleep(3 * EVERY_S + 1)
    assert [at - 100 for at, _ in asked.asked] == pytest.approx([0, EVERY_S, 2 * EVERY_S, 3 * EVERY_S])
    seen = asked.seen["desk"]
    assert (seen.health, seen.version, seen.why) == ("alive", "2026.9.6", "")
    assert told(scene) == ["gateway.up"]
    asked.answers["desk"] = "b2"
    await trio.sleep(EVERY_S)
    assert scene.events()[-1]["data"]["restarted"] is True


async def test_one_question_without_an_answer_is_unknown_and_two_are_dead(bed, asked, autojump_clock, scene):
    asked.answers["desk"] = GatewayLost("nobody there")
    await put(bed)
    await trio.sleep(1)
    assert (asked.seen["desk"].health, told(scene)) == ("unknown", [])
    await trio.sleep(AGAIN_S)
    assert (asked.seen["desk"].health, asked.seen["desk"].why) == ("dead", "nobody there")
    await trio.sleep(2 * EVERY_S)
    assert told(scene) == ["gateway.down"]
    asked.answers["desk"] = "b1"
    await trio.sleep(EVERY_S)
    assert (asked.seen["desk"].health, told(scene)) == ("alive", ["gateway.down", "gateway.up"])


async def test_one_that_hangs_is_given_up_and_keeps_no_other_waiting(bed, asked, autojump_clock):
    names = [f"g{number}" for number in range(AT_ONCE_MAX + 4)]
    asked.answers = dict.fromkeys(names)
    asked.answers["g3"] = "b"
    for name in names:
        await put(bed, name)
    await trio.sleep(2 * PROBE_S_MAX + 2 * AGAIN_S)
    assert asked.most_at_once <= AT_ONCE_MAX
    assert asked.seen["g3"].health == "alive"
    assert asked.seen["g0"].why == "no answer within 5 s"
    assert {each for _, each in asked.asked} == set(names)


async def test_one_added_anew_is_another_one_and_a_removed_one_is_asked_no_more(
    bed, asked, autojump_clock, scene
):
    asked.answers["desk"] = NoToken("no file")
    await put(bed)
    await trio.sleep(1)
    asked.answers["desk"] = "b1"
    await put(bed)
    await trio.sleep(1)
    assert (asked.seen["desk"].health, asked.seen["desk"].failures) == ("alive", 0)
    await bed.world.store.writer.apply(lambda tx: added_gateways.remove(tx, "desk"))
    await trio.sleep(1)
    count = len(asked.asked)
    await trio.sleep(3 * EVERY_S)
    assert (len(asked.asked), asked.seen) == (count, {})
    assert await asked.ask("desk") is None


async def test_one_that_took_no_work_gets_none_until_it_answers_after_a_while(bed, asked, autojump_clock):
    asked.answers["desk"] = "b1"
    await put(bed)
    await trio.sleep(1)

    async def offered() -> float:
        """How long it was shunned."""
        began = trio.current_time()
        while asked.looks()["desk"].health != "alive":
            await asked.changes.ticket().wait()
        return trio.current_time() - began

    pauses = []
    for _ in range(8):
        count, ticket = len(asked.asked), bed.world.store.bells.queue.ticket()
        for _ in range(3):  # all that were on the way there
            asked.shun("desk", "config.patch: UNAVAILABLE")
        assert asked.seen["desk"].health == "alive"  # what runs in it goes on
        assert (asked.seen["desk"].standing[0], "config.patch" in asked.seen["desk"].standing[1]) == (
            "unknown",
            True,
        )
        await trio.sleep(1.1)
        assert len(asked.asked) == count + 1  # it was asked at once
        pauses.append(await offered())
        assert ticket.is_set()  # what has waited for it may start
    assert all(SHUN_S * 2**number / 2 <= pauses[number] + 1 for number in range(5))
    assert pauses[5] > SHUN_S_MAX / 2 - 1
    assert max(pauses) <= SHUN_S_MAX + 1
    asked.shun("desk", "again")
    asked.answers["desk"] = GatewayLost("gone")
    await trio.sleep(SHUN_S_MAX + EVERY_S)
    assert asked.looks()["desk"].health == "dead"
    asked.answers["desk"] = "b1"
    await trio.sleep(EVERY_S)
    assert asked.looks()["desk"].health == "alive"
    asked.shun("nobody", "it was removed")


async def test_one_that_takes_no_work_for_days_gets_none_for_no_longer_each_time(bed, asked, autojump_clock):
    asked.answers["desk"] = "b1"
    await put(bed)
    await trio.sleep(1)
    seen, now = asked.seen["desk"], trio.current_time()
    seen.shuns, seen.shunned_until = 1_024, now  # once more, and no float holds 2.0 to the power of it
    asked.shun("desk", "UNAVAILABLE")
    assert now + SHUN_S_MAX / 2 <= seen.shunned_until <= now + SHUN_S_MAX


async def test_people_who_ask_do_not_have_it_counted_as_dead(bed, asked, autojump_clock):
    asked.answers["desk"] = "b1"
    await put(bed)
    await trio.sleep(1)
    asked.answers["desk"] = None
    count = len(asked.asked)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(asked.ask, "desk")
    found = await asked.ask("desk")
    assert (found.health, found.why) == ("unknown", "no answer within 5 s")
    assert asked.seen["desk"].health != "dead"
    asked.answers["desk"] = "b1"
    await trio.sleep(EVERY_S)
    assert asked.seen["desk"].health == "alive"
    assert count + 6 < len(asked.asked) < count + 10  # it was asked by itself as well


@pytest.mark.parametrize("nobody", [True, False])
async def test_that_nobody_listens_is_another_thing_than_silence(bed, monkeypatch, nobody):
    with socket.create_server(("127.0.0.1", 0), backlog=1) as door:
        port = door.getsockname()[1]
        if nobody:
            door.close()

        async def is_ready(_stream):
            raise GatewayLost("asking whether it is ready: silence")

        monkeypatch.setattr(openclaw_client, "is_ready", is_ready)
        row = msgspec.structs.replace(DESK, url=f"ws://127.0.0.1:{port}")
        await bed.world.store.writer.apply(lambda tx: added_gateways.put(tx, row))
        made = GatewayProbes(bed.world, token)
        await made.follow()
        await made.probe(made.seen["desk"])
    assert (made.seen["desk"].failures, made.seen["desk"].ended) == (1, nobody)


async def test_one_that_begins_anew_each_time_it_is_asked_is_news_once_in_thirty_seconds(
    bed, asked, autojump_clock, scene
):
    asked.answers["desk"] = "b0"
    await put(bed)
    await trio.sleep(1)
    for number in range(1, 61):
        asked.answers["desk"] = f"b{number}"
        await asked.ask("desk")
        await trio.sleep(1)
    assert 2 <= len(told(scene)) <= 3
    await trio.sleep(EVERY_S)
    assert added_gateways.find(scene.db, "desk").boot_id == "b60"


async def test_one_whose_connection_ends_is_asked_at_once_and_nobody_else_is_woken(
    bed, asked, autojump_clock
):
    asked.answers["desk"] = "b1"
    await put(bed)
    await trio.sleep(10)
    count, woken = len(asked.asked), bed.world.store.bells.gateways.ticket()
    asked.hurry("desk")
    await trio.sleep(0.1)
    assert (len(asked.asked), woken.is_set()) == (count + 1, False)
    for _ in range(100):  # it is cut again and again
        asked.hurry("desk")
        await trio.sleep(0.1)
    assert count + 10 <= len(asked.asked) <= count + 12


async def test_after_a_start_nothing_is_known_and_what_was_told_is_not_told_again(
    bed, asked, autojump_clock, scene
):
    asked.answers["desk"] = "b1"
    await put(bed)
    await trio.sleep(1)
    again = Scripted(bed.world)
    again.answers["desk"] = "b1"
    assert [(look.health, look.version) for look in again.looks().values()] == []
    queue_rung = bed.world.store.bells.queue.ticket()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(again.run)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert (again.seen["desk"].health, told(scene)) == ("alive", ["gateway.up"])
    assert again.looks()["desk"].health == "alive"
    assert queue_rung.is_set()  # what waited for it may start, though nothing is news


async def test_a_password_store_may_take_its_time(bed, autojump_clock):
    async def slow(_row):
        await trio.sleep(3 * PROBE_S_MAX)
        return "t"

    made = Scripted(bed.world)
    made.token = slow
    made.answers["desk"] = "b1"
    await put(bed)
    found = await made.ask("desk")
    assert (found.health, found.latency_ms) == ("alive", 0)


async def test_a_gateway_that_repeats_its_token_is_not_quoted(bed, autojump_clock, monkeypatch, scene):
    @contextlib.asynccontextmanager
    async def refusing(_stream, token, *_):
        await trio.lowlevel.checkpoint()
        raise GatewayRefused("connect", protocol.Fault("UNAUTHORIZED", f"no {token} here"))
        yield

    async def answer(*_):
        await trio.lowlevel.checkpoint()
        return trio.testing.memory_stream_pair()[0]

    async def canary(_row):
        await trio.lowlevel.checkpoint()
        return "canary"

    monkeypatch.setattr(openclaw_client, "open_client", refusing)
    monkeypatch.setattr(gateway_probes, "dial", answer)
    monkeypatch.setattr(openclaw_client, "is_ready", answer)
    await put(bed)
    asked = GatewayProbes(bed.world, canary)
    await asked.follow()
    for _ in range(2):
        await asked.probe(asked.seen["desk"])
    found = asked.seen["desk"]
    assert (found.health, found.why) == ("dead", "connect: UNAUTHORIZED: no *** here")
    assert "canary" not in str(scene.events())


async def test_no_name_is_asked_for_and_no_other_host_dialled():
    for url in ("ws://localhost:1", "ws://10.0.0.1:1"):
        with pytest.raises((ValueError, AssertionError)):
            await gateway_probes.dial(url)
