"""The clock tells this machine's time, and its bits are within bounds and do not repeat."""

import time

from dashd import clock
from tests.fakes.clock import FixedClock


def test_now_is_the_machine_s_time_in_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    now = clock.Clock().now_ms()
    assert before <= now <= time.time_ns() // 1_000_000


def test_tokens_have_the_bits_asked_for() -> None:
    tokens = [clock.Clock().token(64) for _ in range(100)]
    assert len(set(tokens)) == 100
    assert max(tokens).bit_length() > 32
    assert all(0 <= token < 2**64 for token in tokens)
    assert {clock.Clock().token(1) for _ in range(100)} == {0, 1}


def test_the_fake_stands_still_and_repeats() -> None:
    fake, twin = FixedClock(5), FixedClock(5)
    assert fake.now_ms() == fake.now_ms() == 5
    fake.advance(7)
    assert fake.now_ms() == 12
    assert [fake.token(64) for _ in range(3)] == [twin.token(64) for _ in range(3)]


def test_the_steady_clock_does_not_know_the_wall_clock() -> None:
    real = clock.Clock()
    first = real.steady_ms()
    assert 0 < first <= real.steady_ms()
    assert abs(real.now_ms() - first) > 3_600_000_000  # since boot, not since the epoch
