"""Who waits for more output of which launch. Rung by the run that hears of it; holds nothing for the others."""

import trio


class Growth:
    """One bell a launch that somebody waits for."""

    def __init__(self) -> None:
        self._waiting: dict[str, trio.Event] = {}

    async def wait(self, launch_id: str) -> None:
        """Returns when the launch has printed something, or ended, since this was called; cancellable."""
        await self._waiting.setdefault(launch_id, trio.Event()).wait()

    def ring(self, launch_id: str) -> None:
        """Wakes everybody who waits for this launch."""
        if event := self._waiting.pop(launch_id, None):
            event.set()
