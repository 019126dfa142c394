"""A circuit: after some failures in a row a provider is left alone for a while, then tried with one call.

    closed ──failures_max in a row──▶ open ──after open_s──▶ half-open ──success──▶ closed
                                       ▲─────────────────── failure ────┘

Beside it a provider may ask for a rest (`retry-after`), which opens nothing. Pure: the time is an argument,
in seconds of any steady clock.
"""

from dataclasses import dataclass
from typing import Literal

PROBE_S = 1.0
"""How soon somebody who found a probe under way looks again."""


@dataclass
class Circuit:
    """One provider's circuit."""

    failures_max: int = 3
    open_s: float = 20.0
    failures: int = 0
    opened_at: float | None = None
    probing: bool = False
    resting_until: float = float("-inf")

    def state(self, now: float) -> Literal["closed", "open", "half-open"]:
        """How it stands."""
        if self.opened_at is None:
            return "closed"
        return "half-open" if now - self.opened_at >= self.open_s else "open"

    def admits(self, now: float) -> bool:
        """True where a call may go out; a half-open circuit lets one through at a time.

        Whoever was let through says how it went: `succeeded`, `failed`, or `withdrew` where nothing was
        learnt.
        """
        if now < self.resting_until:
            return False
        state = self.state(now)
        if state == "half-open" and not self.probing:
            self.probing = True
            return True
        return state == "closed"

    def admits_at(self, now: float) -> float:
        """The earliest instant at which it can admit a call; `now` where it would at once."""
        at = max(now, self.resting_until)
        if self.opened_at is None:
            return at
        # While a call probes, its verdict comes at an unknown time: soon is a good guess.
        return max(at, self.opened_at + self.open_s, now + PROBE_S if self.probing else now)

    def rest(self, until: float) -> None:
        """The provider asked to be left alone until then; a later instant wins."""
        self.resting_until = max(self.resting_until, until)

    def succeeded(self) -> bool:
        """A call came through; returns whether that closed it."""
        was_open = self.opened_at is not None
        self.failures, self.opened_at, self.probing = 0, None, False
        return was_open

    def withdrew(self) -> None:
        """An admitted call ended without telling anything of the provider; another may probe."""
        self.probing = False

    def failed(self, now: float) -> bool:
        """A call failed; returns whether that opened it."""
        self.failures += 1
        reopened = self.probing
        self.probing = False
        if reopened or (self.opened_at is None and self.failures >= self.failures_max):
            opened = self.opened_at is None
            self.opened_at = now
            return opened
        return False
