"""A state machine as a table of lettered arrows.

Each noun draws its own machine as text above its table; tests name the letters.
"""

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

    def check(self, state: str, target: str) -> None:
        """Raises IllegalTransition where no arrow leads from `state` to `target`."""
        if not any(state in sources and target == entered for sources, entered in self.arrows.values()):
            reachable = sorted({entered for sources, entered in self.arrows.values() if state in sources})
            raise errors.IllegalTransition(
                f"a {self.noun} that is {state} cannot become {target}",
                hint=f"from {state} it can become: {', '.join(reachable) or 'nothing'}",
            )


def arrow(sources: str, target: str) -> tuple[frozenset[str], str]:
    """One arrow; `sources` are state names separated by spaces."""
    return frozenset(sources.split()), target
