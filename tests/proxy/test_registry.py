"""Who serves what: names, aliases, chains, wishes."""

import pytest

from dashd.domain import plain
from dashd.domain.prices import Price, Tier
from dashd.domain.wish import Wish
from dashd.proxy.prices import PriceList
from dashd.proxy.registry import Known, Provider, Registry, offline_providers
from dashd.wire import errors


def price(output: int) -> Price:
    return Price(1, output, 1, 1, 0, "today", "config")


def made() -> Registry:
    providers = [
        Provider("one", "openai-chat", "http://one", models=("big", "small")),
        Provider("two", "anthropic", "http://two", models=("big", "unpriced")),
        *offline_providers(),
    ]
    aliases = {"smart": "big -> small", "cheap": "small", "unpriced-one": "unpriced"}
    listed = PriceList({"big": price(40), "small": price(4)})
    return Registry({each.name: each for each in providers}, aliases, listed)


def names(registry: Registry, asked: str | Wish) -> list[str]:
    return [each.name for each in registry.chain(asked)]


def test_a_name_is_every_provider_that_serves_it():
    assert names(made(), "big") == ["one/big", "two/big"]
    assert names(made(), "offline") == ["offline/offline", "offline-b/offline"]


def test_an_alias_a_chain_and_a_repetition():
    registry = made()
    assert names(registry, "smart") == ["one/big", "two/big", "one/small"]
    assert names(registry, "cheap -> big->cheap") == ["one/small", "one/big", "two/big"]


def test_what_nobody_serves_or_has_priced_says_what_would_pass():
    registry = made()
    registry.prices._snapshot = Empty()  # type: ignore[assignment]
    for asked in ("nobody", "unpriced", "unpriced-one", "", "->"):
        with pytest.raises(errors.InvalidParams) as refused:
            registry.chain(asked)
        assert "smart, cheap" in refused.value.hint


def test_a_link_that_leads_nowhere_is_refused_where_it_is_named_and_skipped_by_calls():
    registry = made()
    registry.aliases["typo"] = "big -> smal"
    assert names(registry, "typo") == ["one/big", "two/big"]
    for asked in ("typo", "big -> smal", "smal -> big", "cheap -> smal -> big"):
        with pytest.raises(errors.InvalidParams, match=r"'smal' in .*did you mean 'small'"):
            registry.check(asked)
    with pytest.raises(errors.InvalidParams, match="'' in 'big ->'"):
        registry.check("big ->")
    for asked in ("big", "smart", "cheap -> big", "smart -> offline", '{"prefer": "cost"}', "smal"):
        registry.check(asked)  # the last one is refused by `chain`, with everything else about it


def test_an_alias_of_a_chain_stands_in_a_chain_for_its_models():
    registry = made()
    assert names(registry, "offline -> smart")[2:] == ["one/big", "two/big", "one/small"]
    with pytest.raises(errors.InvalidParams, match="comes to 9 models; a chain has 8 at most"):
        registry.check(" -> ".join(["smart"] * 4 + ["big"]))


class Empty:
    """A price list without prices."""

    providers = ()

    def find_provider_model(self, *_: object) -> None:
        raise LookupError


def test_a_stand_in_answers_as_long_as_was_set_and_never_longer_than_it_can():
    registry = _offline_only()
    (most, *_) = {each.output_tokens_max for each in registry.chain("offline")}
    for told, longest in ((1_600, 1_600), (most + 1, most), (None, most)):
        registry.known_models = {"offline": Known(output_tokens_max=told)}
        assert {each.output_tokens_max for each in registry.chain("offline")} == {longest}


def test_only_formats_that_match_serve_and_the_stand_in_serves_all():
    one, two = made().chain("big")
    assert one.serves("openai-chat")
    assert not two.serves("openai-chat")
    assert made().chain("offline")[0].serves("anthropic")


