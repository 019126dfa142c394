"""A call that does not fit what is left: whom it stops besides itself."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dashd.domain.prices import OVERHEAD_TOKENS
from dashd.proxy.formats.openai_chat import IMAGE_TOKENS
from dashd.proxy.ledger import Ask, BudgetSpent, Payer
from dashd.store import agents, budgets, swarms
from tests.fakes.provider import MODEL, Provider, open_provider
from tests.proxy.test_ledger import LIMIT, ask, used
from tests.proxy.world import SWARM, World, open_world, pause, request
from tests.proxy.world import ask as send

KEY = "key-1"


@contextlib.asynccontextmanager
async def at_work(path: Path, agents_count: int = 2) -> AsyncIterator[World]:
    """A world in which all agents work, each with a call behind it that held 1,000."""
    async with open_world(path, limit=LIMIT, agents_count=agents_count) as world:
        await world.store.writer.apply(
            lambda tx: tx.execute("UPDATE agent SET state = 'running'")  # as when their programs run
        )
        for number in range(agents_count):
            held = await world.ledger.hold(ask(world, number))
            await world.ledger.settle(held.id, used(0))
        yield world


async def refused(world: World, asked: Ask) -> BudgetSpent:
    with pytest.raises(BudgetSpent) as raised:
        await world.ledger.hold(asked)
    return raised.value


async def stopped(world: World) -> bool:
    swarm = await world.store.reader.read(lambda db: swarms.get(db, SWARM))
    row = await world.budget()
    assert (row.reached == 100) == (row.need_nusd is not None) == (swarm.state == "paused")
    return swarm.state == "paused"


async def test_a_program_outside_stops_nobody_but_itself(tmp_path: Path):
    """Its own limit is another matter: that is its own end."""
    async with at_work(tmp_path) as world:
        key = budgets.new(KEY, "key", SWARM, None, at_ms=0)
        await world.store.writer.apply(lambda tx: budgets.insert(tx, key))
        big = replace(ask(world, cost=LIMIT + 1), payer=Payer(KEY, key_id="1", key_name="k"))
        error = await refused(world, big)
        assert (error.budget_id, error.action) == (SWARM, "pause")
        assert "$0.00001 left of $0.00001, the next call must hold" in error.message
        assert not await stopped(world)
        assert await world.events("budget.threshold") == []
        await world.store.writer.apply(lambda tx: budgets.set_limits(tx, KEY, LIMIT, None))
        assert (await refused(world, big)).budget_id == KEY
        assert ((await world.budget(KEY)).reached, (await world.budget(KEY)).need_nusd) == (100, LIMIT + 1)
        assert not await stopped(world)


async def test_one_huge_call_does_not_stop_agents_whose_calls_fit(tmp_path: Path):
    async with at_work(tmp_path) as world:
        error = await refused(world, ask(world, 0, cost=LIMIT + 1))
        assert (error.budget_id, error.action) == (SWARM, "pause")
        assert not await stopped(world)
        await world.ledger.hold(ask(world, 1))


async def test_what_others_need_is_known_after_a_restart_too(tmp_path: Path):
    """From their latest calls' rows: memory begins anew."""
    async with at_work(tmp_path) as world:
        world.ledger._leasts.clear()
        await refused(world, ask(world, 0, cost=LIMIT + 1))
        assert not await stopped(world)


@pytest.mark.parametrize("other", ["ends", "is paused", "needs as much"])
async def test_once_nobody_else_can_go_on_it_is_the_end(tmp_path: Path, other: str):
    async with at_work(tmp_path) as world:
        await refused(world, ask(world, 0, cost=LIMIT + 1))
        if other == "ends":
            await world.store.writer.apply(
                lambda tx: agents.set_state(tx, agents.get(tx.db, world.agents[1]), "completed")
            )
        elif other == "is paused":
            await world.store.writer.apply(lambda tx: pause(tx, world.agents[1], "pause"))
        else:
            assert not await stopped(world)
            await refused(world, ask(world, 1, cost=LIMIT + 2))
            assert await stopped(world)
            return
        await refused(world, ask(world, 0, cost=LIMIT + 1))
        assert await stopped(world)


async def test_of_some_who_are_held_the_last_one_stops_the_swarm(tmp_path: Path):
    async with at_work(tmp_path, 4) as world:
        for number in range(4):
            assert not await stopped(world)
            await refused(world, ask(world, number, cost=LIMIT + 1 + number))
        assert await stopped(world)


async def test_an_image_in_low_detail_is_held_in_full_where_that_may_not_be_heard(tmp_path: Path):
    """A provider that ignores the field bills all of the image."""
    url = "data:image/png;base64," + "A" * 100
    image = {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    async with open_provider(Provider()) as provider, open_world(tmp_path, limit=None) as world:
        world.use(provider)
        body = {"model": MODEL, "messages": [{"role": "user", "content": [image]}], "max_tokens": 10}
        assert (await send(world.port, request(json.dumps(body).encode()))).status == 200
        query = "SELECT held_tokens FROM hold"
        ((tokens,),) = await world.store.reader.read(lambda db: list(db.execute(query)))
        assert IMAGE_TOKENS + OVERHEAD_TOKENS < tokens < IMAGE_TOKENS + 2 * OVERHEAD_TOKENS
