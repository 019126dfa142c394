"""The models that could be called instead, with their prices: what a threshold suggests is computed from it.

Looking through a whole price list takes a while, and each settlement may need it: so it is kept for a minute.
"""

import trio

from dashd.domain.prices import Price

from .registry import OFFLINE, Registry

KEPT_S = 60.0
Priced = tuple[tuple[str, Price], ...]


class Offers:
    """What the registry's real providers serve; one for the daemon."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: Priced = ()
        self._until = float("-inf")

    def known(self) -> Priced:
        """Names and prices, each name once; none while the price list is needed and not loaded."""
        now = trio.current_time()
        if now >= self._until:
            self._known, self._until = self._found(), now + KEPT_S
        return self._known

    def _found(self) -> Priced:
        registry = self._registry
        real = [each for each in registry.providers.values() if each.format != OFFLINE]
        if any(not each.models for each in real) and not registry.prices.loaded:
            return ()  # loading it is nothing for the loop; a call has it loaded before it is settled
        names = dict.fromkeys(name for each in real for name in registry.served(each))
        return tuple((name, registry.chain(name)[0].price) for name in names)