def test_a_wish():
    registry = made()
    registry.known_models = {
        "big": Known(("code", "vision"), quality=2),
        "small": Known(("code",), quality=1, output_tokens_max=100),
    }
    assert names(registry, Wish(("code",))) == ["one/big", "two/big", "one/small"]
    assert names(registry, Wish(("code",), prefer="cost")) == ["one/small", "one/big", "two/big"]
    assert names(registry, Wish(("vision",), fallback_allowed=False)) == ["one/big"]
    assert names(registry, Wish(("code",), cost_limit=0.01)) == ["one/small"]
    with pytest.raises(errors.InvalidParams):
        registry.chain(Wish(("flight",)))
    assert registry.chain("small")[0].output_tokens_max == 100


def test_the_smallest_context_of_a_chain_counts():
    registry = made()
    registry.known_models = {"big": Known(context_tokens=200_000), "small": Known(context_tokens=20_000)}
    assert registry.context_tokens("big") == 200_000
    assert registry.context_tokens("big -> small") == 20_000
    assert registry.context_tokens("no such model") is None
    assert registry.context_tokens("offline") is None


def test_a_wish_s_cost_is_that_of_the_tier_that_the_call_can_reach():
    registry = made()
    registry.known_models = {"big": Known(("code",)), "small": Known(("code",))}
    tiers = (Tier(0, 1, 3, 1, 1), Tier(200_000, 1, 40, 1, 1))
    registry.prices.set("big", Price(1, 40, 1, 1, 0, "today", "config", tiers))
    limited, cheapest = Wish(("code",), cost_limit=0.01), Wish(("code",), prefer="cost")
    for size, first in ((0, "one/big"), (200_000, "one/big"), (200_001, "one/small")):
        found = registry.chain(cheapest, size)
        assert found[0].name == first
        assert ("one/big" in [each.name for each in registry.chain(limited, size)]) == (first == "one/big")
    with pytest.raises(errors.InvalidParams, match=r"at most for a call of up to 300,000 tokens"):
        registry.chain(Wish(("code",), cost_limit=0.003), 300_000)


def test_a_wish_for_speed_takes_what_was_measured():
    registry = made()
    registry.known_models = {"big": Known(("code",)), "small": Known(("code",))}
    one, two = registry.chain("big")
    registry.measured(two, 0.2)
    registry.measured(one, 0.4)
    registry.measured(one, 0.1)
    registry.measured(one, 0.9)
    assert registry.latency_ms("one/big") == pytest.approx(400)
    assert names(registry, Wish(("code",), prefer="latency")) == ["two/big", "one/big", "one/small"]


def test_providers_come_thaw_and_go():
    registry = made()
    ticket = registry.changes.ticket()
    registry.providers["one"].frozen = "402"
    assert registry.thaw("one")
    assert not registry.thaw("one")
    assert ticket.is_set()  # type: ignore[attr-defined]
    registry.add(Provider("three", "openai-chat", models=("small",)))
    assert names(registry, "small") == ["one/small", "three/small"]
    assert registry.remove("one")
    assert not registry.remove("one")
    assert names(registry, "small") == ["three/small"]


def test_a_secret_is_in_no_text():
    assert "s3cret" not in repr(Provider("one", "openai-chat", secret="s3cret"))


async def test_models_with_a_price_of_the_operators_need_no_list(monkeypatch: pytest.MonkeyPatch):
    registry = Registry({}, {}, PriceList({"mine": price(4)}))
    registry.add(Provider("local", "openai-chat", "http://127.0.0.1:1/v1", models=("mine",)))
    await registry.prepare()
    (found,) = registry.chain("mine")
    assert found.price == price(4)
    with pytest.raises(errors.InvalidParams):
        registry.chain("nobody-has-it")
    assert not registry.prices.loaded
    loads: list[str] = []
    monkeypatch.setattr(registry.prices, "load", lambda: loads.append("loaded"))
    registry.add(Provider("other", "openai-chat", "http://127.0.0.1:2/v1", models=("mine", "theirs")))
    await registry.prepare()
    assert loads == ["loaded"]


