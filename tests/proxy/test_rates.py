"""Token buckets, at instants that the test makes up."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.proxy.rates import DAY_S, MINUTE_S, UNDER_WAY_S, Bucket, Limits, Past, Rates, retry_after


def wait_s(rates: Rates, now: float) -> float:
    slow = rates.slowest(now)
    return slow.wait_s if slow else 0


def test_without_limits_nothing_waits():
    rates = Rates(Limits())
    for _ in range(1_000):
        rates.begin(0)
    rates.used(0, 10**9)
    assert wait_s(rates, 0) == 0


def test_requests_pass_up_to_the_limit_and_then_evenly():
    rates = Rates(Limits(requests_per_minute=6))
    for _ in range(6):
        assert wait_s(rates, 100) == 0
        rates.begin(100)
    assert wait_s(rates, 100) == pytest.approx(10)
    assert wait_s(rates, 104) == pytest.approx(6)
    assert wait_s(rates, 110) == pytest.approx(0)


def test_tokens_are_taken_afterwards_and_a_debt_is_waited_for():
    rates = Rates(Limits(tokens_per_minute=600))
    rates.begin(0)
    rates.used(0, 1_200)
    assert wait_s(rates, 0) == pytest.approx(60.1)
    assert wait_s(rates, 60.2) == 0


def test_the_slowest_limit_counts():
    rates = Rates(Limits(requests_per_minute=60, requests_per_day=2))
    rates.begin(0)
    rates.begin(0)
    assert wait_s(rates, 0) == pytest.approx(DAY_S / 2)


def test_it_says_which_limit_is_in_the_way():
    rates = Rates(Limits(requests_per_minute=1, tokens_per_day=2_000))
    assert rates.slowest(0) is None
    rates.begin(0)
    slow = rates.slowest(0)
    assert (slow.name, slow.size, slow.text) == ("requests_per_minute", 1, "1 requests a minute")
    rates.used(0, 4_000)
    assert rates.slowest(0).text == "2,000 tokens a day"
    assert (Limits().any, rates.limits.any) == (False, True)


@given(
    st.lists(st.tuples(st.floats(0, 90_000), st.integers(0, 500)), max_size=30),
    st.builds(Limits, *(st.none() | st.integers(1, 2_000) for _ in range(4))),
)
def test_buckets_that_are_made_later_are_what_they_would_have_been(calls, limits):
    now, past = 200_000.0, sorted(calls, reverse=True)
    lived, later = Rates(limits), Rates(limits)
    for age_s, tokens in past:
        lived.begin(now - age_s)
        lived.used(now - age_s, tokens)
    later.replay(now, [Past(age_s, 1, tokens) for age_s, tokens in past])
    assert wait_s(later, now) == pytest.approx(wait_s(lived, now))


def test_a_clock_that_stands_still_or_steps_back_gives_nothing():
    bucket = Bucket(1, MINUTE_S)
    bucket.take(50, 1)
    assert bucket.level(10) == 0
    assert bucket.level(50) == 0


@given(st.lists(st.floats(0, 30), min_size=1, max_size=60))
def test_no_window_of_a_minute_passes_twice_the_limit(gaps: list[float]):
    rates, now, passed = Rates(Limits(requests_per_minute=5)), 0.0, []
    for gap in gaps:
        now += gap
        if wait_s(rates, now) == 0:
            rates.begin(now)
            passed.append(now)
    for start in passed:
        assert sum(1 for at in passed if start <= at < start + MINUTE_S) <= 10


@pytest.mark.parametrize(("wait_s", "said"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2")])
def test_a_header_never_calls_too_early(wait_s: float, said: str):
    assert retry_after(wait_s) == said


@given(st.lists(st.integers(1, 900), min_size=1, max_size=60))
def test_calls_that_begin_at_once_pass_a_limit_of_tokens_by_one_of_them_at_most(sizes: list[int]):
    rates, begun = Rates(Limits(tokens_per_minute=2_000)), []
    for size in sizes:
        if wait_s(rates, 0) == 0:
            rates.begin(0, size)
            begun.append(size)
    assert sum(begun[:-1]) < 2_000
    assert begun == sizes[: len(begun)]
    for size in begun:  # each has used half of what it could
        rates.used(0, size // 2)
        rates.end(size)
    assert (wait_s(rates, 0) == 0) is (sum(size // 2 for size in begun) <= 1_999)


def test_one_whose_calls_under_way_are_in_the_way_asks_again_soon():
    rates = Rates(Limits(tokens_per_minute=100))
    rates.begin(0, 10_000)  # alone it may go, however much it can use
    slow = rates.slowest(0)
    assert slow is not None
    assert (slow.wait_s, slow.text) == (UNDER_WAY_S, "100 tokens a minute")
    assert (slow.under_way, slow.refilled_s) == (True, math.inf)
    rates.end(10_000)
    assert rates.slowest(0) is None


def test_one_whose_calls_under_way_are_in_the_way_may_also_wait_until_it_has_filled_again():
    rates = Rates(Limits(tokens_per_minute=600))
    rates.begin(0, 550)
    rates.used(0, 100)
    slow = rates.slowest(0)
    assert slow is not None
    assert slow.refilled_s == pytest.approx(5.1)
    assert rates.slowest(5.2) is None
