"""A clock that moves only when told to, and random bits that are the same in every run."""

import random

from dashd import clock


class FixedClock(clock.Clock):
    """Starts at 2026-11-20T10:00:00.000Z; `advance` moves it; tokens come from a seeded generator."""

    def __init__(self, at_ms: int = 1_795_168_800_000, *, seed: int = 0) -> None:
        self.at_ms = at_ms
        self._random = random.Random(seed)

    def now_ms(self) -> int:
        return self.at_ms

    def steady_ms(self) -> int:
        return self.at_ms

    def token(self, bits: int) -> int:
        return self._random.getrandbits(bits)

    def advance(self, by_ms: int) -> None:
        """Move forward (or, negative, back)."""
        self.at_ms += by_ms
