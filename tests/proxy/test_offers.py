"""What could be called instead: real providers' priced models, looked up once a minute."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio.testing

from dashd.domain.budget import NUSD, CallCost
from dashd.proxy.ledger import Ask, Payer
from dashd.proxy.offers import KEPT_S, Offers
from dashd.proxy.prices import PriceList
from dashd.proxy.registry import Provider, Registry, offline_providers
from dashd.store.holds import Settlement
from tests.fakes.provider import MODEL, PRICE, open_provider
from tests.fakes.provider import Provider as Scripted
from tests.proxy.world import SWARM, open_world


@pytest.fixture
def registry():
    return Registry({each.name: each for each in offline_providers()}, {}, PriceList({MODEL: PRICE}))


async def test_real_models_with_their_prices_kept_for_a_minute(
    registry: Registry, autojump_clock: trio.testing.MockClock
):
    offers = Offers(registry)
    assert offers.known() == ()
    registry.add(Provider("p", "openai-chat", models=(MODEL, "unpriced")))
    assert offers.known() == ()
    await trio.sleep(KEPT_S)
    assert offers.known() == ((MODEL, PRICE),)


async def test_a_price_list_is_not_loaded_for_it(registry: Registry):
    registry.add(Provider("p", "openai-chat"))
    assert Offers(registry).known() == ()
    assert not registry.prices.loaded


async def test_a_threshold_names_a_cheaper_model_of_the_price_list(tmp_path: Path):
    async with open_provider(Scripted()) as provider, open_world(tmp_path, limit=NUSD) as world:
        world.use(provider)
        world.registry.providers["p0"].models = (MODEL, "small")
        world.registry.prices.set("small", replace(PRICE, input=PRICE.input // 2, output=PRICE.output // 2))
        agent = world.agents[0]
        cost = CallCost(NUSD * 9 // 10, 0, 0, 10)
        held = await world.ledger.hold(Ask(Payer(agent, SWARM, agent), cost, 10, MODEL, "p0", "d"))
        await world.ledger.settle(held.id, Settlement(NUSD * 8 // 10, 200, "usage", 100, 100))
        (told,) = await world.events("budget.threshold")
        (named,) = (each for each in told["suggestions"] if each.startswith("model"))
        assert named.startswith(f"model small for what is left: 50% of the price of {MODEL}, $0.80 so far")
