"""The projection: how near it comes on swarms that it was not tuned on, and what it does at the edges."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import forecast
from tests.domain import swarms_that_never_were

# Tuning was done on seeds from 100,000 to 102,000; these are others.
SWARMS = 200
BATCHES = [2026_000, *(range(31_000_000, 35_000_000, 1_000_000))]
USD = 1_000_000_000


@pytest.mark.parametrize("first", BATCHES)
def test_at_half_of_the_tasks_it_is_near_and_the_interval_holds(first) -> None:
    """Narrow enough to say something, too: an interval from nothing to everything always holds."""
    errors, widths, held = [], [], 0
    for seed in range(first, first + SWARMS):
        known, actual = swarms_that_never_were.at_half(seed)
        found = forecast.project(known)
        assert found is not None
        errors.append(abs(found.total - actual) / actual)
        widths.append((found.high - found.low) / actual)
        held += found.low <= actual <= found.high
    assert statistics.median(errors) <= 0.10
    assert held / SWARMS >= forecast.COVERAGE
    assert statistics.median(widths) <= 0.6


@pytest.mark.parametrize("family", sorted(set(swarms_that_never_were.FAMILIES)))
def test_costs_with_one_shape_alone_are_not_far_off_either(family, monkeypatch) -> None:
    """The interval is for the mixture: where one in twenty costs six times as much it holds less often."""
    monkeypatch.setattr(swarms_that_never_were, "FAMILIES", (family,))
    held = 0
    for seed in range(40_000_000, 40_000_000 + SWARMS):
        known, actual = swarms_that_never_were.at_half(seed)
        found = forecast.project(known)
        assert found is not None
        held += found.low <= actual <= found.high
    assert held / SWARMS >= 0.65


def test_equal_tasks_are_projected_exactly_enough() -> None:
    found = forecast.project(forecast.Tasks([USD] * 30, [], 30))
    assert found is not None
    assert abs(found.total - 60 * USD) < 3 * USD
    assert found.low < 60 * USD < found.high


@pytest.mark.parametrize("ended", [[], [USD], [USD, USD], [0, 0, 0, 0]])
def test_too_little_says_nothing(ended) -> None:
    assert forecast.project(forecast.Tasks(ended, [USD], 10)) is None


def test_an_ended_swarm_comes_to_what_it_cost() -> None:
    found = forecast.project(forecast.Tasks([3, 4], [], 0, other=5))
    assert found == forecast.Projection(12, 12, 12, 0)


def test_tasks_that_cost_nothing_make_the_rest_cheaper() -> None:
    paid = forecast.project(forecast.Tasks([USD] * 10, [], 10))
    half = forecast.project(forecast.Tasks([USD] * 10 + [0] * 10, [], 10))
    assert paid is not None
    assert half is not None
    assert half.each < 0.6 * paid.each


def test_a_running_task_that_has_cost_much_will_cost_more() -> None:
    known = [USD // 4, USD // 2, USD, 2 * USD, 4 * USD] * 2
    cheap = forecast.project(forecast.Tasks(known, [USD // 10], 0))
    dear = forecast.project(forecast.Tasks(known, [8 * USD], 0))
    assert cheap is not None
    assert dear is not None
    assert dear.total - 8 * USD > cheap.total - USD // 10 > sum(known)


money = st.integers(0, 10**13)


@given(st.lists(money, max_size=30), st.lists(money, max_size=10), st.integers(0, 10_000), money)
def test_it_never_falls_below_what_is_spent_and_never_fails(ended, running, left, other) -> None:
    found = forecast.project(forecast.Tasks(ended, running, left, other))
    if found is not None:
        spent = sum(ended) + sum(running) + other
        assert spent <= found.low <= found.high
        assert found.total >= spent
        assert found.each >= 0
