"""The agent's stdout and stderr on their way into the spool: what came first on stderr stands there first.

A program says on stderr why it fails, and then it, or its runner, says on stdout that it has; whoever reads
the spool understands that in this order alone. Two pipes keep none between them. So before anything of stdout
is kept, all is that stderr holds by then: what a pipe can hold at most, so that a flood there has stdout wait
for that much and no longer. Standard library only.
"""

from __future__ import annotations

import os

from dashd.jail import spool

STDERR_READS_MAX = 16  # of 64 KiB: as much as whoever has no privileges can make a pipe hold


class AgentOut:
    """Both pipes, as their reader has them: which are open, and which have come to their end."""

    def __init__(self, folder: int, bytes_max: int | None, stdout: int, stderr: int) -> None:
        """`folder` and `bytes_max` are the spool's; of each pipe the end to read from. The caller closes."""
        self.spool = spool.Writer(folder, bytes_max)
        self.stdout, self.stderr = stdout, stderr
        self.open = [stdout, stderr]
        self.ended: list[int] = []
        for fd in self.open:
            os.set_blocking(fd, False)

    def move(self, fd: int, *, keep: bool) -> bool:
        """Moves one read of a pipe into the spool; False if there was nothing. Without `keep` it is gone."""
        data = self._read(fd)
        if data and fd == self.stdout:
            self._move_stderr(keep)
        if data and keep:
            self.spool.append(spool.STDOUT if fd == self.stdout else spool.STDERR, data)
        return bool(data)

    def _move_stderr(self, keep: bool) -> None:
        """All that there is now: less than was asked for is the last of it."""
        for _ in range(STDERR_READS_MAX):
            data = self._read(self.stderr)
            if data and keep:
                self.spool.append(spool.STDERR, data)
            if len(data) < spool.PAYLOAD_BYTES_MAX:
                break

    def _read(self, fd: int) -> bytes:
        if fd not in self.open:
            return b""
        try:
            data = os.read(fd, spool.PAYLOAD_BYTES_MAX)
        except BlockingIOError:
            return b""
        if not data:
            self.open.remove(fd)
            self.ended.append(fd)
        return data