def test_a_wish_may_stand_as_text_where_a_name_does():
    registry = _offline_only()
    assert names(registry, '{"prefer": "cost"}') == [
        "offline/offline",
        "offline-b/offline",
        "offline-b/offline-b",
    ]
    assert names(registry, '{"fallback_allowed": false}') == ["offline/offline"]
    with pytest.raises(errors.InvalidParams, match="is not a wish"):
        registry.chain('{"prefer": "luck"}')


def test_a_stand_in_is_nobody_s_wish_where_there_is_a_real_provider():
    registry = _offline_only()
    registry.add(Provider("real", "openai-chat", "https://x/v1", models=("dear",)))
    registry.prices.set("dear", Price(10**6, 10**6, 10**6, 10**6, 0, "2026-11-01", "config"))
    assert names(registry, Wish(prefer="cost")) == ["real/dear"]
    with pytest.raises(errors.InvalidParams):
        registry.chain(Wish(cost_limit=1))
    assert names(registry, "offline")[0] == "offline/offline"


def _offline_only() -> Registry:
    return Registry({each.name: each for each in offline_providers()}, {}, PriceList())


def _by_the_list() -> Registry:
    """Providers that serve whatever the real price list has of them."""
    registry = Registry({}, {}, PriceList())
    registry.add(Provider("openai", "openai-chat", "https://api.openai.com/v1"))
    registry.add(Provider("google", "openai-chat", "https://generativelanguage.googleapis.com/v1beta/openai"))
    registry.add(Provider("perplexity", "openai-chat", "https://api.perplexity.ai"))
    return registry


@pytest.mark.slow
def test_what_does_more_than_text_is_not_served_at_the_list_s_price():
    registry = _by_the_list()
    assert names(registry, "gpt-4o-mini") == ["openai/gpt-4o-mini"]
    assert names(registry, "gemini-2.5-flash") == ["google/gemini-2.5-flash"]
    assert registry.chain("sonar")[0].price.per_request == 12_000_000
    for asked, kind in (
        ("gpt-4o-mini-search-preview", "searches by itself"),
        ("o3-deep-research", "searches by itself"),
        ("sonar-deep-research", "searches by itself"),
        ("gpt-audio-mini", "makes or hears sound"),
        ("gemini-2.5-flash-image", "makes pictures"),
    ):
        with pytest.raises(errors.InvalidParams, match=kind) as refused:
            registry.chain(asked)
        assert f"dashctl model set {asked} --provider" in refused.value.hint
    offered = [name for each in registry.providers.values() for name in registry.served(each)]
    assert "gpt-4o-mini" in offered
    beside_text = {name for name in offered if plain.kind(name)}
    assert beside_text == {"sonar", "sonar-pro", "sonar-reasoning-pro"}  # each call has a fee that is held


def test_what_does_more_than_text_is_served_at_the_operator_s_own_price():
    registry = made()
    registry.prices.set("gpt-4o-search-preview", price(9))
    registry.owners["gpt-4o-search-preview"] = "one"
    assert names(registry, "gpt-4o-search-preview") == ["one/gpt-4o-search-preview"]


def _priced(registry: Registry, asked: str) -> dict[str, str]:
    return {each.name: each.price.source for each in registry.chain(asked)}


@pytest.mark.slow
def test_a_price_of_the_operator_s_is_that_of_who_was_told_to_serve_the_model():
    registry = _by_the_list()
    registry.add(Provider("local", "openai-chat", "http://127.0.0.1:1/v1", models=("gpt-4o-mini", "mine")))
    for name in ("gpt-4o-mini", "mine"):
        registry.prices.set(name, Price(0, 0, 0, 0, 0, "", "config"))
    assert _priced(registry, "gpt-4o-mini") == {
        "openai/gpt-4o-mini": "genai-prices",
        "local/gpt-4o-mini": "config",
    }
    assert _priced(registry, "mine") == {"local/mine": "config"}  # nobody else is asked for it first
    assert registry.rivals("gpt-4o-mini") == ["local", "openai"]
    assert registry.rivals("mine") == []
    registry.owners["gpt-4o-mini"] = "local"
    assert _priced(registry, "gpt-4o-mini") == {"local/gpt-4o-mini": "config"}
    assert registry.rivals("gpt-4o-mini") == []


