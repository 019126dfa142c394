"""How fast an agent or a key may call: token buckets for requests and model tokens, a minute and a day.

Pure arithmetic: the time is an argument, in seconds of any steady clock. A bucket starts full and fills
evenly, so after a pause a burst of one whole period passes. What a call used is known only afterwards:
model tokens are taken when it has settled, and a bucket in debt lets nothing through until it is above zero
again.
"""

import math
from dataclasses import dataclass

MINUTE_S = 60.0
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What is allowed; None is no limit."""

    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None


class Bucket:
    """One limit: `size` in each `period_s`."""

    def __init__(self, size: int, period_s: float) -> None:
        assert size > 0
        assert period_s > 0
        self._size = size
        self._per_s = size / period_s
        self._level = float(size)
        self._at: float | None = None

    def level(self, now: float) -> float:
        """What is in it; below zero it is in debt."""
        self._fill(now)
        return self._level

    def wait_s(self, now: float, need: float) -> float:
        """Seconds until `need` is there; 0.0 where it is."""
        self._fill(now)
        return max(0.0, (min(need, self._size) - self._level) / self._per_s)

    def take(self, now: float, amount: float) -> None:
        """Takes it out, into debt where it must."""
        self._fill(now)
        self._level -= amount

    def _fill(self, now: float) -> None:
        if self._at is not None and now > self._at:
            self._level = min(self._size, self._level + (now - self._at) * self._per_s)
        self._at = now if self._at is None else max(self._at, now)


class Rates:
    """The buckets of one agent or key."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._requests = _buckets((limits.requests_per_minute, MINUTE_S), (limits.requests_per_day, DAY_S))
        self._tokens = _buckets((limits.tokens_per_minute, MINUTE_S), (limits.tokens_per_day, DAY_S))

    def wait_s(self, now: float) -> float:
        """Seconds until another call may begin; 0.0 where it may now."""
        waits = [bucket.wait_s(now, 1.0) for bucket in (*self._requests, *self._tokens)]
        return max(waits, default=0.0)

    def begin(self, now: float) -> None:
        """A call begins."""
        for bucket in self._requests:
            bucket.take(now, 1.0)

    def used(self, now: float, tokens: int) -> None:
        """A call has settled at so many model tokens."""
        for bucket in self._tokens:
            bucket.take(now, tokens)


def retry_after(wait_s: float) -> str:
    """`wait_s` as the header says it: whole seconds, never too early."""
    return str(max(1, math.ceil(wait_s)))


def _buckets(*limits: tuple[int | None, float]) -> list[Bucket]:
    return [Bucket(size, period_s) for size, period_s in limits if size is not None]
