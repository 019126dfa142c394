"""Buckets by configuration: what a door that opens later finds of what was called before."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from dashd.proxy import pace
from dashd.proxy.held_time import HeldTime
from dashd.proxy.ledger import Payer
from dashd.proxy.rates import DAY_S, Limits
from dashd.proxy.room import Room, Seat
from dashd.proxy.waits import Waits
from dashd.store.bells import Bell
from tests.fakes.clock import FixedClock
from tests.fakes.provider import Act, Provider, open_provider
from tests.proxy.world import HASTY, SWARM, Said, World, ask, chat, open_world, request, until


async def _call(world: World) -> None:
    assert (await ask(world.port, request(chat(model="offline")))).status == 200


async def _wait_s(world: World, payer: Payer, limits: Limits, after_s: float = 0) -> float:
    clock = FixedClock()
    clock.advance(round(after_s * 1_000))
    rates = await pace.rates_of(world.store, clock, payer, limits)
    assert rates is not None
    slow = rates.slowest(trio.current_time())
    return slow.wait_s if slow else 0


async def test_without_limits_there_are_none_and_nothing_is_read(tmp_path: Path):
    async with open_world(tmp_path) as world:
        assert await pace.rates_of(world.store, FixedClock(), Payer("nobody"), Limits()) is None


async def test_an_agent_gets_no_fresh_start(tmp_path: Path):
    async with open_world(tmp_path, agents_count=2) as world:
        await _call(world)
        await _call(world)
        mine, other = (Payer(name, SWARM, name) for name in world.agents)
        limits = Limits(requests_per_minute=2)
        assert await _wait_s(world, mine, limits) == pytest.approx(30)
        assert await _wait_s(world, mine, limits, after_s=20) == pytest.approx(10)
        assert await _wait_s(world, mine, limits, after_s=30) == pytest.approx(0)
        assert await _wait_s(world, other, limits) == 0
        assert await _wait_s(world, mine, Limits(tokens_per_day=1)) > 86_400


async def test_a_day_ago_is_forgotten(tmp_path: Path):
    async with open_world(tmp_path) as world:
        await _call(world)
        mine = Payer(world.agents[0], SWARM, world.agents[0])
        assert await _wait_s(world, mine, Limits(tokens_per_day=1), after_s=1) > 0
        assert await _wait_s(world, mine, Limits(tokens_per_day=1), after_s=86_401) == 0


async def test_a_budget_of_no_agent_counts_by_itself(tmp_path: Path):
    async with open_world(tmp_path, as_agents=False, agents_count=2) as world:
        await _call(world)
        mine, other = (Payer(name, SWARM) for name in world.agents)
        assert await _wait_s(world, mine, Limits(requests_per_minute=1)) == pytest.approx(60)
        assert await _wait_s(world, other, Limits(requests_per_minute=1)) == 0


async def test_parallel_calls_do_not_pass_their_tokens_a_minute(tmp_path: Path) -> None:
    """Those that find the limit taken by the ones under way are told to come back."""
    patience = replace(HASTY, whole_s=1_000, total_s=1_000)
    async with (
        open_provider(Provider(lambda _: Act(stall_at=0))) as provider,
        open_world(tmp_path, as_agents=False, style="outside", patience=patience) as world,
        trio.open_nursery() as nursery,
    ):
        world.use(provider)
        world.door.callers()[0].rates = pace.Rates(Limits(tokens_per_minute=3_000), remedy="")
        said: list[Said] = []

        async def call() -> None:
            said.append(await ask(world.port, request(chat(max_tokens=100))))

        for _ in range(20):
            nursery.start_soon(call)
        await until(lambda: len(said) + provider.calls == 20)
        assert 1 <= provider.calls <= 3  # each can use about 1,200
        assert [(each.status, each.headers["retry-after"]) for each in said] == [(429, "1")] * len(said)
        nursery.cancel_scope.cancel()


class _Wanted:
    """See pace.Wishes."""

    def __init__(self) -> None:
        self.wishes = Bell()
        self.paused = False

    async def is_paused(self, _payer: Payer) -> bool:
        await trio.lowlevel.checkpoint()
        return self.paused

    def want(self, *, paused: bool) -> None:
        self.paused = paused
        self.wishes.ring()


async def _slow_down(rates: pace.Rates, waits: Waits, held: HeldTime, wanted: _Wanted | None = None) -> None:
    seat = Seat(Room(waits), "a", 1)
    await pace.slow_down(rates, 10, Payer("b", "s", "a"), seat, held, wanted or _Wanted())


async def test_an_agent_begins_its_call_as_soon_as_one_under_way_has_ended(autojump_clock) -> None:
    rates, waits = pace.Rates(Limits(tokens_per_minute=100)), Waits(FixedClock())
    rates.begin(trio.current_time(), 10_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_slow_down, rates, waits, HeldTime(1_000))
        await trio.testing.wait_all_tasks_blocked()
        held = waits.of("a")
        assert held is not None
        assert (held.what, held.on, held.until_ms) == ("rate", "tokens_per_minute", None)
        began = trio.current_time()
        rates.end(10_000)
    assert trio.current_time() == began
    assert waits.of("a") is None


async def test_an_agent_waits_no_longer_than_its_call_may(autojump_clock) -> None:
    rates, waits = pace.Rates(Limits(tokens_per_minute=100)), Waits(FixedClock())
    rates.begin(trio.current_time(), 10_000)
    until_ = trio.current_time() + 30
    with pytest.raises(pace.TooFast, match="100 tokens a minute"):
        await _slow_down(rates, waits, HeldTime(30))
    assert until_ - 1 <= trio.current_time() <= until_


async def test_the_wait_stands_still_while_the_agent_is_paused(autojump_clock) -> None:
    """The call that has the limit stands still as well; what is left of the time runs on with the agent."""
    rates, waits, wanted = pace.Rates(Limits(tokens_per_minute=100)), Waits(FixedClock()), _Wanted()
    rates.begin(began := trio.current_time(), 10_000)

    async def pause_and_resume() -> None:
        await trio.sleep(20)
        wanted.want(paused=True)
        await trio.sleep(80_000)
        assert waits.of("a") is not None
        wanted.want(paused=False)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pause_and_resume)
        with pytest.raises(pace.TooFast):
            await _slow_down(rates, waits, HeldTime(30), wanted)
        assert trio.current_time() - began == pytest.approx(80_030, abs=1)


async def test_an_agent_that_is_paused_meanwhile_is_not_refused_for_a_long_wait(autojump_clock) -> None:
    rates, waits, wanted = pace.Rates(Limits(tokens_per_day=100)), Waits(FixedClock()), _Wanted()
    rates.used(began := trio.current_time(), 150)
    wanted.want(paused=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_slow_down, rates, waits, held := HeldTime(30), wanted)
        await trio.testing.wait_all_tasks_blocked()
        assert waits.of("a") is not None
    assert trio.current_time() - began == pytest.approx(0.51 * DAY_S, abs=1)
    assert held.until - trio.current_time() == pytest.approx(30)
