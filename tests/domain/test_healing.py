"""When a failed task is tried again, as a table."""

import pytest

from dashd.domain import healing
from dashd.domain.healing import GiveUp, Retry


@pytest.mark.parametrize(
    ("number", "least", "most"),
    [(1, 0.5, 1.0), (2, 1.0, 2.0), (3, 2.0, 4.0), (4, 4.0, 8.0), (5, 8.0, 16.0), (6, 15.0, 30.0),
     (21, 15.0, 30.0)],
)  # fmt: skip
def test_delays_double_up_to_the_cap_and_spread_over_their_upper_half(
    number: int, least: float, most: float
) -> None:
    assert healing.retry_delay_s(number, 0.0) == least
    assert least < healing.retry_delay_s(number, 0.999) < most
    assert healing.retry_delay_s(number, 1.0) == most


@pytest.mark.parametrize(
    ("number", "most"),
    [(1, 0.0), (2, 1.0), (3, 2.0), (6, 16.0), (7, 32.0), (11, 512.0), (12, 600.0), (1_000_000, 600.0)],
)
def test_what_never_begins_is_tried_at_once_and_then_ever_later(number: int, most: float) -> None:
    assert (healing.never_delay_s(number, 0.0), healing.never_delay_s(number, 1.0)) == (most / 2, most)
    assert healing.never_delay_s(number, 1.0, unlaunched=True) == min(most, healing.DELAY_S_MAX)


@pytest.mark.parametrize("number", [1_024, 1_025, 1_026, 10**9])  # 2.0 ** 1024 is none
def test_whatever_was_counted_there_is_a_delay(number: int) -> None:
    assert healing.retry_delay_s(number, 1.0) == healing.DELAY_S_MAX
    assert healing.doubled_s(0.001, 1e9, number) == 1e9


def _after(failed: int, lost: int, retries: int = 3) -> Retry | GiveUp:
    return healing.after_failure(failed=failed, lost=lost, retries=retries, reason="exit code 2", jitter=1.0)


@pytest.mark.parametrize(("failed", "delay_s"), [(1, 1.0), (2, 2.0), (3, 4.0)])
def test_three_retries_are_four_attempts(failed: int, delay_s: float) -> None:
    assert _after(failed, 0) == Retry(delay_s)
    assert _after(4, 0) == GiveUp("exit code 2 (attempt 4 of 4)")


def test_without_retries_the_reason_stands_alone() -> None:
    assert _after(1, 0, retries=0) == GiveUp("exit code 2")


def test_lost_attempts_delay_but_do_not_count_against_the_retries() -> None:
    assert _after(0, 1, retries=0) == Retry(1.0)
    assert _after(2, 1) == Retry(4.0)
    assert _after(0, healing.LOST_ATTEMPTS_MAX) == Retry(healing.DELAY_S_MAX)


def test_what_takes_its_holder_along_every_time_ends() -> None:
    verdict = _after(0, healing.LOST_ATTEMPTS_MAX + 1)
    assert isinstance(verdict, GiveUp)
    assert "lost 11 times" in verdict.cause
