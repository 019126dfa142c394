"""pipeline: items are stages, each starts when the one before has completed."""

from collections.abc import Sequence

from .plan import Planned


def plan(items: Sequence[str]) -> list[Planned]:
    """A chain in the order given."""
    return [Planned(item, (index - 1,) if index else ()) for index, item in enumerate(items)]
