"""What is written when a hold is settled: once, and a freeze where the worst case was passed."""

from pathlib import Path

import pytest

from dashd.proxy.ledger import BudgetSpent
from dashd.proxy.settling import Happened
from dashd.store import budgets, limits
from dashd.store.holds import Settlement
from tests.proxy.test_ledger import LIMIT, ask, used
from tests.proxy.world import SWARM, open_world


async def test_settling_twice_is_settling_once(tmp_path: Path):
    """I4."""
    async with open_world(tmp_path, limit=LIMIT) as world:
        held = await world.ledger.hold(ask(world))
        assert await world.ledger.settle(held.id, used(300))
        assert not await world.ledger.settle(held.id, used(500), [Happened("model.call", {})])
        assert (await world.budget()).spent_nusd == 300
        assert await world.events("model.call") == []


async def test_an_overrun_is_charged_written_down_and_freezes(tmp_path: Path):
    async with open_world(tmp_path, limit=LIMIT) as world:
        held = await world.ledger.hold(ask(world))
        await world.ledger.settle(held.id, used(1_700))
        row = await world.budget(world.agents[0])
        assert (row.spent_nusd, row.overrun_nusd) == (1_700, 700)
        assert row.frozen is not None
        assert len(await world.events("budget.overrun")) == 1
        (told,) = await world.events("budget.overrun")
        assert told["options"][0].startswith(f"budget.set {world.agents[0]} --thaw")
        with pytest.raises(BudgetSpent, match=r"frozen.*--thaw lets its calls go on") as refused:
            await world.ledger.hold(ask(world))
        assert refused.value.action == "pause"
        await world.store.writer.apply(lambda tx: limits.thaw(tx, budgets.get(tx.db, world.agents[0]), ""))
        await world.ledger.hold(ask(world))


@pytest.mark.parametrize("limited", ["agent", "swarm", None])
async def test_more_tokens_than_the_worst_case_are_an_overrun_where_tokens_are_limited(
    tmp_path: Path, limited: str | None
):
    async with open_world(tmp_path, limit=LIMIT) as world:
        node = {"agent": world.agents[0], "swarm": SWARM, None: None}[limited]
        if node is not None:
            await world.store.writer.apply(lambda tx: budgets.set_limits(tx, node, LIMIT, 10**6))
        held = await world.ledger.hold(ask(world))
        await world.ledger.settle(held.id, Settlement(10, held.tokens + 5_000, "usage"))
        row = await world.budget(world.agents[0])
        assert (row.spent_nusd, row.spent_tokens, row.overrun_nusd) == (10, held.tokens + 5_000, 0)
        assert (row.frozen is None) == (limited is None)
        assert len(await world.events("budget.overrun")) == (limited is not None)
        if limited:
            assert "used 5,000 tokens more than its worst case" in (row.frozen or "")
