"""What is told of calls that wait: the oldest one's reason, and nothing once it goes on."""

import pytest

from dashd.proxy.waits import Wait, Waits
from tests.fakes.clock import FixedClock


def test_the_oldest_waiting_call_is_told_until_it_goes_on():
    clock = FixedClock()
    waits = Waits(clock)
    began_ms = clock.now_ms()
    assert waits.of("a") is None
    with waits.during("a", "rate", "requests_per_minute", "slow", 2.0):
        clock.advance(500)
        with waits.during("a", "budget", "s", "no money"):
            assert waits.of("a") == Wait("rate", "requests_per_minute", "slow", began_ms, began_ms + 2_000)
            assert waits.of("b") is None
    assert waits.of("a") is None
    assert waits._open == {}


def test_a_call_that_is_cancelled_waits_no_longer():
    waits = Waits(FixedClock())
    with pytest.raises(ZeroDivisionError), waits.during("a", "line", "", "held"):
        raise ZeroDivisionError
    assert waits.of("a") is None


def test_calls_of_nobody_are_not_noted():
    waits = Waits(FixedClock())
    with waits.during(None, "line", "", "held"):
        assert waits._open == {}
