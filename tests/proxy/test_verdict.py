"""Who is granted a hold, who waits and who is refused, as the ledger is asked."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from dashd.domain.budget import CallCost
from dashd.proxy.ledger import Ask, BudgetSpent, Payer
from dashd.store import budgets, swarms
from dashd.store.holds import Settlement
from dashd.wire import errors
from tests.proxy.test_ledger import LIMIT, ask, used
from tests.proxy.world import SWARM, open_world


async def test_what_a_refused_call_needs_is_known_until_one_fits(tmp_path: Path):
    async with open_world(tmp_path, limit=LIMIT, agents_count=2) as world:
        await world.store.writer.apply(lambda tx: budgets.set_actions(tx, SWARM, "none", "none", "none"))
        with pytest.raises(BudgetSpent):
            await world.ledger.hold(ask(world, cost=LIMIT + 1))
        row = await world.budget()
        assert (row.need_nusd, row.need_tokens, row.spent_nusd) == (LIMIT + 1, 11, 0)
        (told,) = await world.events("budget.threshold")
        assert "the next call must hold" in told["text"]
        assert told["options"][0].startswith(f"budget.extend {SWARM} 0.0000")
        await world.ledger.hold(ask(world, 1))
        assert (await world.budget()).need_nusd is None


@pytest.mark.parametrize("as_agent", [True, False])
async def test_a_swarm_that_is_to_be_destroyed_pays_for_nothing_more(tmp_path: Path, as_agent: bool):
    """Whatever of it still runs, and whoever has not heard of it yet."""
    async with open_world(tmp_path, limit=LIMIT) as world:
        asked = ask(world)
        asked = asked if as_agent else replace(asked, payer=Payer(SWARM, SWARM, key_id="1"))
        held = await world.ledger.hold(asked)
        await world.store.writer.apply(lambda tx: swarms.want_destroyed(tx, SWARM))
        with pytest.raises(errors.NotFound, match="being destroyed"):
            await world.ledger.hold(asked)
        assert await world.ledger.settle(held.id, used(300))
        assert len(await world.holds()) == 1


async def test_a_payer_without_a_budget_is_told_and_nobody_else_suffers(tmp_path: Path):
    async with open_world(tmp_path, limit=LIMIT) as world:
        nobody = replace(ask(world), payer=Payer("nobody"))
        ghost = replace(ask(world), payer=Payer(SWARM, SWARM, "ghost"))
        results: list[str] = []

        async def hold(asked: Ask) -> None:
            try:
                await world.ledger.hold(asked)
                results.append("held")
            except errors.NotFound:
                results.append("refused")

        async with trio.open_nursery() as nursery:
            for asked in (nobody, ask(world), ghost):
                nursery.start_soon(hold, asked)
        assert sorted(results) == ["held", "refused", "refused"]


async def test_tokens_are_a_limit_of_their_own(tmp_path: Path):
    async with open_world(tmp_path, limit=None) as world:
        await world.store.writer.apply(lambda tx: budgets.set_limits(tx, SWARM, None, 400))
        cost = CallCost(44, 1, 8_956, 100)
        asked = replace(ask(world), cost=cost, input_tokens=100)
        held = await world.ledger.hold(asked)
        assert held.output_tokens == 300
        assert held.tokens == 400
        await world.ledger.settle(held.id, Settlement(5, 350, "usage"))
        with pytest.raises(
            BudgetSpent, match="50 tokens left of 400 tokens, the next call must hold 356 tokens"
        ):
            await world.ledger.hold(asked)


async def test_a_fair_share_bounds_each_call(tmp_path: Path):
    async with open_world(tmp_path, limit=LIMIT, agents_count=4) as world:
        held = [await world.ledger.hold(ask(world, n, cost=9_000, least=300)) for n in range(4)]
        assert [each.nusd for each in held] == [2_500] * 4
