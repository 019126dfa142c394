"""The price list: what the dearest is, which prices hold today, and the operator's own."""

import datetime
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from dashd.domain.prices import Price
from dashd.proxy import prices
from dashd.proxy.prices import PriceList


@dataclass
class Begins:
    start_date: datetime.date


@dataclass
class AtNight:
    start_time: datetime.time


@dataclass
class Tier:
    price: Decimal


@dataclass
class Tiered:
    base: Decimal
    tiers: list[Tier]


@dataclass
class Some:
    input_mtok: Any


@dataclass
class When:
    constraint: Any
    prices: Some


def dearest(listed: Any, today: datetime.date | None = None) -> int | None:
    return prices._dearest(prices._in_force(listed, today), "input_mtok")


def test_the_dearest_tier_counts_and_is_rounded_up():
    assert dearest(Some(Tiered(Decimal(1), [Tier(Decimal("2.5")), Tier(Decimal(2))]))) == 2_500
    assert dearest(Some(Decimal("0.00005"))) == 1
    assert dearest(Some(None)) is None


def test_a_price_holds_from_its_day_on():
    listed = [When(None, Some(Decimal(9))), When(Begins(datetime.date(2026, 3, 13)), Some(Decimal(5)))]
    assert dearest(listed, datetime.date(2026, 3, 12)) == 9_000
    assert dearest(listed, datetime.date(2026, 3, 13)) == 5_000
    assert dearest(listed) == 5_000


def test_a_cheaper_time_of_the_day_is_not_counted_on():
    listed = [When(None, Some(Decimal(9))), When(AtNight(datetime.time(1)), Some(Decimal(5)))]
    assert dearest(listed) == 9_000


def test_the_operator_s_price_wins():
    own = Price(1, 2, 1, 1, 0, "today", "config")
    listed = PriceList({"mine": own})
    found = listed.find("mine", "anybody")
    assert found is not None
    assert found.price == own
    assert not listed.loaded
    listed.set("gpt-4o", own)
    assert (again := listed.find("gpt-4o", "openai")) is not None
    assert again.price == own


@pytest.mark.slow
def test_the_real_list():
    listed = PriceList(today=datetime.date(2026, 11, 20))
    model = listed.find("gpt-4o-mini", "openai")
    assert model is not None
    assert (model.price.input, model.price.output, model.price.cache_read) == (150, 600, 75)
    assert model.price.date.startswith("genai-prices ")
    # A provider with a name of its own serves the model at its maker's price.
    mine = listed.find("gpt-4o-mini", "my-gateway")
    assert mine is not None
    assert mine.price == model.price
    assert listed.find("nobody-has-priced-this") is None
    assert listed.find("nobody-has-priced-this", "openai") is None
    opus = listed.find("claude-opus-4-6", "anthropic")
    assert opus is not None
    assert (opus.price.input, opus.price.cache_write, opus.price.dearest_input) == (5_000, 6_250, 6_250)


@pytest.mark.slow
def test_a_provider_is_known_by_its_address_before_its_name():
    listed = PriceList()
    assert listed.owner("https://api.openai.com/v1", "anthropic") == "openai"
    assert listed.owner("http://127.0.0.1:8080/v1", "anthropic") == "anthropic"
    assert listed.owner("http://127.0.0.1:8080/v1", "mine") == ""


@pytest.mark.slow
def test_the_models_of_a_provider_are_priced_and_have_room_for_work():
    listed = PriceList()
    names = listed.models("anthropic")
    assert names
    assert all((listed.find(name, "anthropic").context_tokens or 0) >= 64_000 for name in names)
    assert listed.models("") == []
