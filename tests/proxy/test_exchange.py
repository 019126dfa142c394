"""Calls through the whole proxy against a scripted provider: what is held, charged, retried, cut, refused,
held back.

The invariants of the money (I1 to I9) are in test_ledger.py and test_invariants.py.
"""

import inspect
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from dashd.domain import prices
from dashd.domain.budget import NUSD, CallCost
from dashd.proxy import call as one_call
from dashd.proxy import exchange
from dashd.proxy.ledger import Ask, Payer
from dashd.proxy.rates import Limits, Past, Rates
from dashd.store import budgets, limits
from dashd.store.holds import Settlement
from tests.fakes.provider import MODEL, PRICE, Act, Provider, open_provider
from tests.proxy.world import HASTY, SWARM, Said, World, ask, chat, open_world, pause, request, until

PATIENT = replace(HASTY, first_byte_s=1_000, held_s=1_000)
"""Only the hang-up itself ends a wait."""
DOWN = Act(status=500, bills=False)


async def call(world: World, **more: object) -> Said:
    return await ask(world.port, request(chat(**more)))  # type: ignore[arg-type]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_is_charged_what_it_used(tmp_path: Path, stream: bool):
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)
        said = await call(world, stream=stream)
        assert said.status == 200
        assert said.whole
        assert b"Hello" in said.body
        row = await world.budget()
        assert (row.held_nusd, row.spent_nusd, row.unconfirmed_nusd) == (0, provider.bill_nusd, 0)
        assert provider.heads[0]["authorization"] == "Bearer sk-canary"
        assert "key-0" not in str(provider.heads) + str(provider.bodies)


async def test_what_goes_out_is_capped_by_the_hold(tmp_path: Path):
    limit = prices.worst_input(2_000, PRICE) + 1_000 * PRICE.output
    async with open_provider(Provider()) as provider, open_world(tmp_path, limit=limit) as world:
        world.use(provider)
        assert (await call(world, max_completion_tokens=50_000)).status == 200
        capped = provider.bodies[0]["max_completion_tokens"]
        assert 1_000 <= capped < 2_000
        assert provider.bodies[0]["model"] == MODEL


async def test_nothing_leaves_without_an_open_hold(tmp_path: Path):
    """I9."""
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)
        open_holds = []

        async def look() -> None:
            row = await world.budget()
            open_holds.append(row.held_nusd)

        provider.on_call = look
        await call(world)
        await call(world, stream=True)
        assert len(open_holds) == 2
        assert min(open_holds) > 0


@pytest.mark.slow
async def test_a_fault_before_the_first_byte_is_retried(tmp_path: Path):
    provider = Provider(lambda n: DOWN if n < 2 else Act())
    async with open_provider(provider), open_world(tmp_path) as world:
        world.use(provider)
        said = await call(world, stream=True)
        assert said.status == 200
        assert provider.calls == 3
        assert [basis for _, basis, _ in await world.holds()] == ["worst-case", "worst-case", "usage"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "basis"),
    [
        (Act(status=429, retry_after="0.01", bills=False), "rejected"),
        (Act(stall_at=0), "worst-case"),
        (Act(status=529, bills=False), "worst-case"),
        (Act(status=529, error={"type": "overloaded_error"}), "rejected"),
        (Act(cut_at=10), "worst-case"),
    ],
)
async def test_each_kind_of_fault_is_retried(tmp_path: Path, fault: Act, basis: str):
    provider = Provider(lambda n: Act() if n else fault)
    async with open_provider(provider), open_world(tmp_path) as world:
        world.use(provider)
        assert (await call(world, stream=True)).status == 200
        assert [found for _, found, _ in await world.holds()] == [basis, "usage"]
        assert (await world.budget()).spent_nusd >= provider.bill_nusd


