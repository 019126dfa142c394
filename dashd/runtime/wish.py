"""What is wanted of a running attempt, as last read from the rows."""

import trio

from dashd.domain.attempt import Stop


class Wish:
    """The newest wish and a bell for whoever carries it out. A stop is final; the first one wins."""

    def __init__(self) -> None:
        self.stop: Stop | None = None
        self.hold = False
        self.hard = False
        """Held by the kernel, whatever its driver's own way."""
        self.waits = False
        """A request of its own is open; until somebody decides, its time does not count."""
        self.messages = 0
        """How many there are for the agent."""
        self.told = False
        """Something has been said already; whoever read older rows says nothing then."""
        self._changed = trio.Event()

    def set(
        self, *, stop: Stop | None, hold: bool, hard: bool = False, waits: bool = False, messages: int = 0
    ) -> None:
        """Takes over what the rows say and rings where that is new."""
        self.told = True
        before = self._said()
        self.stop = self.stop or stop
        self.hold, self.hard, self.waits = hold, hard, waits
        self.messages = max(messages, self.messages)
        if before != self._said():
            self.ring()

    def _said(self) -> tuple[object, ...]:
        return self.stop, self.hold, self.hard, self.waits, self.messages

    def ring(self) -> None:
        """Wakes whoever waits: something about the attempt has changed."""
        self._changed.set()
        self._changed = trio.Event()

    async def stopped(self) -> None:
        """Returns when a stop is wanted."""
        while self.stop is None:
            await self._changed.wait()

    def ticket(self) -> trio.Event:
        """Set at the next ring; take it before looking."""
        return self._changed
