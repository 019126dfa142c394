"""The ledger alone: grants, the line and its order, settling once, and what a start makes of open holds."""

import functools
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from dashd import store
from dashd.domain.budget import CallCost
from dashd.domain.gates import Gate
from dashd.proxy.ledger import Ask, BudgetSpent, Happened, Held, Ledger, Payer
from dashd.store import budgets, decisions, limits, swarms, thresholds
from dashd.store.decisions import Question
from dashd.store.holds import Settlement
from dashd.wire import errors
from tests.proxy.world import SWARM, World, check_tree, open_world, pause, until

LIMIT = 10_000


def ask(world: World, agent: int = 0, *, cost: int = 1_000, least: int | None = None) -> Ask:
    """An ask that holds exactly `cost`, or where `least` is given anything between the two."""
    name = world.agents[agent]
    output = (0, 1) if least is None else (1, cost - (least - 256))
    call = CallCost(cost if least is None else least - 256, *output, 10)
    return Ask(Payer(name, SWARM, name), call, input_tokens=10, model="m", provider="p", price_date="d")


def used(nusd: int) -> Settlement:
    return Settlement(nusd, 1, "usage", 1, 0)


async def in_line(world: World, count: int) -> None:
    """Until so many wait, and each has been looked at."""
    line = world.ledger._line
    await until(lambda: len(line) == count and all(place.answer is not None for place in line))


async def test_a_hold_is_on_the_whole_path_and_settling_frees_it(tmp_path: Path):
    async with open_world(tmp_path, limit=LIMIT) as world:
        held = await world.ledger.hold(ask(world))
        assert (held.nusd, held.output_tokens) == (1_000, 1)
        for node in (world.agents[0], SWARM, "project"):
            assert (await world.budget(node)).held_nusd == 1_000
        assert await world.ledger.settle(held.id, used(300))
        for node in (world.agents[0], SWARM, "project"):
            row = await world.budget(node)
            assert (row.held_nusd, row.spent_nusd, row.held_tokens) == (0, 300, 0)


async def test_settling_twice_is_settling_once(tmp_path: Path):
    """I4."""
    async with open_world(tmp_path, limit=LIMIT) as world:
        held = await world.ledger.hold(ask(world))
        assert await world.ledger.settle(held.id, used(300))
        assert not await world.ledger.settle(held.id, used(500), [Happened("model.call", {})])
        assert (await world.budget()).spent_nusd == 300
        assert await world.events("model.call") == []


async def test_a_refusal_changes_nothing_but_says_the_end(tmp_path: Path):
    """I5."""
    async with open_world(tmp_path, limit=LIMIT) as world:
        before = await world.budget("project")
        with pytest.raises(
            BudgetSpent, match=r"0.00001 left of \$0.00001, the next call must hold \$0.000000001 more"
        ) as refused:
            await world.ledger.hold(ask(world, cost=LIMIT + 1))
        assert refused.value.action == "pause"
        assert refused.value.budget_id == SWARM
        assert await world.budget("project") == before
        assert (await world.budget()).held_nusd == 0
        assert await world.holds() == []
        (told,) = await world.events("budget.threshold")
        assert told["threshold"] == 100


async def test_no_overtaking_and_oldest_first(tmp_path: Path):
    async with open_world(tmp_path, limit=LIMIT, agents_count=4) as world:
        first = await world.ledger.hold(ask(world, cost=9_000))
        order: list[tuple[int, int]] = []

        async def wait(agent: int, cost: int) -> None:
            held = await world.ledger.hold(ask(world, agent, cost=cost))
            order.append((held.id, agent))
            await world.ledger.settle(held.id, used(0))

        async with trio.open_nursery() as nursery:
            for place, (agent, cost) in enumerate([(1, 9_500), (2, 500), (3, 9_000)], start=1):
                nursery.start_soon(wait, agent, cost)
                await in_line(world, place)
            assert order == []  # agent 2 would fit, but came after agent 1
            await world.ledger.settle(first.id, used(0))
        assert [agent for _, agent in sorted(order)] == [1, 2, 3]


