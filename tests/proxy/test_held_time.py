"""A call's patience: it runs while a line does not move, and not while its agent is held on purpose."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock

from dashd.domain.budget import NUSD
from dashd.proxy import pace
from dashd.proxy.held_time import HeldTime
from dashd.proxy.rates import Limits
from dashd.store import approvals
from dashd.store.approvals import ApprovalRow
from dashd.store.transaction import Tx
from tests.fakes.provider import Act, Provider, open_provider
from tests.proxy.test_call import call
from tests.proxy.world import HASTY, SWARM, Said, World, open_world, pause, until

DAY_S = 86_400.0
PATIENT = replace(HASTY, line_s=30, held_s=1_800)
FOREVER_S = 1e9


@pytest.fixture
def clock() -> MockClock:
    """Goes as others do, and lets a day pass at once: sockets and threads of the test notice nothing."""
    return MockClock(rate=1)


def _open(path: Path, limit: int = NUSD) -> AbstractAsyncContextManager[World]:
    return open_world(path, limit=limit, patience=PATIENT, deadline_s=FOREVER_S)


async def test_a_wait_ends_when_the_time_is_over(autojump_clock: MockClock) -> None:
    held = HeldTime(10)
    with held.limit() as limit:
        await trio.sleep_forever()
    assert limit.cancelled_caught
    assert trio.current_time() == pytest.approx(10)


async def test_time_that_it_stands_still_does_not_count(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    held, began = HeldTime(10), trio.current_time()

    async def stops() -> None:
        await trio.sleep(4)
        held.stand(True)
        held.stand(True)
        await trio.sleep(5_000)
        held.stand(False)
        held.stand(False)

    nursery.start_soon(stops)
    with held.limit() as limit:
        await trio.sleep_forever()
    assert limit.cancelled_caught
    assert trio.current_time() - began == pytest.approx(5_010)
    assert held.stood_s == pytest.approx(5_000)


async def test_who_begins_while_it_stands_still_has_no_deadline(autojump_clock: MockClock) -> None:
    held = HeldTime(10)
    held.stand(True)
    with held.limit(), trio.move_on_after(1_000) as waited:
        await trio.sleep_forever()
    assert waited.cancelled_caught


async def test_a_later_try_has_some_time_and_what_begins_anew_has_all(autojump_clock: MockClock) -> None:
    held, began = HeldTime(10), trio.current_time()
    held.at_least(3)
    assert held.until - began == pytest.approx(10)
    await trio.sleep(9)
    held.at_least(3)
    assert held.until - began == pytest.approx(12)
    held.again()
    assert held.until - began == pytest.approx(19)


def _in_line(world: World) -> bool:
    """Its call was looked at, and waits."""
    return bool(world.waiting)


async def _while_held(
    clock: MockClock,
    world: World,
    until_held: Callable[[], object],
    go_on: Callable[[], Awaitable[None]],
) -> Said:
    """The answer to a call that is held for a day, and then let go on."""
    answers: list[Said] = []

    async def calls() -> None:
        answers.append(await call(world))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(calls)
        await until(until_held)
        clock.jump(DAY_S)
        await trio.lowlevel.checkpoint()  # whoever had a deadline by then hears of it
        await go_on()
    return answers[0]


async def test_a_pause_that_is_longer_than_the_patience_fails_no_call(
    tmp_path: Path, clock: MockClock
) -> None:
    async with open_provider(Provider()) as provider, _open(tmp_path) as world:
        world.use(provider)
        await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "pause"))

        async def resume() -> None:
            await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "run"))
            world.ledger.changed()

        assert (await _while_held(clock, world, lambda: _in_line(world), resume)).status == 200


def _ask(tx: Tx, agent: str) -> ApprovalRow:
    blank = dict.fromkeys(ApprovalRow.__struct_fields__, "")
    facts = {"kind": "command", "swarm_id": SWARM, "agent_id": agent, "state": "open", "at_deadline": "deny"}
    times = {"two_person": 0, "deadline_at_ms": 1 << 50, "asked_at_ms": 0}
    none = {"number": None, "decided_at_ms": None}
    return approvals.insert(tx, msgspec.convert(blank | facts | times | none | {"args": "{}"}, ApprovalRow))


async def test_nor_does_a_wait_for_a_yes(tmp_path: Path, clock: MockClock) -> None:
    async with open_provider(Provider()) as provider, _open(tmp_path) as world:
        world.use(provider)
        asked = await world.store.writer.apply(lambda tx: _ask(tx, world.agents[0]))

        async def say_yes() -> None:
            def operation(tx: Tx) -> None:
                approvals.close(tx, asked, "allowed", "me", "")
                tx.ring("agents")

            await world.store.writer.apply(operation)

        assert (await _while_held(clock, world, lambda: _in_line(world), say_yes)).status == 200


async def test_a_budget_that_pauses_holds_a_call_until_it_is_extended(
    tmp_path: Path, clock: MockClock
) -> None:
    async with (
        open_provider(Provider()) as provider,
        _open(tmp_path, limit=1_000) as world,
    ):
        world.use(provider)

        async def extend() -> None:
            await world.extend(SWARM, NUSD)

        assert (await _while_held(clock, world, lambda: _in_line(world), extend)).status == 200


async def test_a_pause_between_two_tries_is_no_time_in_which_no_provider_answered(
    tmp_path: Path, clock: MockClock
) -> None:
    """Its first try fails, and the second is held by a pause that is longer than all tries may take."""
    paused = trio.Event()

    async def note() -> None:
        if provider.calls == 1:
            await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "pause"))
            paused.set()

    provider = Provider(lambda number: Act(status=500) if number < 2 else Act())
    provider.on_call = note
    async with open_provider(provider), _open(tmp_path) as world:
        world.use(provider)

        async def resume() -> None:
            await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "run"))
            world.ledger.changed()

        said = await _while_held(clock, world, lambda: paused.is_set() and _in_line(world), resume)
        assert said.status == 200
        assert provider.calls == 3


async def test_a_frozen_provider_fails_no_call_of_a_paused_agent(tmp_path: Path, clock: MockClock) -> None:
    """It is paused because of that, perhaps."""
    async with open_provider(Provider()) as provider, _open(tmp_path) as world:
        world.use(provider)
        world.registry.providers["p0"].frozen = "402"
        await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "pause"))

        async def thaw() -> None:
            world.registry.providers["p0"].frozen = None
            world.registry.changed()
            with trio.move_on_after(10):
                await until(lambda: _in_line(world))
            await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "run"))
            world.ledger.changed()

        assert (
            await _while_held(clock, world, lambda: world.exchange.waiting(world.agents[0]), thaw)
        ).status == 200


async def test_and_one_of_an_agent_that_works_is_given_up(tmp_path: Path, clock: MockClock) -> None:
    async with open_provider(Provider()) as provider, _open(tmp_path) as world:
        world.use(provider)
        world.registry.providers["p0"].frozen = "402"
        said = await _while_held(clock, world, lambda: world.exchange.waiting(world.agents[0]), _nothing)
        assert said.status == 503


async def test_nor_does_a_second_call_that_its_first_keeps_from_its_rate(
    tmp_path: Path, clock: MockClock
) -> None:
    """The first is held by the pause, and has all tokens of the agent's minute until it ends."""
    async with open_provider(Provider()) as provider, _open(tmp_path) as world:
        world.use(provider)
        agent = world.agents[0]
        world.door.callers()[0].rates = pace.Rates(Limits(tokens_per_minute=1_300), remedy="")
        await world.store.writer.apply(lambda tx: pause(tx, agent, "pause"))
        answers: list[Said] = []

        async def calls() -> None:
            answers.append(await call(world))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(calls)
            await until(lambda: _in_line(world))
            nursery.start_soon(calls)
            await until(
                lambda: [each.what for each in world.exchange.waits._open[agent].values()][1:] == ["rate"]
            )
            clock.jump(DAY_S)
            await trio.lowlevel.checkpoint()  # whoever had a deadline by then hears of it
            await world.store.writer.apply(lambda tx: pause(tx, agent, "run"))
        assert [each.status for each in answers] == [200, 200]


async def _nothing() -> None:
    await trio.lowlevel.checkpoint()
