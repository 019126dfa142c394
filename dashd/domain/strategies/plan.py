"""What a strategy returns."""

import msgspec


class Planned(msgspec.Struct, frozen=True):
    """One task to be; `after` are indices of earlier tasks in the same plan that must complete first."""

    item: str
    after: tuple[int, ...] = ()
