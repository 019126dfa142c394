"""Dollars at the border: exact both ways, and never in scientific notation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import dollars


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (42_000, "$0.000042"),
        (42_900, "$0.000043"),
        (3_100_000, "$0.0031"),
        (123_450_000, "$0.1234"),
        (500_000_000, "$0.50"),
        (12_345_678_901, "$12.35"),
        (10_000 * 10**9, "$10,000.00"),
        (-2_500_000_000, "-$2.50"),
    ],
)
def test_text(amount, shown) -> None:
    assert dollars.text(amount) == shown


@pytest.mark.parametrize(
    ("usd", "amount"), [(0.1, 10**8), (2.5, 2_500_000_000), (1e-9, 1), (1.9e-9, 1), (0.29, 290_000_000)]
)
def test_a_float_of_the_wire_is_what_was_typed(usd, amount) -> None:
    assert dollars.nusd(usd) == amount


@given(st.integers(0, 10_000 * 10**9))
def test_there_and_back_is_the_same(amount) -> None:
    assert dollars.nusd(dollars.usd(amount)) == amount


@given(st.integers(-(10**15), 10**15))
def test_text_is_plain_and_near(amount) -> None:
    shown = dollars.text(amount)
    assert "e" not in shown.lower()
    back = round(float(shown.replace("$", "").replace(",", "")) * 10**9)
    assert abs(back - amount) <= max(5_000_001, abs(amount) // 10)


def test_no_amount_stays_none() -> None:
    assert dollars.usd_or_none(None) is None
    assert dollars.usd_or_none(10**9) == 1.0
