"""Buckets by configuration: what a door that opens later finds of what was called before."""

from pathlib import Path

import pytest
import trio

from dashd.proxy import pace
from dashd.proxy.ledger import Payer
from dashd.proxy.rates import Limits
from tests.fakes.clock import FixedClock
from tests.proxy.world import SWARM, World, ask, chat, open_world, request


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
