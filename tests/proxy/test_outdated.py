"""Calls in line whose model or price has changed: judged by the new one, and no hold is left behind."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from dashd import store
from dashd.domain.budget import NUSD
from dashd.proxy.ledger import Outdated
from dashd.store import budgets, thresholds
from dashd.store.holds import Settlement
from tests.fakes.provider import MODEL, PRICE, Provider, open_provider
from tests.proxy.test_ledger import LIMIT, ask, in_line, used
from tests.proxy.world import SWARM, Said, World, chat, check_tree, open_world, pause, request, until
from tests.proxy.world import ask as asked

CHEAP = replace(PRICE, input=1, output=1, cache_read=1, cache_write=1)
DEAR = replace(PRICE, input=NUSD)


class Swapped:
    """Whether the model of somebody in line was swapped."""

    def __init__(self) -> None:
        self.yes = False

    def __call__(self) -> bool:
        return self.yes


async def _paused(world: World, wanted: str = "pause") -> None:
    await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], wanted))
    world.ledger.changed()


async def test_what_is_asked_for_no_more_is_not_judged(tmp_path: Path):
    """Resumed, the call of a paused agent would be refused, and its budget come to its end."""
    async with open_world(tmp_path, limit=LIMIT) as world:
        await _paused(world)
        swapped = Swapped()

        async def wait() -> None:
            with pytest.raises(Outdated):
                await world.ledger.hold(ask(world, cost=LIMIT + 1), None, swapped)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await in_line(world, 1)
            swapped.yes = True
            await _paused(world, "run")
        assert await world.holds() == []
        assert await world.events("budget.threshold") == []
        assert ((await world.budget()).reached, (await world.budget()).need_nusd) == (0, None)


async def test_who_asks_anew_has_the_old_place_in_line(tmp_path: Path):
    async with open_world(tmp_path, limit=LIMIT, agents_count=3) as world:
        first = await world.ledger.hold(ask(world, cost=9_000))
        order: list[int] = []
        swapped, turn = Swapped(), world.ledger.turn()

        async def wait(agent: int, turn: int | None, outdated: Callable[[], bool]) -> None:
            try:
                held = await world.ledger.hold(ask(world, agent, cost=6_000), turn, outdated)
            except Outdated:
                held = await world.ledger.hold(ask(world, agent, cost=5_000), turn)
            order.append(agent)
            await world.ledger.settle(held.id, used(0))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, 1, turn, swapped)
            await in_line(world, 1)
            nursery.start_soon(wait, 2, None, lambda: False)
            await in_line(world, 2)
            swapped.yes = True
            world.ledger.changed()
            await until(lambda: [place.ask.cost.input for place in world.ledger._line] == [5_000, 6_000])
            await in_line(world, 2)
            await world.ledger.settle(first.id, used(0))
        assert order == [1, 2]


@pytest.mark.parametrize("given_up", [True, False])
async def test_a_grant_in_the_moment_of_the_swap_is_given_back_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given_up: bool
) -> None:
    """What they ask for is outdated while somebody else's round, which grants it to all, is under way."""
    async with open_world(tmp_path, limit=LIMIT, agents_count=7) as world:
        await world.ledger.hold(ask(world, cost=9_900))
        real, swapped = world.store.writer.apply, Swapped()
        ends: list[str] = []

        async def wait(agent: int, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
            with trio.CancelScope() as scope:
                task_status.started(scope)
                try:
                    await world.ledger.hold(ask(world, agent), None, swapped)
                except Outdated:
                    ends.append("outdated")
            ends.extend(["cancelled"] * scope.cancelled_caught)

        async with trio.open_nursery() as nursery:
            scopes = [await nursery.start(wait, agent) for agent in range(1, 6)]
            await in_line(world, 5)
            await world.store.writer.apply(lambda tx: budgets.set_limits(tx, SWARM, 2 * LIMIT, None))
            world.ledger._changes += 1  # and its bell is not heard before the newcomer's round

            async def apply_and_swap(operation: Callable[[store.Tx], Any]) -> object:
                monkeypatch.undo()
                swapped.yes = not given_up
                world.ledger.changed()
                for scope in scopes if given_up else ():
                    scope.cancel()
                return await real(operation)

            monkeypatch.setattr(world.store.writer, "apply", apply_and_swap)
            await world.ledger.hold(ask(world, 6))
        assert ends == ["cancelled" if given_up else "outdated"] * 5
        assert [basis for _, basis, _ in await world.holds()] == [None, *["unsent"] * 5, None]
        assert (await world.budget()).held_nusd == 9_900 + 1_000
        assert await world.store.reader.read(check_tree) == []


@pytest.mark.parametrize("seed", range(4))
async def test_swaps_at_random_leave_nothing_held_and_nothing_settled_twice(tmp_path: Path, seed: int):
    chance = random.Random(seed)
    async with open_world(tmp_path, limit=LIMIT, agents_count=6) as world:
        await world.store.writer.apply(lambda tx: budgets.set_actions(tx, SWARM, *["notify"] * 3))
        swaps = [Swapped() for _ in world.agents]
        owed = 0

        async def work(agent: int) -> None:
            nonlocal owed
            for _ in range(8):
                turn, held = world.ledger.turn(), None
                while held is None:
                    swaps[agent].yes = False
                    cost = chance.randrange(1_500, 4_000)
                    try:
                        held = await world.ledger.hold(ask(world, agent, cost=cost), turn, swaps[agent])
                    except Outdated:
                        continue
                await trio.lowlevel.checkpoint()
                cost = chance.randrange(3) and 100
                assert await world.ledger.settle(held.id, used(cost))
                owed += cost

        async def swap() -> None:
            while True:
                swaps[chance.randrange(6)].yes = True
                world.ledger.changed()
                await trio.sleep(chance.choice([0, 0, 0.0005]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(swap)
            async with trio.open_nursery() as workers:
                for agent in range(6):
                    workers.start_soon(work, agent)
            nursery.cancel_scope.cancel()
        node = await world.budget()
        assert (node.held_nusd, node.spent_nusd) == (0, owed)
        assert {state for state, _, _ in await world.holds()} == {"settled"}
        assert await world.store.reader.read(check_tree) == []


async def _parked(world: World, change: Callable[[], Awaitable[None]]) -> Said:
    """The answer to a call that was parked behind a pause until something was changed."""
    answers: list[Said] = []

    async def waits() -> None:
        answers.append(await asked(world.port, request(chat())))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            wait = world.exchange.waiting
            await until(lambda: world.waiting or wait(world.agents[0]))
            world.ledger.changed()  # as the bell of a pause does
            await until(lambda: world.waiting)
            await change()
    return answers[0]


async def _swap(world: World) -> None:
    world.door.callers()[0].model = "offline"
    world.registry.swapped()


async def _reconsidered(world: World) -> None:
    await world.store.writer.apply(lambda tx: thresholds.reconsider(tx, world.agents[0]))
    world.ledger.changed()


async def test_a_swap_frees_a_call_that_its_budget_has_paused(tmp_path: Path):
    """The old price is not judged again, so the swarm goes on and is not stopped anew."""
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)
        world.registry.prices.set(MODEL, DEAR)

        async def swap() -> None:
            await _swap(world)
            await _reconsidered(world)

        said = await _parked(world, swap)
        assert (said.status, said.json["model"], provider.calls) == (200, "offline", 0)
        assert len(await world.events("swarm.paused")) == len(await world.events("swarm.resumed")) == 1


async def test_a_lowered_price_frees_a_call_that_its_budget_has_paused(tmp_path: Path):
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)
        world.registry.prices.set(MODEL, DEAR)

        async def lower() -> None:
            world.registry.prices.set(MODEL, CHEAP)
            world.registry.changed()
            await _reconsidered(world)

        said = await _parked(world, lower)
        assert (said.status, provider.calls) == (200, 1)
        assert len(await world.events("swarm.paused")) == 1


async def test_a_provider_that_is_taken_away_and_added_anew_loses_no_call(tmp_path: Path):
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)
        world.registry.prices.set(MODEL, DEAR)

        async def anew() -> None:
            gone = world.registry.providers["p0"]
            world.registry.remove("p0")
            world.registry.changed()
            world.ledger.changed()
            await until(lambda: "taken away" in str(world.exchange.waiting(world.agents[0])))
            world.registry.prices.set(MODEL, CHEAP)
            world.registry.add(gone)
            world.registry.changed()
            await _reconsidered(world)

        said = await _parked(world, anew)
        assert (said.status, provider.calls) == (200, 1)


async def test_after_a_swap_nobody_is_refused_at_the_old_price(tmp_path: Path):
    """Paused by hand, so that nothing has judged the call; then it costs too much, and is swapped."""
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)
        await world.store.writer.apply(lambda tx: budgets.set_actions(tx, SWARM, *["none"] * 3))
        await _paused(world)

        async def swap_and_resume() -> None:
            world.registry.prices.set(MODEL, DEAR)
            await _swap(world)
            await _paused(world, "run")

        assert (await _parked(world, swap_and_resume)).status == 200


async def test_a_new_price_reaches_who_is_in_line_for_money(tmp_path: Path):
    """Nothing settles, and the call goes: at its new price there is room beside what others hold."""
    async with open_provider(Provider()) as provider, open_world(tmp_path, agents_count=2) as world:
        world.use(provider)
        other = await world.ledger.hold(ask(world, 1, cost=NUSD - 100_000))

        async def lower() -> None:
            world.registry.prices.set(MODEL, CHEAP)
            world.registry.changed()

        assert (await _parked(world, lower)).status == 200
        await world.ledger.settle(other.id, Settlement(0, 0, "unsent"))
