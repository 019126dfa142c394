"""How often the configuration of one gateway is written to: it refuses more than 30 changes a minute, and not
all of them are Dash's. Whoever is one too many waits.
"""

from collections import deque

import trio

WRITES_MAX, WRITES_S = 20, 60.0


class WritePace:
    """Of one gateway; whoever uses it has a lock around its writes."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    async def turn(self) -> None:
        """Returns when one more write is none too many."""
        now = trio.current_time()
        while self._times and self._times[0] <= now - WRITES_S:
            self._times.popleft()
        if len(self._times) >= WRITES_MAX:
            await trio.sleep_until(self._times.popleft() + WRITES_S)
        self._times.append(trio.current_time())