async def test_who_waits_for_one_budget_does_not_stop_the_others(tmp_path: Path):
    async with open_world(tmp_path, limit=None, agents_count=2, agent_limit=1_000) as world:
        await world.ledger.hold(ask(world, 0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.ledger.hold, ask(world, 0))
            await in_line(world, 1)
            assert (await world.ledger.hold(ask(world, 1))).nusd == 1_000
            nursery.cancel_scope.cancel()
        assert (await world.budget()).held_nusd == 2_000


async def test_one_who_leaves_the_line_lets_the_next_one_in(tmp_path: Path):
    async with open_world(tmp_path, limit=LIMIT, agents_count=3) as world:
        await world.ledger.hold(ask(world, cost=9_000))
        got: list[Held] = []

        async def wait() -> None:
            got.append(await world.ledger.hold(ask(world, 2, cost=900)))

        async with trio.open_nursery() as nursery:
            impatient = await nursery.start(_wait_cancellably, world, ask(world, 1, cost=5_000))
            await in_line(world, 1)
            nursery.start_soon(wait)
            await in_line(world, 2)
            assert got == []
            impatient.cancel()
        assert len(got) == 1


async def _wait_cancellably(
    world: World, asked: Ask, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await world.ledger.hold(asked)


@pytest.mark.parametrize("steps", range(12))
async def test_cancelled_at_any_step_nothing_stays_held(tmp_path: Path, steps: int):
    async with open_world(tmp_path, limit=LIMIT) as world:
        async with trio.open_nursery() as nursery:
            scope = await nursery.start(_wait_cancellably, world, ask(world))
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            scope.cancel()
        open_nusd = (await world.budget()).held_nusd
        granted = [state for state, _, _ in await world.holds()]
        # Where it was not cancelled in time it holds; else what it held was settled as never sent.
        assert open_nusd == (1_000 if granted == ["open"] else 0)


async def test_a_grant_that_nobody_waits_for_any_more_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Somebody else's round grants a call in the very moment in which its caller gives up."""
    async with open_world(tmp_path, limit=LIMIT, agents_count=6) as world:
        first = await world.ledger.hold(ask(world, cost=9_900))
        real, returned = world.store.writer.apply, []

        async def wait(agent: int, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
            with trio.CancelScope() as scope:
                task_status.started(scope)
                returned.append(await world.ledger.hold(ask(world, agent)))

        async with trio.open_nursery() as nursery:
            scopes = [await nursery.start(wait, agent) for agent in range(1, 6)]
            await in_line(world, 5)

            async def apply_and_give_up(operation: Callable[[store.Tx], Any]) -> object:
                answer = await real(operation)
                for scope in scopes if isinstance(answer, list) else ():
                    scope.cancel()
                return answer

            monkeypatch.setattr(world.store.writer, "apply", apply_and_give_up)
            await world.ledger.settle(first.id, used(0))
        assert len(await world.holds()) == 6
        assert len(returned) < 5
        assert (await world.budget()).held_nusd == 1_000 * len(returned)


async def test_a_paused_agent_waits_and_others_do_not(tmp_path: Path):
    async with open_world(tmp_path, limit=LIMIT, agents_count=2) as world:
        await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "pause"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.ledger.hold, ask(world, 0))
            await in_line(world, 1)
            await world.ledger.hold(ask(world, 1))
            await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "run"))
            world.ledger.changed()
        assert (await world.budget()).held_nusd == 2_000


async def test_the_next_call_of_an_agent_that_waits_for_a_yes_is_held(tmp_path: Path):
    async with open_world(tmp_path, limit=LIMIT, agents_count=2) as world:
        gate = Gate("g", "tool", "", 0, "ask", "operator", False, 3_600.0, "deny")
        told = Question(kind="tool", what="x", asked_by="a", agent=world.agents[0], swarm=SWARM)
        row = await world.store.writer.apply(lambda tx: decisions.request(tx, gate, told))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.ledger.hold, ask(world, 0))
            await in_line(world, 1)
            await world.ledger.hold(ask(world, 1))
            await world.store.writer.apply(lambda tx: decisions.decide(tx, row, "deny", "me", ""))
            world.ledger.changed()
        assert (await world.budget()).held_nusd == 2_000


async def test_a_fair_share_bounds_each_call(tmp_path: Path):
    async with open_world(tmp_path, limit=LIMIT, agents_count=4) as world:
        held = [await world.ledger.hold(ask(world, n, cost=9_000, least=300)) for n in range(4)]
        assert [each.nusd for each in held] == [2_500] * 4


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