async def test_a_model_without_access_is_its_own_trouble_and_its_sibling_answers(tmp_path: Path):
    """No account is frozen for it, and alone it is told as a model that is not there."""
    denied = Act(status=403, error={"message": "Project p does not have access to model m", "type": "x"})
    provider = Provider(lambda _: denied if provider.bodies[-1]["model"] == MODEL else Act())
    async with open_provider(provider), open_world(tmp_path) as world:
        world.use(provider)
        world.registry.prices.set("m-2", PRICE)
        world.registry.providers["p0"].models = (MODEL, "m-2")
        assert (await call(world, model=f"{MODEL} -> m-2")).status == 200
        assert (await call(world, model=f"{MODEL} -> m-2")).status == 200
        assert [each["model"] for each in provider.bodies] == [MODEL, "m-2", "m-2"]
        assert world.registry.providers["p0"].frozen is None
        opened, alerts = await world.events("circuit.opened"), await world.events("system.alert")
        assert [(each["provider"], each["model"]) for each in opened] == [("p0", MODEL)]
        assert not alerts
        assert len(await world.events("model.failover")) == 1
        world.registry.providers["p0"].circuits.reset()
        said = await call(world)
        assert said.status == 404
        assert b"does not have access" in said.body
        assert (await world.budget()).spent_nusd == provider.bill_nusd


async def test_after_the_first_byte_it_cuts_in_band(tmp_path: Path):
    async with open_provider(Provider(lambda _: Act(cut_at=400))) as provider, open_world(tmp_path) as world:
        world.use(provider)
        said = await call(world, stream=True)
        assert said.status == 200
        assert said.whole
        assert b'"error"' in said.body.rpartition(b"data: ")[2]
        assert provider.calls == 1
        assert (await world.holds())[0][1] == "worst-case"


@pytest.mark.slow
async def test_a_stalled_stream_is_cut(tmp_path: Path):
    async with (
        open_provider(Provider(lambda _: Act(stall_at=400))) as provider,
        open_world(tmp_path) as world,
    ):
        world.use(provider)
        said = await call(world, stream=True)
        assert b"stalled" in said.body
        assert (await world.budget()).held_nusd == 0


@pytest.mark.slow
async def test_failover_at_once_once_the_circuit_is_open(tmp_path: Path):
    down, up = Provider(lambda _: DOWN), Provider()
    async with open_provider(down), open_provider(up), open_world(tmp_path) as world:
        world.use(down, up)
        assert (await call(world)).status == 200
        assert down.calls == 3
        assert [each["provider"] for each in await world.events("circuit.opened")] == ["p0"]
        began = trio.current_time()
        assert (await call(world)).status == 200
        assert trio.current_time() - began < 1
        assert (down.calls, up.calls) == (3, 2)
        told = await world.events("model.failover")
        assert (told[0]["from"], told[0]["to"]) == (f"p0/{MODEL}", f"p1/{MODEL}")


async def test_a_circuit_closes_when_a_probe_comes_through(tmp_path: Path):
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)
        circuit = world.registry.providers["p0"].circuits.provider
        circuit.opened_at, circuit.open_s = trio.current_time(), 0.1
        assert (await call(world)).status == 200
        assert [each["provider"] for each in await world.events("circuit.closed")] == ["p0"]


@pytest.mark.parametrize(
    ("status", "kind"), [(402, "x"), (429, "insufficient_quota"), (401, "x"), (400, "billing_error")]
)
async def test_a_terminal_error_freezes_the_provider(tmp_path: Path, status: int, kind: str):
    broke, other = Provider(lambda _: Act(status=status, error={"type": kind})), Provider()
    async with open_provider(broke), open_provider(other), open_world(tmp_path) as world:
        world.use(broke, other)
        assert (await call(world)).status == 200
        assert (await call(world)).status == 200
        assert (broke.calls, other.calls) == (1, 2)
        assert world.registry.providers["p0"].frozen
        assert (await world.holds())[0][1:] == ("rejected", 0)


async def test_what_the_provider_says_of_a_bad_call_is_passed_on(tmp_path: Path):
    error = {"type": "invalid_request_error", "message": "context_length_exceeded"}
    act = Act(status=400, error=error)
    async with open_provider(Provider(lambda _: act)) as provider, open_world(tmp_path) as world:
        world.use(provider)
        said = await call(world)
        assert (said.status, said.json["error"]) == (400, error)
        assert provider.calls == 1


@pytest.mark.slow
async def test_nobody_answers_says_later(tmp_path: Path):
    async with open_provider(Provider(lambda _: DOWN)) as provider, open_world(tmp_path) as world:
        world.use(provider)
        said = await call(world)
        assert said.status == 503
        assert said.json["error"]["data"] == {"kind": "unavailable", "retryable": True}
        assert (await world.budget()).held_nusd == 0


