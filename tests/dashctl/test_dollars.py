"""Dollars as people type and read them."""

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashctl import dollars
from dashd.domain import dollars as inside


@pytest.mark.parametrize(
    ("typed", "usd"),
    [
        ("50", 50.0),
        ("2.50", 2.5),
        ("$0.0031", 0.0031),
        ("1,000", 1000.0),
        ("$1,500.5", 1500.5),
        ("10000", 10_000.0),
    ],
)
def test_amount(typed, usd):
    assert dollars.amount(typed) == usd


@pytest.mark.parametrize("typed", ["", "-1", "1e3", "NaN", "inf", "1_0", "10000.01", "٣", ".", "a"])
def test_what_is_no_amount(typed):
    with pytest.raises(argparse.ArgumentTypeError, match="not an amount in dollars"):
        dollars.amount(typed)


@pytest.mark.parametrize(
    ("typed", "right"),
    [("1,5", "1.5"), ("$2,50", "2.50"), ("1,50", "1.50"), ("0,005", "0.005"), (",5", ".5")]
    + [(typed, "50, 2.50 or 1,500") for typed in ("1,5,0", "1,,500", "15,00,000", "1.500,25", "1,5x", ",")],
)
def test_a_comma_that_can_be_read_in_two_ways_is_refused_with_what_to_write(typed, right):
    with pytest.raises(argparse.ArgumentTypeError, match="comma") as refused:
        dollars.amount(typed)
    assert str(refused.value).endswith(f"write {right}")


@given(st.integers(0, 10_000 * 100))
def test_what_is_shown_can_be_typed(cents):
    assert dollars.amount(dollars.text(cents / 100)) == cents / 100


def test_percent_each_and_by_agent():
    assert (dollars.percent("60%"), dollars.percent("7.5")) == (60.0, 7.5)
    assert (dollars.each("even"), dollars.each("2.5")) == ("even", 2.5)
    assert dollars.by_agent("a:10, b:$5") == {"a": 10.0, "b": 5.0}


@pytest.mark.parametrize(
    ("read", "typed"),
    [
        (dollars.percent, "101"), (dollars.percent, "x"), (dollars.each, "odd"), (dollars.by_agent, "a"),
        (dollars.by_agent, "a:1,a:2"), (dollars.by_agent, ":1"), (dollars.by_agent, "a:x"),
    ],
)  # fmt: skip
def test_mistakes_are_named(read, typed):
    with pytest.raises(argparse.ArgumentTypeError):
        read(typed)


def test_no_amount_is_no_text():
    assert dollars.text(None) == ""


@given(st.integers(-(10**13), 10**13))
def test_people_read_what_dashd_writes(amount):
    assert dollars.text(inside.usd(amount)) == inside.text(amount)
