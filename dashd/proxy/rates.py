"""How fast an agent or a key may call: token buckets for requests and model tokens, a minute and a day.

Pure arithmetic: the time is an argument, in seconds of any steady clock. A bucket starts full and fills
evenly, so after a pause a burst of one whole period passes. What a call used is known only afterwards: model
tokens are taken when it has settled, and a bucket in debt lets nothing through until it is above zero again.
Until then what the call can use at most counts as gone, so that many at once pass the limit by one call at
most. Nothing of it is stored: whoever makes the buckets, after a restart too, replays the calls of the last
day, which the ledger has.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import msgspec

from dashd.store.bells import Bell

MINUTE_S = 60.0
DAY_S = 86_400.0
UNDER_WAY_S = 1.0
"""When to ask again where only calls under way are in the way: nobody knows when one ends. Whoever is in this
process waits for `Rates.ended` instead.
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is allowed; None is no limit."""

    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None

    @property
    def any(self) -> bool:
        """Whether anything is limited."""
        return any(size is not None for size in asdict(self).values())


class Slow(msgspec.Struct, frozen=True):
    """The limit that lets the next call wait longest."""

    wait_s: float
    name: str
    """As the setting is called: `requests_per_minute`."""
    size: int
    under_way: bool = False
    """Only calls under way are in the way: the next begins with the end of one, or after `refilled_s`."""
    refilled_s: float = math.inf

    @property
    def text(self) -> str:
        """`60 requests a minute`."""
        what, _, period = self.name.split("_")
        return f"{self.size:,} {what} a {period}"


class Past(msgspec.Struct, frozen=True):
    """Calls that were made some time ago."""

    age_s: float
    calls: int
    tokens: int


class Bucket:
    """One limit: `size` in each `period_s`."""

    def __init__(self, size: int, period_s: float) -> None:
        assert size > 0
        assert period_s > 0
        self.size = size
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
        return max(0.0, (min(need, self.size) - self._level) / self._per_s)

    def take(self, now: float, amount: float) -> None:
        """Takes it out, into debt where it must."""
        self._fill(now)
        self._level -= amount

    def _fill(self, now: float) -> None:
        if self._at is not None and now > self._at:
            self._level = min(self.size, self._level + (now - self._at) * self._per_s)
        self._at = now if self._at is None else max(self._at, now)


class Rates:
    """The buckets of one agent or key."""

    def __init__(self, limits: Limits, *, remedy: str = "") -> None:
        """`remedy` is what to do about a limit; `{limit}` in it is the limit's name."""
        self.limits = limits
        self.remedy = remedy
        self.ended = Bell()
        """A call has ended."""
        self._buckets = {
            name: Bucket(size, MINUTE_S if name.endswith("minute") else DAY_S)
            for name, size in asdict(limits).items()
            if size is not None
        }
        self._under_way = 0
        """The most tokens that the calls under way can use."""

    def slowest(self, now: float) -> Slow | None:
        """What the next call must wait for; None where it may begin now."""
        waits = [self._slow(now, name, bucket) for name, bucket in self._buckets.items()]
        longest = max(waits, key=lambda each: each.wait_s, default=None)
        return longest if longest is not None and longest.wait_s > 0 else None

    def begin(self, now: float, tokens: int = 0) -> None:
        """A call begins that can use so many tokens."""
        self._take("requests", now, 1)
        self._under_way += tokens

    def end(self, tokens: int) -> None:
        """A call has ended that had begun with so many; what it used was told before."""
        self._under_way -= tokens
        self.ended.ring()

    def used(self, now: float, tokens: int) -> None:
        """A call has settled at so many model tokens."""
        self._take("tokens", now, tokens)

    def replay(self, now: float, past: Iterable[Past]) -> None:
        """Takes what was used before there were these buckets, oldest first."""
        for each in past:
            self._take("requests", now - each.age_s, each.calls)
            self._take("tokens", now - each.age_s, each.tokens)

    def _slow(self, now: float, name: str, bucket: Bucket) -> Slow:
        wait_s = bucket.wait_s(now, 1.0)
        held = name.startswith("tokens") and self._under_way and bucket.level(now) - self._under_way < 1.0
        if wait_s or not held:
            return Slow(wait_s, name, bucket.size)
        need = self._under_way + 1.0
        refilled_s = bucket.wait_s(now, need) if need <= bucket.size else math.inf
        return Slow(UNDER_WAY_S, name, bucket.size, under_way=True, refilled_s=refilled_s)

    def _take(self, what: str, now: float, amount: int) -> None:
        for name, bucket in self._buckets.items():
            if name.startswith(what):
                bucket.take(now, amount)


def retry_after(wait_s: float) -> str:
    """`wait_s` as the header says it: whole seconds, never too early."""
    return str(max(1, math.ceil(wait_s)))
