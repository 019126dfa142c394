"""Dollars as people type and read them."""

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashctl import dollars
from dashd.domain import dollars as inside


@pytest.mark.parametrize(
    ("typed", "usd"),
    [("50", 50.0), ("2.50", 2.5), ("$0.0031", 0.0031), ("1,000", 1000.0), ("10000", 10_000.0)],
)
def test_amount(typed, usd):
    assert dollars.amount(typed) == usd


@pytest.mark.parametrize("typed", ["", "-1", "1e3", "NaN", "inf", "1_0", "10000.01", "٣", ".", "a"])
def test_what_is_no_amount(typed):
    with pytest.raises(argparse.ArgumentTypeError, match="not an amount in dollars"):
        dollars.amount(typed)


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
