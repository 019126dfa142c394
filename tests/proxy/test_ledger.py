"""The ledger alone: grants, the line and its order, settling once, and what a start makes of open holds."""

import functools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from dashd import store
from dashd.domain.budget import CallCost
from dashd.domain.gates import Gate
from dashd.proxy import verdict
from dashd.proxy.ledger import Ask, BudgetSpent, Held, Ledger, Payer
from dashd.store import budgets, decisions, swarms, thresholds
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
    await until(lambda: len(world.waiting) == count == len([*world.ledger._line, *world.ledger._aside]))


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


async def test_calls_of_a_held_agent_take_no_place_and_are_judged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They could fill the line for days, and each settlement would have looked at all of them."""
    monkeypatch.setattr("dashd.proxy.ledger.LINE_MAX", 1)
    judged, judge = [], verdict.judge

    def counts(tx: store.Tx, asks: list[Ask], *more: Any) -> list[verdict.Answer]:
        judged.append([each.payer.agent_id for each in asks])
        return judge(tx, asks, *more)

    async with open_world(tmp_path, limit=LIMIT, agents_count=2) as world:
        await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "pause"))
        async with trio.open_nursery() as nursery:
            for count in (1, 2, 3):
                nursery.start_soon(world.ledger.hold, ask(world, 0))
                await in_line(world, count)
            monkeypatch.setattr(verdict, "judge", counts)
            for _ in range(3):
                held = await world.ledger.hold(ask(world, 1, cost=9_000))
                await world.ledger.settle(held.id, used(0))
            assert judged == [[world.agents[1]]] * 3
            await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "run"))
        assert (await world.budget()).held_nusd == 3_000


async def test_held_calls_come_back_to_the_places_of_their_age(tmp_path: Path) -> None:
    """One of another agent came between them, and waits: the older ones are before it."""
    async with open_world(tmp_path, limit=LIMIT, agents_count=3) as world:
        first = await world.ledger.hold(ask(world, 2, cost=9_000))
        await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "pause"))
        order: list[str] = []

        async def wait(agent: int, name: str) -> None:
            held = await world.ledger.hold(ask(world, agent, cost=9_000))
            order.append(name)
            await world.ledger.settle(held.id, used(0))

        async with trio.open_nursery() as nursery:
            for count, (agent, name) in enumerate([(0, "a"), (1, "b"), (0, "c")], start=1):
                nursery.start_soon(wait, agent, name)
                await in_line(world, count)
            await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "run"))
            await until(lambda: len(world.ledger._line) == 3)
            await in_line(world, 3)
            await world.ledger.settle(first.id, used(0))
        assert order == ["a", "b", "c"]


async def test_who_is_let_go_while_it_is_being_held_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent goes on right after its call was judged, before that call stands aside."""
    async with open_world(tmp_path, limit=LIMIT) as world:
        await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "pause"))
        real = world.store.writer.apply

        async def apply_and_resume(operation: Callable[[store.Tx], Any]) -> object:
            monkeypatch.undo()
            answer = await real(operation)
            wished = world.ledger._wished
            await real(lambda tx: pause(tx, world.agents[0], "run"))
            await until(lambda: world.ledger._wished > wished)
            return answer

        monkeypatch.setattr(world.store.writer, "apply", apply_and_resume)
        with trio.fail_after(5):
            assert (await world.ledger.hold(ask(world))).nusd == 1_000


async def test_a_held_call_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    async with open_world(tmp_path, limit=LIMIT) as world:
        await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "pause"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.ledger.hold, ask(world))
            await in_line(world, 1)
            nursery.cancel_scope.cancel()
        assert (world.ledger._line, world.ledger._aside) == ([], {})
        assert await world.holds() == []


async def test_a_held_call_hears_that_its_swarm_is_to_be_destroyed(tmp_path: Path) -> None:
    async with open_world(tmp_path, limit=LIMIT) as world:
        await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "pause"))
        ends: list[str] = []

        async def wait() -> None:
            with pytest.raises(errors.NotFound, match="is being destroyed"):
                await world.ledger.hold(ask(world))
            ends.append("heard")

        def destroy(tx: store.Tx) -> None:
            swarms.want_destroyed(tx, SWARM)
            tx.ring("agents")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await in_line(world, 1)
            await world.store.writer.apply(destroy)
        assert ends == ["heard"]


async def test_a_held_call_of_an_agent_that_is_killed_is_not_made(tmp_path: Path) -> None:
    async with open_world(tmp_path, limit=LIMIT) as world:
        await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "pause"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.ledger.hold, ask(world))
            await in_line(world, 1)
            seen = world.ledger._wished
            await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "kill"))
            ticket = world.ledger.ticket()
            if world.ledger._wished == seen:
                await ticket.wait()
            assert (len(world.ledger._aside), await world.holds()) == (1, [])
            nursery.cancel_scope.cancel()


async def test_who_may_not_wait_is_out_of_the_line_at_once(tmp_path: Path) -> None:
    async with open_world(tmp_path, limit=LIMIT) as world:
        first = await world.ledger.hold(ask(world, cost=9_500))

        def no_room() -> None:
            raise errors.Unavailable("full")

        with pytest.raises(errors.Unavailable, match="full"):
            await world.ledger.hold(ask(world), waits=no_room)
        assert world.ledger._line == []
        await world.ledger.settle(first.id, used(0))
        await world.ledger.hold(ask(world), waits=no_room)


async def test_a_line_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dashd.proxy.ledger.LINE_MAX", 1)
    async with open_world(tmp_path, limit=LIMIT) as world:
        await world.ledger.hold(ask(world, cost=9_500))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.ledger.hold, ask(world))
            await in_line(world, 1)
            with pytest.raises(errors.Unavailable, match="1 calls wait for money already"):
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