async def test_after_a_start_nothing_is_held_and_everything_is_charged(tmp_path: Path):
    """I7, and that it is shown as unconfirmed."""
    async with open_world(tmp_path, limit=LIMIT) as world:
        done = await world.ledger.hold(ask(world))
        await world.ledger.settle(done.id, used(10))
        for _ in range(3):
            await world.ledger.hold(ask(world))
        again = Ledger(world.store)
        assert await again.recover() == 3
        assert await again.recover() == 0
        row = await world.budget()
        assert (row.held_nusd, row.spent_nusd, row.unconfirmed_nusd) == (0, 3_010, 3_000)
        assert {basis for _, basis, _ in await world.holds()} == {"usage", "crash"}


@pytest.mark.parametrize("passing", [errors.StoreFull, errors.Unavailable])
async def test_a_full_disk_or_a_lock_keeps_the_settlement_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passing: type[errors.Unavailable]
):
    async with open_world(tmp_path, limit=LIMIT) as world:
        held, other = await world.ledger.hold(ask(world)), await world.ledger.hold(ask(world))
        real = world.store.writer.apply

        async def full(operation: object) -> None:
            raise passing("not now")

        monkeypatch.setattr(world.store.writer, "apply", full)
        assert await world.ledger.settle(held.id, used(100))
        with pytest.raises(passing):
            await world.ledger.hold(ask(world))
        monkeypatch.setattr(world.store.writer, "apply", real)
        assert (await world.budget()).held_nusd == 2_000
        assert await world.ledger.settle(other.id, used(50))
        row = await world.budget()
        assert (row.held_nusd, row.spent_nusd) == (0, 150)


async def test_a_line_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dashd.proxy.ledger.LINE_MAX", 1)
    async with open_world(tmp_path, limit=LIMIT) as world:
        await world.ledger.hold(ask(world, cost=9_500))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.ledger.hold, ask(world))
            await in_line(world, 1)
            with pytest.raises(errors.RateLimited):
                await world.ledger.hold(ask(world))
            nursery.cancel_scope.cancel()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
async def test_random_calls_pass_no_limit_at_any_snapshot(tmp_path: Path, seed: int):
    """I1, I2, I3, I4 and I10, with limits that move while calls are under way."""
    chance = random.Random(seed)
    async with open_world(tmp_path, limit=LIMIT, agents_count=6, agent_limit=4_000) as world:
        await world.store.writer.apply(lambda tx: budgets.set_actions(tx, SWARM, *["notify"] * 3))
        for name in world.agents:
            await world.store.writer.apply(
                lambda tx, name=name: budgets.set_actions(tx, name, *["notify"] * 3)
            )

        async def work(agent: int) -> None:
            for _ in range(10):
                with trio.move_on_after(chance.choice([0.001, 0.01, 1])):
                    try:
                        least = chance.randrange(256, 700)
                        held = await world.ledger.hold(ask(world, agent, cost=3_000, least=least))
                    except BudgetSpent:
                        continue
                    await trio.lowlevel.checkpoint()
                    with trio.CancelScope(shield=True):
                        for _ in range(chance.choice([1, 1, 2])):
                            await world.ledger.settle(held.id, used(chance.randrange(held.nusd // 8 + 1)))

        async def move_limits() -> None:
            while True:
                target = world.agents[chance.randrange(6)]
                before = (await world.budget()).limit_nusd
                await world.store.writer.apply(functools.partial(_set, target, chance.randrange(8_000)))
                assert (await world.budget()).limit_nusd == before
                await trio.sleep(0.002)

        wrong: list[str] = []
        snapshots = 0

        async def look() -> None:
            nonlocal snapshots
            while True:
                found = await world.store.reader.read(check_tree)
                # An agent whose limit was lowered below what it has spent or holds may stand above it.
                wrong.extend(each for each in found if not each.startswith(f"I1 {SWARM}-"))
                snapshots += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            nursery.start_soon(move_limits)
            async with trio.open_nursery() as workers:
                for agent in range(6):
                    workers.start_soon(work, agent)
            nursery.cancel_scope.cancel()
        assert wrong == []
        assert snapshots > 5
        assert (await world.budget()).spent_nusd > 0


def _set(budget_id: str, limit: int, tx: store.Tx) -> None:
    budgets.set_limits(tx, budget_id, limit, None)
    thresholds.lift(tx, budgets.get(tx.db, budget_id))
