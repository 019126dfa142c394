"""Calls that wait, for a frozen provider, a circuit or money, and what ends it; and what a reroute says."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from dashd.domain.budget import NUSD
from dashd.proxy.registry import Provider as Configured
from dashd.store import thresholds
from tests.fakes.provider import MODEL, PRICE, Act, Provider, open_provider
from tests.proxy.world import HASTY, SWARM, Said, World, ask, chat, open_world, pause, request, until


async def call(world: World, **more: object) -> Said:
    return await ask(world.port, request(chat(**more)))  # type: ignore[arg-type]


async def _parked(world: World, change: Callable[[], Awaitable[None]]) -> Said:
    """The answer to a call that had to wait for p0, which is frozen, until something was changed."""
    world.registry.providers["p0"].frozen = "402"
    answers: list[Said] = []

    async def waits() -> None:
        answers.append(await call(world))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits)
        await until(lambda: world.registry.changes._next is not None)
        await change()
    return answers[0]


async def test_a_parked_call_waits_for_its_provider_to_be_thawed(tmp_path: Path):
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)

        async def thaw() -> None:
            assert provider.calls == 0
            told = world.exchange.waiting(world.agents[0])
            text = "provider p0 takes no more calls: 402"
            assert (told.what, told.on, told.text) == ("provider", "p0", text)
            world.registry.thaw("p0")
            await trio.lowlevel.checkpoint()

        assert (await _parked(world, thaw)).status == 200


async def test_a_parked_call_goes_where_its_agent_s_new_model_is(tmp_path: Path):
    """`agent.set_model` is what a person does about a frozen account."""
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)

        async def swap() -> None:
            world.door.callers()[0].model = "offline"
            world.registry.changes.ring()
            await trio.lowlevel.checkpoint()

        said = await _parked(world, swap)
        assert (said.status, said.json["model"]) == (200, "offline")
        assert provider.calls == 0
        assert world.registry.providers["p0"].frozen


async def test_a_parked_call_goes_to_a_provider_that_was_added(tmp_path: Path):
    async with (
        open_provider(Provider()) as broke,
        open_provider(Provider()) as other,
        open_world(tmp_path) as world,
    ):
        world.use(broke)

        async def add() -> None:
            world.registry.add(Configured("p1", "openai-chat", other.url, models=(MODEL,)))
            await trio.lowlevel.checkpoint()

        said = await _parked(world, add)
        assert (said.status, broke.calls, other.calls) == (200, 0, 1)


async def test_a_parked_call_waits_on_while_its_provider_is_taken_away_and_added_anew(tmp_path: Path):
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)
        registry = world.registry

        async def replace_it() -> None:
            gone = registry.providers.pop("p0")
            registry.changes.ring()
            await until(lambda: registry.changes._next is not None)
            registry.add(replace(gone, frozen=None))

        assert (await _parked(world, replace_it)).status == 200
        assert provider.calls == 1


async def test_a_call_of_a_paused_agent_sees_the_model_that_was_set_meanwhile(tmp_path: Path):
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)
        await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "pause"))
        answers: list[Said] = []

        async def waits() -> None:
            answers.append(await call(world))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            await until(lambda: world.ledger._line)
            world.door.callers()[0].model = "offline"
            await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "run"))
            world.ledger.changed()
        assert answers[0].json["model"] == "offline"
        assert provider.calls == 0
        assert [basis for _, basis, _ in await world.holds()] == ["usage"]


async def test_a_call_that_pauses_for_a_circuit_sees_its_agent_s_new_model(tmp_path: Path):
    async with (
        open_provider(Provider()) as provider,
        open_world(tmp_path, patience=replace(HASTY, retry_s=60)) as world,
    ):
        world.use(provider)
        for _ in range(3):
            world.registry.providers["p0"].circuits.failed(MODEL, "model", trio.current_time())
        answers: list[Said] = []

        async def waits() -> None:
            answers.append(await call(world))

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            await until(lambda: world.registry.changes._next is not None)
            world.door.callers()[0].model = "offline"
            world.registry.changes.ring()
        assert answers[0].json["model"] == "offline"
        assert trio.current_time() - began < world.registry.providers["p0"].circuits.provider.open_s


HUNG = Act(stall_at=0)


def _half_open(world: World, name: str = "p0") -> None:
    circuit = world.registry.providers[name].circuits.provider
    circuit.opened_at, circuit.open_s = trio.current_time(), 0.0


async def test_a_probe_that_hangs_is_given_up_soon_and_its_call_goes_elsewhere(tmp_path: Path):
    patience = replace(HASTY, first_byte_s=1_000, whole_s=1_000, probe_s=0.1)
    async with (
        open_provider(Provider(lambda _: HUNG)) as hung,
        open_provider(Provider()) as other,
        open_world(tmp_path, patience=patience) as world,
    ):
        world.use(hung, other)
        for stream in (False, True):
            _half_open(world)
            said = await call(world, stream=stream)
            assert said.status == 200
        assert (hung.calls, other.calls) == (2, 2)


async def test_while_a_probe_hangs_the_others_go_elsewhere_at_once(tmp_path: Path):
    patience = replace(HASTY, first_byte_s=1_000, whole_s=1_000, probe_s=1_000)
    async with (
        open_provider(Provider(lambda _: HUNG)) as hung,
        open_provider(Provider()) as other,
        open_world(tmp_path, patience=patience, agents_count=2) as world,
    ):
        world.use(hung, other)
        _half_open(world)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, world)
            await until(lambda: hung.calls)
            began = trio.current_time()
            for _ in range(3):
                assert (await ask(world.port, request(chat(), key="key-1"))).status == 200
            assert trio.current_time() - began < 1
            assert (hung.calls, other.calls) == (1, 3)
            nursery.cancel_scope.cancel()


async def test_a_model_that_is_slow_by_nature_is_given_the_time_to_prove_itself(tmp_path: Path):
    patience = replace(HASTY, first_byte_s=1_000, whole_s=1_000, probe_s=0.01)
    async with (
        open_provider(Provider(lambda _: Act(delay_s=0.3))) as slow,
        open_world(tmp_path, patience=patience) as world,
    ):
        world.use(slow)
        assert (await call(world)).status == 200
        _half_open(world)
        assert (await call(world)).status == 200
        assert slow.calls == 2


async def test_a_broken_model_is_left_for_its_sibling_of_the_same_provider(tmp_path: Path):
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        provider.script = lambda _: Act(status=500) if provider.bodies[-1]["model"] == "m-500" else Act()
        world.registry.prices.set("m-500", PRICE)
        world.registry.add(Configured("p0", "openai-chat", provider.url, models=("m-500", MODEL)))
        assert (await call(world, model=f"m-500 -> {MODEL}")).status == 200
        assert [each["model"] for each in provider.bodies] == ["m-500"] * 3 + [MODEL]
        told = await world.events("circuit.opened")
        assert [(each["provider"], each["model"]) for each in told] == [("p0", "m-500")]
        began = trio.current_time()
        assert (await call(world, model=f"m-500 -> {MODEL}")).status == 200
        assert (await call(world)).status == 200
        assert trio.current_time() - began < 1
        assert len(provider.bodies) == 6


ASKED = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/responses": {"input": "hi"},
    "/v1/messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 100},
}


@pytest.mark.parametrize("as_agents", [True, False])
@pytest.mark.parametrize("path", ASKED)
async def test_a_wait_for_money_that_takes_too_long_is_a_refusal_that_may_be_retried(
    tmp_path: Path, path: str, as_agents: bool
):
    """What calls under way hold is all that is in the way, so the budget is not spent: 503, and not 402."""
    patience = replace(HASTY, first_byte_s=1_000, whole_s=1_000, line_s=0.1, held_s=0.1)
    async with (
        open_provider(Provider(lambda _: HUNG)) as provider,
        open_world(tmp_path, limit=NUSD // 200, patience=patience, as_agents=as_agents) as world,
        trio.open_nursery() as nursery,
    ):
        world.use(provider)
        nursery.start_soon(call, world)
        await until(lambda: provider.calls)
        body = json.dumps({"model": "offline", **ASKED[path]}).encode()
        said = await ask(world.port, request(body, path=path))
        assert said.status == 503
        error = said.json["error"]
        assert error["data"] == {"kind": "unavailable", "retryable": True}
        assert "calls under way hold what is left of the budget; try again" in error["message"]
        assert [state for state, _, _ in await world.holds()] == ["open"]
        assert (await world.budget()).reached < 100
        nursery.cancel_scope.cancel()


async def _held(world: World, change: Callable[[], Awaitable[None]]) -> Said:
    """The answer to a call that its budget kept out until something was changed."""
    answers: list[Said] = []

    async def waits() -> None:
        answers.append(await call(world))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits)
        await until(lambda: world.waiting)  # its budget has paused its swarm
        await change()
    return answers[0]


async def test_a_held_call_costs_what_it_costs_when_it_goes(tmp_path: Path):
    """Its price was raised while it was held: the hold that lets it go covers the new one."""
    async with open_provider(Provider()) as provider, open_world(tmp_path, limit=1_000) as world:
        world.use(provider)
        dear = replace(PRICE, input=PRICE.input * 50, output=PRICE.output * 50)

        async def set_price_and_extend() -> None:
            assert provider.calls == 0
            world.registry.prices.set(MODEL, dear)
            world.registry.changed()
            await world.extend(SWARM, NUSD)

        said = await _held(world, set_price_and_extend)
        assert said.status == 200
        usage = said.json["usage"]
        billed = usage["prompt_tokens"] * dear.input + usage["completion_tokens"] * dear.output
        assert [hold for hold in await world.holds() if hold[2]] == [("settled", "usage", billed)]
        node = await world.budget()
        assert (node.spent_nusd, node.overrun_nusd, node.frozen) == (billed, 0, None)


async def test_a_held_call_goes_once_its_agent_calls_a_cheaper_model(tmp_path: Path):
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)
        world.registry.prices.set(MODEL, replace(PRICE, input=NUSD))

        async def swap() -> None:
            world.door.callers()[0].model = "offline"
            world.registry.changed()
            await world.store.writer.apply(lambda tx: thresholds.reconsider(tx, world.agents[0]))
            world.ledger.changed()

        said = await _held(world, swap)
        assert (said.status, said.json["model"], provider.calls) == (200, "offline", 0)


async def test_a_later_try_has_patience_for_its_hold_too(tmp_path: Path):
    """What the first try took of a program's patience is not said to be the budget's fault."""
    slow = Provider(lambda _: Act(status=500, delay_s=0.4, bills=False))
    patience = replace(HASTY, line_s=0.2, retry_s=60)
    async with (
        open_provider(slow) as broken,
        open_provider(Provider()) as well,
        open_world(tmp_path, patience=patience, as_agents=False, style="outside") as world,
    ):
        world.use(broken, well)
        said = await call(world)
        assert said.status == 200


async def test_each_reroute_is_said_with_its_ends_and_its_reason(tmp_path: Path):
    """Also of a call that nobody answers in the end."""
    gone = Provider(lambda n: Act(status=404, error={"message": f"no {n}"}))
    async with open_provider(gone), open_world(tmp_path) as world:
        world.use(gone, gone, gone)
        assert (await call(world)).status == 404
        told = await world.events("model.failover")
        assert [(each["from"], each["to"]) for each in told] == [
            (f"p0/{MODEL}", f"p1/{MODEL}"),
            (f"p1/{MODEL}", f"p2/{MODEL}"),
        ]
        assert [each["why"] for each in told] == ["HTTP 404 no 0", "HTTP 404 no 1"]


async def test_what_an_outage_costs_is_said_before_a_budget_says_it(tmp_path: Path):
    """A 500 may have been billed: who waits says so, and so does the event for which somebody is called."""
    async with open_provider(Provider(lambda _: Act(status=500))) as down, open_world(tmp_path) as world:
        world.use(down)
        texts: set[str] = set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, world)
            while not (told := await world.events("circuit.opened")):
                if wait := world.exchange.waiting(world.agents[0]):
                    texts.add(wait.text)
            nursery.cancel_scope.cancel()
        held = [cost for _, basis, cost in await world.holds() if basis == "worst-case"]
        assert told[0]["unconfirmed_usd"] == pytest.approx(sum(held[: down.calls]) / NUSD)
        assert any("its tries so far are charged in full, $0.0" in text for text in texts)
