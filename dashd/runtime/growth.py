"""Who waits for more output of which launch. Rung by the run that hears of it; holds nothing for others."""

import trio


class Growth:
    """One bell a launch that somebody waits for."""

    def __init__(self) -> None:
        self._waiting: dict[str, trio.Event] = {}

    def ticket(self, launch_id: str) -> trio.Event:
        """Set when the launch has printed something, or ended, since this was called."""
        return self._waiting.setdefault(launch_id, trio.Event())

    def ring(self, launch_id: str) -> None:
        """Wakes everybody who waits for this launch."""
        if (event := self._waiting.pop(launch_id, None)) is not None:  # an Event has no truth value
            event.set()

    def ring_all(self) -> None:
        """Wakes everybody: the daemon is stopping."""
        for launch_id in list(self._waiting):
            self.ring(launch_id)
