"""Circuits: after some failures in a row a provider, or one of its models, is left alone for a while, then
tried with one call.

    closed ──failures_max in a row──▶ open ──after open_s──▶ half-open ──success──▶ closed
                                       ▲─────────────────── failure ────┘

A provider has a circuit of its own and one for each model that fails, because a broken model says nothing
of its siblings. Who cannot be reached at all has failed as a provider. A failure that is an answer, or
silence, is the model's; where a second model breaks and nothing of the provider has come through meanwhile,
it is the provider's as well. A model to which there is no access opens at once, and says nothing of the
provider. Beside it either may ask for a rest (`retry-after`), which opens nothing. Pure:
the time is an argument, in seconds of any steady clock.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import msgspec

PROBE_S = 1.0
"""How soon somebody who found a probe under way looks again."""
USUAL_TIMES_MAX = 3.0
"""How many times its usual wait a probe may be silent."""
BROKEN_MODELS_MAX = 2
"""So many models that broke one after the other are a broken provider."""

State = Literal["closed", "open", "half-open"]
_BEST: tuple[State, ...] = ("closed", "half-open", "open")
Blame = Literal["provider", "model"]
"""Whose failure it is."""
Admission = Literal["call", "probe"]


@dataclass
class Circuit:
    """The circuit of one provider, or of one of its models."""

    failures_max: int = 3
    open_s: float = 20.0
    failures: int = 0
    opened_at: float | None = None
    probing: bool = False
    probes_failed: int = 0
    """In a row, since it opened."""
    resting_until: float = float("-inf")

    def state(self, now: float) -> State:
        """How it stands."""
        if self.opened_at is None:
            return "closed"
        return "half-open" if now - self.opened_at >= self.open_s else "open"

    def admits(self, now: float) -> bool:
        """True where a call may go out; a half-open circuit lets one through at a time.

        Whoever was let through says how it went: `succeeded`, `failed`, or `withdrew` where nothing was
        learnt.
        """
        if self.admits_at(now) > now:
            return False
        self.probing = self.state(now) == "half-open"
        return True

    def admits_at(self, now: float) -> float:
        """The earliest instant at which it can admit a call; `now` where it would at once."""
        at = max(now, self.resting_until)
        if self.opened_at is None:
            return at
        # While a call probes, its verdict comes at an unknown time: soon is a good guess.
        return max(at, self.opened_at + self.open_s, now + PROBE_S if self.probing else now)

    def rest(self, until: float) -> None:
        """It asked to be left alone until then; a later instant wins."""
        self.resting_until = max(self.resting_until, until)

    def succeeded(self) -> bool:
        """A call came through; returns whether that closed it."""
        was_open = self.opened_at is not None
        self.failures, self.opened_at, self.probing, self.probes_failed = 0, None, False, 0
        return was_open

    def withdrew(self) -> None:
        """An admitted call ended without telling anything; another may probe."""
        self.probing = False

    def failed(self, now: float) -> bool:
        """A call failed; returns whether that opened it."""
        self.failures += 1
        reopened = self.probing
        self.probing = False
        if reopened or (self.opened_at is None and self.failures >= self.failures_max):
            self.probes_failed += reopened
            return self.open(now)
        return False

    def open(self, now: float) -> bool:
        """It is left alone from now on; returns whether that opened it."""
        was_closed, self.opened_at = self.opened_at is None, now
        return was_closed


class Change(msgspec.Struct, frozen=True):
    """What a call's end made of a circuit: the provider's, or that of the model which is named."""

    to: Literal["opened", "closed"]
    model: str | None = None


@dataclass
class Circuits:
    """A provider's circuit, and those of its models that have failed since they last came through."""

    provider: Circuit = field(default_factory=Circuit)
    models: dict[str, Circuit] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    """Models that broke since anything of the provider last came through."""

    def state(self, now: float, model: str | None = None) -> State:
        """How the provider stands, or what a call to one of its models would find."""
        return max((each.state(now) for each in self._of(model)), key=_BEST.index)

    def best(self, now: float, models: Iterable[str]) -> State:
        """The best that a call to any of these models would find; the provider's own where there is none."""
        return min((self.state(now, model) for model in models), key=_BEST.index, default=self.state(now))

    def admits_at(self, model: str, now: float) -> float:
        """The earliest instant at which a call to the model can go out."""
        return max(each.admits_at(now) for each in self._of(model))

    def admits(self, model: str, now: float) -> Admission | None:
        """Whether a call to the model may go out, and whether it then probes. See Circuit.admits."""
        if self.admits_at(model, now) > now:
            return None
        found = self._of(model)
        for each in found:
            each.admits(now)
        return "probe" if any(each.probing for each in found) else "call"

    def probe_s(self, model: str, short_s: float, full_s: float, usual_s: float) -> float:
        """How long a probe may be silent: `short_s`, but longer where the model usually takes long, and twice
        as long after each probe that failed, so that who is slow but well is let in again; never more than
        `full_s`.
        """
        failed = max(each.probes_failed for each in self._of(model))
        return min(full_s, max(short_s * 2.0 ** min(failed, 16), USUAL_TIMES_MAX * usual_s))

    def rest(self, model: str, blame: Blame, until: float) -> None:
        """Who it is asked to be left alone until then."""
        (self.provider if blame == "provider" else self._model(model)).rest(until)

    def succeeded(self, model: str) -> list[Change]:
        """A call to the model came through."""
        own = self.models.pop(model, None)
        changes = [Change("closed", model)] if own is not None and own.opened_at is not None else []
        return changes + self.answered()

    def answered(self) -> list[Change]:
        """The provider is well, whatever is with the model."""
        self.broken.clear()
        return [Change("closed")] if self.provider.succeeded() else []

    def denied(self, model: str, now: float) -> list[Change]:
        """The provider is well and gives no access to the model: its circuit opens at once, the provider's
        is none the worse.
        """
        own = self._model(model)
        own.withdrew()
        opened = [Change("opened", model)] if own.open(now) else []
        return opened + self.answered()

    def reset(self) -> None:
        """Somebody has looked after it: whatever was learnt is forgotten."""
        self.models.clear()
        self.answered()

    def withdrew(self, model: str) -> None:
        """A call ended without telling anything of either."""
        for each in self._of(model):
            each.withdrew()

    def failed(self, model: str, blame: Blame, now: float) -> list[Change]:
        """A call to the model failed, and whose failure it was."""
        if blame == "provider":
            changes = [Change("opened")] if self.provider.failed(now) else []
            for each in self._of(model):
                each.withdrew()
            return changes
        self.provider.withdrew()  # it has answered; which is no proof that it is well
        if not self._model(model).failed(now):
            return []
        self.broken.add(model)
        opens = len(self.broken) >= BROKEN_MODELS_MAX and self.provider.open(now)
        return [Change("opened", model)] + [Change("opened")] * opens

    def _of(self, model: str | None) -> list[Circuit]:
        own = self.models.get(model) if model is not None else None
        return [self.provider] if own is None else [self.provider, own]

    def _model(self, model: str) -> Circuit:
        return self.models.setdefault(
            model, Circuit(failures_max=self.provider.failures_max, open_s=self.provider.open_s)
        )
