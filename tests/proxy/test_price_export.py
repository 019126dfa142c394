"""What is taken from the package: what the dearest is, which prices hold today, how names are compared."""

import datetime
import json
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from dashd.proxy import price_export


@dataclass
class Begins:
    start_date: datetime.date


@dataclass
class AtNight:
    start_time: datetime.time


@dataclass
class Tier:
    price: Decimal
    start: int = 0


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
    return price_export.dearest(price_export.in_force(listed, today), "input_mtok")


def test_the_dearest_tier_counts_and_is_rounded_up():
    assert dearest(Some(Tiered(Decimal(1), [Tier(Decimal("2.5")), Tier(Decimal(2))]))) == 2_500
    assert dearest(Some(Decimal("0.00005"))) == 1
    assert dearest(Some(None)) is None


def test_a_price_holds_from_its_day_on():
    listed = [When(None, Some(Decimal(9))), When(Begins(datetime.date(2026, 3, 13)), Some(Decimal(5)))]
    # About the change, wherever the provider's day begins, the dearer one counts.
    for day, price in ((11, 9_000), (12, 9_000), (13, 9_000), (14, 5_000)):
        assert dearest(listed, datetime.date(2026, 3, day)) == price
    assert dearest(listed) == 9_000
    rising = [When(None, Some(Decimal(5))), When(Begins(datetime.date(2026, 3, 13)), Some(Decimal(9)))]
    for day, price in ((11, 5_000), (12, 9_000), (13, 9_000), (14, 9_000)):
        assert dearest(rising, datetime.date(2026, 3, day)) == price


def test_what_is_known_of_the_list_s_age_and_until_when_its_prices_hold():
    days = [datetime.date(2026, 3, 13), datetime.date(2026, 9, 1)]
    assert price_export.changed(days, datetime.date(2026, 8, 1)) == "2026-03-13"
    assert price_export.changed(days, datetime.date(2026, 9, 1)) == "2026-09-01"
    assert price_export.changed(days, datetime.date(2026, 1, 1)) == ""
    for day, until in (("03-11", "03-12"), ("03-12", "03-14"), ("03-14", "08-31"), ("08-31", "09-02")):
        assert price_export.until(days, datetime.date.fromisoformat(f"2026-{day}")) == f"2026-{until}"
    assert price_export.until(days, datetime.date(2026, 9, 2)) == ""
    assert price_export.until(days, None) == ""


def test_a_cheaper_time_of_the_day_is_not_counted_on():
    listed = [When(None, Some(Decimal(9))), When(AtNight(datetime.time(1)), Some(Decimal(5)))]
    assert dearest(listed) == 9_000


@dataclass
class Model:
    input_mtok: Any
    output_mtok: Any
    cache_read_mtok: Any = None
    cache_write_mtok: Any = None


def test_tiers_by_the_size_of_the_input_the_dearest_of_each_and_all_classes():
    one = Model(Tiered(Decimal(3), [Tier(Decimal(6), 200_000)]), Decimal(15), cache_read_mtok=Decimal("0.3"))
    assert price_export.tiers([one]) == [
        [0, 3_000, 15_000, 300, 3_000], [200_000, 6_000, 15_000, 300, 6_000],
    ]  # fmt: skip
    at_night = Model(Decimal(4), Tiered(Decimal(1), [Tier(Decimal(20), 500)]))
    assert price_export.tiers([one, at_night]) == [
        [0, 4_000, 15_000, 300, 4_000], [500, 4_000, 20_000, 300, 4_000],
        [200_000, 6_000, 20_000, 300, 6_000],
    ]  # fmt: skip
    assert price_export.tiers([Model(Decimal(3), Decimal(15))]) == []


def priced(**prices: str) -> list[Any] | None:
    known = {name: Decimal(value) for name, value in prices.items()}
    return price_export.price(SimpleNamespace(prices=SimpleNamespace(**known)), None)  # type: ignore[arg-type]


def test_the_dearest_kind_of_input_and_of_output_is_the_price_of_all_of_it():
    plain = {"input_mtok": "0.3", "output_mtok": "2.5"}
    assert priced(**plain) == [300, 2_500, 300, 300, 0, []]
    assert priced(**plain, output_image_mtok="30") == [300, 30_000, 300, 300, 0, []]
    assert priced(**plain, input_image_mtok="8", output_reasoning_mtok="3") == [
        8_000,
        3_000,
        8_000,
        8_000,
        0,
        [],
    ]
    assert priced(**plain, input_audio_mtok="90", web_searches_kcount="14", cache_write_1h_mtok="9") == [
        300, 2_500, 300, 300, 0, [],
    ]  # fmt: skip


def test_what_nothing_bounds_leaves_a_model_unpriced():
    plain = {"input_mtok": "2", "output_mtok": "8"}
    assert priced(**plain, output_citation_mtok="2") is None
    assert priced(**plain, moods_kcount="1") is None
    assert priced(input_mtok="2", output_image_mtok="30") is None


@pytest.mark.slow
def test_as_a_program_it_prints_one_object_and_imports_nothing_of_dash():
    argv = [sys.executable, "-P", price_export.__file__, "2026-11-20"]
    found = json.loads(subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout)
    assert found["version"].startswith("genai-prices ")
    assert "2026-01-01" < found["changed"] <= "2026-11-20" < (found["until"] or "9")
    assert {"openai", "anthropic"} <= {each[0] for each in found["providers"]}
    priced = [model[2] for each in found["providers"] for model in each[4] if model[2] is not None]
    assert all(len(price) == 6 for price in priced)
    tiered = [price for price in priced if price[5]]
    assert tiered
    for *dearest_of_all, _, listed in tiered:
        assert [max(tier[1 + at] for tier in listed) <= dearest_of_all[at] for at in range(4)] == [True] * 4
