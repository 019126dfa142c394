"""Token buckets, at instants that the test makes up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.proxy.rates import DAY_S, MINUTE_S, Bucket, Limits, Rates, retry_after


def test_without_limits_nothing_waits():
    rates = Rates(Limits())
    for _ in range(1_000):
        rates.begin(0)
    rates.used(0, 10**9)
    assert rates.wait_s(0) == 0


def test_requests_pass_up_to_the_limit_and_then_evenly():
    rates = Rates(Limits(requests_per_minute=6))
    for _ in range(6):
        assert rates.wait_s(100) == 0
        rates.begin(100)
    assert rates.wait_s(100) == pytest.approx(10)
    assert rates.wait_s(104) == pytest.approx(6)
    assert rates.wait_s(110) == pytest.approx(0)


def test_tokens_are_taken_afterwards_and_a_debt_is_waited_for():
    rates = Rates(Limits(tokens_per_minute=600))
    rates.begin(0)
    rates.used(0, 1_200)
    assert rates.wait_s(0) == pytest.approx(60.1)
    assert rates.wait_s(60.2) == 0


def test_the_slowest_limit_counts():
    rates = Rates(Limits(requests_per_minute=60, requests_per_day=2))
    rates.begin(0)
    rates.begin(0)
    assert rates.wait_s(0) == pytest.approx(DAY_S / 2)


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
        if rates.wait_s(now) == 0:
            rates.begin(now)
            passed.append(now)
    for start in passed:
        assert sum(1 for at in passed if start <= at < start + MINUTE_S) <= 10


@pytest.mark.parametrize(("wait_s", "said"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2")])
def test_a_header_never_calls_too_early(wait_s: float, said: str):
    assert retry_after(wait_s) == said
