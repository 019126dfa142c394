"""Which agents' calls wait, for what and since when: so that whoever asks is told, while the call is not.

In memory, like the calls: a restart ends both. A call waits for one thing at a time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from dashd.clock import Clock

What = Literal["budget", "line", "rate", "provider"]


@dataclass(frozen=True, slots=True)
class Wait:
    """What one call waits for."""

    what: What
    on: str
    """The budget, the limit as its setting is called, or the provider."""
    text: str
    since_ms: int
    until_ms: int | None = None
    """When it goes on by itself, where that is known."""


class Waits:
    """The calls of agents that wait; one for the daemon."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[str, dict[int, Wait]] = {}
        self._number = 0

    @contextmanager
    def during(
        self, agent_id: str | None, what: What, on: str, text: str, for_s: float | None = None
    ) -> Iterator[None]:
        """The agent's call waits inside, for `for_s` at most where that is known; nobody's is not noted."""
        if agent_id is None:
            yield
            return
        now_ms = self._clock.now_ms()
        self._number += 1
        number = self._number
        until_ms = None if for_s is None else now_ms + round(for_s * 1_000)
        self._open.setdefault(agent_id, {})[number] = Wait(what, on, text, now_ms, until_ms)
        try:
            yield
        finally:
            found = self._open[agent_id]
            del found[number]
            if not found:
                del self._open[agent_id]

    def of(self, agent_id: str) -> Wait | None:
        """What the agent's oldest waiting call waits for; None where none waits."""
        return next(iter(self._open.get(agent_id, {}).values()), None)