@pytest.mark.slow
def test_a_price_of_the_operator_s_is_never_that_of_who_could_only_serve_it():
    registry = _by_the_list()
    for name in ("gpt-4o-mini", "private"):
        registry.prices.set(name, Price(1, 1, 1, 1, 0, "", "config"))
    assert _priced(registry, "gpt-4o-mini") == {"openai/gpt-4o-mini": "genai-prices"}
    assert registry.rivals("gpt-4o-mini") == ["openai"]  # who sets the price now means it
    assert registry.rivals("private") == ["openai", "google", "perplexity"]
    for name in ("google", "perplexity"):
        registry.remove(name)
    with pytest.raises(errors.InvalidParams):
        registry.chain("private")
    registry.owners["gpt-4o-mini"] = "openai"
    assert _priced(registry, "gpt-4o-mini") == {"openai/gpt-4o-mini": "config"}


@pytest.mark.slow
def test_a_price_does_not_move_to_another_provider_when_its_own_goes():
    registry = _by_the_list()
    registry.add(Provider("local", "openai-chat", "http://127.0.0.1:1/v1", models=("gpt-4o-mini", "mine")))
    for name in ("gpt-4o-mini", "mine"):
        registry.prices.set(name, Price(0, 0, 0, 0, 0, "", "config"))
    for name in ("google", "perplexity", "local"):
        registry.remove(name)
    assert _priced(registry, "gpt-4o-mini") == {"openai/gpt-4o-mini": "genai-prices"}
    with pytest.raises(errors.InvalidParams):
        registry.chain("mine")


@pytest.mark.parametrize(
    ("url", "hears"),
    [
        ("https://api.openai.com/v1", True),
        ("https://x.openai.azure.com", True),
        ("https://openai.com.x/v1", False),
    ],
)
def test_who_is_known_to_take_an_image_in_low_detail(url: str, hears: bool):
    assert Provider("p", "openai-chat", url).hears_detail is hears


def test_a_wish_skips_what_is_not_served_in_a_format() -> None:
    registry = made()
    best = Wish(fallback_allowed=False)
    assert [each.name for each in registry.chain(best)] == ["one/big"]
    assert [each.name for each in registry.chain(best, formats=("anthropic",))] == ["two/big"]
    found = registry.chain(Wish(), formats=("anthropic", "openai-responses"))
    assert [each.name for each in found] == ["two/big"]
    with pytest.raises(errors.InvalidParams, match="these capabilities in the format openai-responses, or"):
        registry.chain(best, formats=("openai-responses",))


def test_what_can_be_used_in_a_format() -> None:
    registry = made()
    assert "small" in registry.known(("openai-chat",))
    assert "smart" in registry.known(("anthropic",))
    assert not {"small", "cheap"} & set(registry.known(("anthropic",)))
    registry.known_models["big"] = Known(context_tokens=200_000)
    registry.known_models["small"] = Known(context_tokens=20_000)
    assert registry.context_tokens("big -> small", "openai-chat") == 20_000
    assert registry.context_tokens("big -> small", "anthropic") == 200_000


def test_the_usual_model_is_of_a_provider_that_is_understood() -> None:
    registry = made()
    registry.prices._snapshot = Empty()  # type: ignore[assignment]
    assert registry.default(("anthropic", "openai-chat"))[0] == "big"
    registry.remove("one")
    assert registry.default()[0] == "offline"
    assert registry.default(("openai-chat", "anthropic")) == (
        "big", "it is the first priced model of provider two"
    )  # fmt: skip
    name, why = registry.default(("openai-responses", "openai-chat"))
    assert (name, "in the format openai-responses or openai-chat" in why) == ("offline", True)
