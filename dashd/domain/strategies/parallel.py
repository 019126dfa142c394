"""parallel: every item on its own, nothing waits for anything."""

from collections.abc import Sequence

from .plan import Planned


def plan(items: Sequence[str]) -> list[Planned]:
    """One independent task an item."""
    return [Planned(item) for item in items]
