"""The agent's stdin as numbered inputs: a number taken once is never written twice, whoever sends it again.

The holder has both ends of the pipe, so an agent that closes its stdin breaks nothing, and writing never
blocks: what does not fit waits here, bounded. Standard library only.
"""

import contextlib
import os

PENDING_BYTES_MAX = 8 << 20


class AgentStdin:
    """A pipe and what waits for room in it."""

    def __init__(self, is_open: bool) -> None:
        """Without `is_open` there is no pipe, and no input is ever taken."""
        self.read_end, self.write_end = os.pipe() if is_open else (-1, -1)
        if is_open:
            os.set_blocking(self.write_end, False)
        self.pending = bytearray()
        self.last = 0
        self.refused_full = False
        self.missing = 0
        """The input that there was no room for: none after it is taken before it is."""
        self.closed = not is_open

    def fds(self) -> tuple[int, ...]:
        """Both ends, if there is a pipe."""
        return () if self.write_end < 0 else (self.read_end, self.write_end)

    def take(self, number: int, data: bytes, eof: bool) -> None:
        """Takes input `number` unless it was taken before, nothing more may come, or there is no room."""
        if self.closed or number <= self.last or number > (self.missing or number):
            return
        if self.pending and len(self.pending) + len(data) > PENDING_BYTES_MAX:
            self.refused_full, self.missing = True, number
            return
        self.missing = 0
        self.last, self.closed = number, eof
        self.pending += data
        self.write()

    def write(self) -> bool:
        """Writes what fits; True if nothing waits any more. After the last input it closes the pipe."""
        with contextlib.suppress(BlockingIOError):
            while self.pending:
                del self.pending[: os.write(self.write_end, self.pending)]
        if not self.pending and self.closed and self.write_end >= 0:
            os.close(self.write_end)
            os.close(self.read_end)
            self.read_end = self.write_end = -1
        return not self.pending

    def report(self) -> dict[str, int | bool]:
        """What the daemon is told: the last number taken, and why later ones are not."""
        return {"last": self.last, "full": self.refused_full, "closed": self.closed}
