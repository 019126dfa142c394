"""How long an attempt may still run: paused time does not count, the daemon's own absence does."""

import trio


class ActiveTime:
    """A deadline that can be held. Uses trio's clock; what survives a restart is in the attempt's row."""

    def __init__(self, left_s: float) -> None:
        self._left_s = left_s
        self._since: float | None = None

    def run(self) -> None:
        """Time counts from now on."""
        if self._since is None:
            self._since = trio.current_time()

    def hold(self) -> None:
        """Time does not count from now on."""
        if self._since is not None:
            self._left_s -= trio.current_time() - self._since
            self._since = None

    @property
    def deadline(self) -> float:
        """When the time is over on trio's clock; infinite while held."""
        return float("inf") if self._since is None else self._since + self._left_s
