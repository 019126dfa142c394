"""What is taken from the package: what the dearest is, which prices hold today, how names are compared."""

import datetime
import json
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
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
    assert dearest(listed, datetime.date(2026, 3, 12)) == 9_000
    assert dearest(listed, datetime.date(2026, 3, 13)) == 5_000
    assert dearest(listed) == 5_000


def test_a_cheaper_time_of_the_day_is_not_counted_on():
    listed = [When(None, Some(Decimal(9))), When(AtNight(datetime.time(1)), Some(Decimal(5)))]
    assert dearest(listed) == 9_000


@pytest.mark.slow
def test_as_a_program_it_prints_one_object_and_imports_nothing_of_dash():
    argv = [sys.executable, "-P", price_export.__file__, "2026-11-20"]
    found = json.loads(subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout)
    assert found["version"].startswith("genai-prices ")
    assert {"openai", "anthropic"} <= {each[0] for each in found["providers"]}
    assert all(model[2] is None or len(model[2]) == 5 for each in found["providers"] for model in each[4])