async def test_a_hang_up_is_drained_for_the_exact_cost(tmp_path: Path):
    act = Act(delay_s=0.1)
    async with open_provider(Provider(lambda _: act)) as provider, open_world(tmp_path) as world:
        world.use(provider)
        await _hang_up(world, provider)
        assert [basis for _, basis, _ in await world.holds()] == ["usage"]
        assert (await world.budget()).spent_nusd == provider.bill_nusd


async def test_a_hang_up_on_a_slow_answer_is_charged_in_full(tmp_path: Path):
    act = Act(stall_at=0)
    async with (
        open_provider(Provider(lambda _: act)) as provider,
        open_world(tmp_path, patience=PATIENT) as world,
    ):
        world.use(provider)
        await _hang_up(world, provider)
        assert [basis for _, basis, _ in await world.holds()] == ["worst-case"]
        assert provider.calls == 1


async def _hang_up(world: World, provider: Provider) -> None:
    called = trio.Event()

    async def note() -> None:
        called.set()

    provider.on_call = note
    stream = await trio.open_tcp_stream("127.0.0.1", world.port)
    await stream.send_all(request(chat(stream=True)))
    await called.wait()
    await stream.aclose()
    await world.settled()


async def test_a_hang_up_while_waiting_for_money_costs_nothing(tmp_path: Path):
    async with open_provider(Provider()) as provider, open_world(tmp_path, patience=PATIENT) as world:
        world.use(provider)
        await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "pause"))
        stream = await trio.open_tcp_stream("127.0.0.1", world.port)
        await stream.send_all(request(chat()))
        await until(lambda: world.waiting)
        await stream.aclose()
        await until(lambda: not world.waiting)
        assert await world.holds() == []
        assert provider.calls == 0


async def test_a_paused_agent_s_call_is_held_until_it_is_resumed(tmp_path: Path):
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)
        await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "pause"))
        answers: list[Said] = []

        async def waits() -> None:
            answers.append(await call(world))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            await until(lambda: world.waiting)
            assert provider.calls == 0
            await world.store.writer.apply(lambda tx: pause(tx, world.agents[0], "run"))
            world.ledger.changed()
        assert answers[0].status == 200


async def test_a_spent_budget_holds_the_call_until_it_is_extended(tmp_path: Path):
    async with open_provider(Provider()) as provider, open_world(tmp_path, limit=1_000) as world:
        world.use(provider)
        answers: list[Said] = []

        async def waits() -> None:
            answers.append(await call(world))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            await world.happened("budget.threshold")
            assert provider.calls == 0
            await world.extend(SWARM, NUSD)
        assert answers[0].status == 200


async def test_a_frozen_budget_holds_the_call_until_it_is_thawed(tmp_path: Path):
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)
        agent = world.agents[0]
        await world.store.writer.apply(lambda tx: budgets.set_frozen(tx, agent, "its price is wrong"))
        answers: list[Said] = []

        async def waits() -> None:
            answers.append(await call(world))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            await until(lambda: (waits := world.exchange.waiting(agent)) and waits.what == "budget")
            assert world.exchange.waiting(agent).on == agent
            assert (answers, provider.calls) == ([], 0)
            await world.store.writer.apply(lambda tx: limits.thaw(tx, budgets.get(tx.db, agent), ""))
            world.ledger.changed()
        assert answers[0].status == 200
        assert world.exchange.waiting(agent) is None


async def test_a_call_in_line_says_for_which_budget(tmp_path: Path):
    async with open_world(tmp_path, limit=NUSD) as world:
        agent = world.agents[0]
        first = await world.ledger.hold(
            Ask(Payer(agent, SWARM, agent), CallCost(NUSD, 0, 0, 10), 10, MODEL, "p", "d")
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(call, world, model="offline"))
            await until(lambda: world.exchange.waiting(agent))
            waits = world.exchange.waiting(agent)
            assert (waits.what, waits.on) == ("line", SWARM)
            await world.ledger.settle(first.id, Settlement(0, 0, "unsent"))
        assert world.exchange.waiting(agent) is None


