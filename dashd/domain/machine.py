"""A state machine as a table of lettered arrows.

Each noun draws its own machine as text above its table; tests name the letters.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from dashd.wire import errors


@dataclass(frozen=True)
class Machine:
    """The states of one noun and the arrows between them."""

    noun: str
    arrows: Mapping[str, tuple[frozenset[str], str]]
    """Letter -> (states it may leave, state it enters)."""
    ended: frozenset[str]
    """States in which nothing is left to happen by itself."""

    @functools.cached_property
    def pairs(self) -> frozenset[tuple[str, str]]:
        """Every (state left, state entered)."""
        return frozenset((source, entered) for sources, entered in self.arrows.values() for source in sources)

    def check(self, state: str, target: str) -> None:
        """Raises IllegalTransition where no arrow leads from `state` to `target`."""
        if (state, target) not in self.pairs:
            reachable = sorted({entered for sources, entered in self.arrows.values() if state in sources})
            raise errors.IllegalTransition(
                f"a {self.noun} that is {state} cannot become {target}",
                hint=f"from {state} it can become: {', '.join(reachable) or 'nothing'}",
            )


def arrow(sources: str, target: str) -> tuple[frozenset[str], str]:
    """One arrow; `sources` are state names separated by spaces."""
    return frozenset(sources.split()), target
