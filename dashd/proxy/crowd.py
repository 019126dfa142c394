"""How many connections a listener serves at once, and how many calls of each agent where several share it.

Calls are held for days, while their agent is paused or waits for money. So each agent of a gateway has room
for as many calls as may be held of it (`room.CALLS_MAX`), whatever the others do; what one makes beyond that
comes out of what they share, and is refused where nothing of that is left. Connections that carry no call
have places of their own; beyond all of them one waits in the backlog, which held calls alone never bring
about. With the daemon's `open_files` this is what bounds its descriptors.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from .caller import Refused
from .ledger import Payer
from .room import CALLS_MAX

CONNECTIONS_MAX = 64
"""Of a listener that one agent has to itself, and the most calls of one agent at any."""
SHARED_MAX = CONNECTIONS_MAX - CALLS_MAX
"""Calls beyond what each agent is sure of, over all agents of a listener."""
AGAIN_S = 10


class Crowd:
    """Those at one listener; by default those of a single agent."""

    def __init__(self) -> None:
        self.connections = trio.CapacityLimiter(CONNECTIONS_MAX)
        self._under_way: Counter[str] = Counter()
        """Calls by payer."""
        self._shared = 0
        """Of them, those beyond what their agents are sure of."""

    def seat(self, agents: int) -> None:
        """So many agents share the listener now."""
        self.connections.total_tokens = CONNECTIONS_MAX + SHARED_MAX + CALLS_MAX * agents

    @contextmanager
    def one(self, payer: Payer) -> Iterator[None]:
        """A call is under way inside. Raises Refused where its agent has too many."""
        whose = payer.agent_id or payer.budget_id
        shares = self._under_way[whose] >= CALLS_MAX
        if shares and self._shared >= SHARED_MAX:
            text = (
                f"{self._under_way[whose]} calls of this agent are under way: {CALLS_MAX} may always, up "
                f"to {CONNECTIONS_MAX} while others leave room; try again when one of them has ended"
            )
            raise Refused(503, "crowded", text, retry_after=str(AGAIN_S))
        self._under_way[whose] += 1
        self._shared += shares
        try:
            yield
        finally:
            self._leave(whose)

    def _leave(self, whose: str) -> None:
        """Which of its calls has ended does not matter: what is left takes the sure places first."""
        self._shared -= self._under_way[whose] > CALLS_MAX
        self._under_way[whose] -= 1
        if not self._under_way[whose]:
            del self._under_way[whose]