@pytest.mark.parametrize(("style", "status"), [("openclaw", 400), ("pi", 402), ("embedded", 402)])
async def test_a_spent_budget_is_refused_in_style_where_it_does_not_pause(
    tmp_path: Path, style: str, status: int
):
    async with (
        open_provider(Provider()) as provider,
        open_world(tmp_path, limit=1_000, style=style) as world,  # type: ignore[arg-type]
    ):
        world.use(provider)
        await world.store.writer.apply(lambda tx: budgets.set_actions(tx, SWARM, "notify", "notify", "none"))
        said = await call(world)
        assert said.status == status
        assert provider.calls == 0
        assert await world.holds() == []


async def test_a_program_outside_is_refused_and_not_held(tmp_path: Path):
    async with open_world(tmp_path, limit=1_000, as_agents=False, style="outside") as world:
        said = await call(world, model="offline")
        assert said.status == 402
        assert said.json["error"]["data"]["kind"] == "budget_exceeded"


async def test_unknown_models_and_bad_calls_are_refused(tmp_path: Path):
    async with open_world(tmp_path) as world:
        unknown = await call(world, model="nobody-has-it")
        assert unknown.status == 404
        assert "offline" in unknown.json["error"]["message"]
        assert (await call(world, model="offline", n=2)).status == 400
        assert await world.holds() == []


async def test_a_model_of_another_format_is_refused(tmp_path: Path):
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider, speaks="anthropic")
        said = await call(world)
        assert said.status == 404
        assert "anthropic" in said.json["error"]["message"]


async def test_an_agent_s_model_is_swapped_without_its_knowing(tmp_path: Path):
    async with open_provider(Provider()) as provider, open_world(tmp_path) as world:
        world.use(provider)
        world.door.callers()[0].model = "offline"
        said = await call(world)
        assert said.json["model"] == "offline"
        assert provider.calls == 0


BODIES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/responses": {"input": "hi"},
    "/v1/messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 100},
}


async def test_a_program_outside_that_is_too_fast_is_told_which_limit_and_where_it_is(tmp_path: Path):
    async with open_world(tmp_path, as_agents=False) as world:
        world.door.callers()[0].rates = Rates(Limits(requests_per_minute=1), remedy="see proxy.{limit}")
        assert (await call(world, model="offline")).status == 200
        for path, fields in BODIES.items():
            body = json.dumps({"model": "offline", **fields}).encode()
            said = await ask(world.port, request(body, path=path))
            assert said.status == 429
            assert 50 <= int(said.headers["retry-after"]) <= 60
            error = said.json["error"]
            assert error["type"] == "rate_limit_error"
            assert "more than 1 requests a minute" in error["message"]
            assert error["message"].endswith("see proxy.requests_per_minute")
            assert error["data"] == {"kind": "rate_limited", "retryable": True}


async def test_an_agent_that_is_too_fast_is_slowed_down(tmp_path: Path):
    async with open_world(tmp_path) as world:
        rates = world.door.callers()[0].rates = Rates(Limits(requests_per_minute=600))
        rates.replay(trio.current_time(), [Past(0, 600, 0)])
        began = trio.current_time()
        slow = rates.slowest(began)
        assert slow is not None
        assert (await call(world, model="offline")).status == 200
        assert trio.current_time() - began >= slow.wait_s > 0


async def test_calls_are_told_at_most_once_a_second(tmp_path: Path):
    async with open_world(tmp_path) as world:
        for _ in range(5):
            await call(world, model="offline")
        told = await world.events("model.call")
        assert len(told) == 1
        assert told[0]["calls"] == 1


async def test_an_exchange_needs_no_http_library():
    """Loading it costs megabytes, and most swarms on the stand-in never need it."""
    assert "httpx" not in inspect.getsource(exchange) + inspect.getsource(one_call)


async def test_two_settlements_are_one(tmp_path: Path):
    """I4 through the exchange: a cancelled call has settled once, and only once."""
    async with (
        open_provider(Provider(lambda _: Act(stall_at=300))) as provider,
        open_world(tmp_path) as world,
    ):
        world.use(provider)
        await call(world, stream=True)
        (hold,) = await world.holds()
        settled = await world.ledger.settle(1, Settlement(5, 5, "usage"))
        assert not settled
        assert await world.holds() == [hold]
