"""What a strategy returns."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Planned:
    """One task to be; `after` are indices of earlier tasks in the same plan that must complete first."""

    item: str
    after: tuple[int, ...] = ()
