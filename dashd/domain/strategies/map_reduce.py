"""map-reduce: all items but the last side by side, then the last over what they made."""

from collections.abc import Sequence

from .plan import Planned


def plan(items: Sequence[str]) -> list[Planned]:
    """The last item waits for all others; one item alone waits for nothing."""
    *mapped, reduced = items
    return [*(Planned(item) for item in mapped), Planned(reduced, tuple(range(len(mapped))))]
