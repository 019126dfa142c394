"""What is wanted of a running attempt, as last read from the rows."""

import trio

from dashd.domain.attempt import Stop


class Wish:
    """The newest wish and a bell for whoever carries it out. A stop is final; the first one wins."""

    def __init__(self) -> None:
        self.stop: Stop | None = None
        self.hold = False
        self.told = False
        """Something has been said already; whoever read older rows says nothing then."""
        self._changed = trio.Event()

    def set(self, *, stop: Stop | None, hold: bool) -> None:
        """Takes over what the rows say and rings where that is new."""
        self.told = True
        before = (self.stop, self.hold)
        self.stop = self.stop or stop
        self.hold = hold
        if before != (self.stop, self.hold):
            self.ring()

    def ring(self) -> None:
        """Wakes whoever waits: something about the attempt has changed."""
        self._changed.set()
        self._changed = trio.Event()

    def ticket(self) -> trio.Event:
        """Set at the next ring; take it before looking."""
        return self._changed
