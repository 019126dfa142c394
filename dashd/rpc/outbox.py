"""What waits to be sent to one peer, and the rule that nobody waits for that peer in order to send.

`put` and `flush` never block: the kernel takes what it can at once, the rest stays here and `drain` sends it
as the peer reads. The bound is kept by its users: who makes more output than a peer reads waits in `room`.
"""

import socket
from collections import deque
from typing import Final

import trio

JOIN_BYTES_MAX: Final = 256 * 1024
"""Small messages are sent together up to this size."""
_NOTHING: Final = memoryview(b"")


class Outbox:
    """The outgoing side of one non-blocking socket; it does not close it."""

    def __init__(self, sock: socket.socket, *, bytes_max: int, stall_s: float) -> None:
        """Above `bytes_max` the outbox is full; `stall_s` is how long a peer may take to read what waits."""
        self._send = sock.send
        self._fd = sock.fileno()
        self._bytes_max = bytes_max
        self._stall_s = stall_s
        self._waiting: deque[bytes] = deque()
        self._rest = _NOTHING
        """What the kernel did not take of what it was given last."""
        self._crowd = trio.lowlevel.ParkingLot()
        self._sent = 0
        self.size = 0
        """Bytes that wait here."""

    @property
    def full(self) -> bool:
        """Over the bound: make nothing more until there is `room`."""
        return self.size > self._bytes_max

    def put(self, data: bytes) -> None:
        """Queue bytes for the next `flush`."""
        self._waiting.append(data)
        self.size += len(data)

    def flush(self) -> bool:
        """Send what the kernel takes now; False where something is left, which needs a `drain`."""
        while self.size:
            data = self._rest or self._next()
            sent = self._offer(data)
            self.size -= sent
            if sent < len(data):
                self._rest = memoryview(data)[sent:]
                break
            self._rest = _NOTHING
        if self._crowd and not self.full:
            self._crowd.unpark_all()
        return not self.size

    def send(self, data: bytes) -> bool:
        """`put` and `flush` in one, without a queue where nothing waits: the path of every pushed event."""
        if self.size:
            self.put(data)
            return self.flush()
        sent = self._offer(data)
        if sent < len(data):
            self._rest = memoryview(data)[sent:]
            self.size = len(self._rest)
        return not self.size

    async def drain(self) -> None:
        """Send until nothing waits. Raises trio.TooSlowError when what waits at some instant has not been
        read `stall_s` later: a peer that reads one byte now and then does not keep itself alive.
        """
        while not self.flush():
            goal = self._sent + self.size
            with trio.fail_after(self._stall_s):
                while self._sent < goal:
                    await trio.lowlevel.wait_writable(self._fd)
                    self.flush()

    async def room(self) -> None:
        """Return as soon as the outbox is not full; the peer's `drain` puts a deadline on that."""
        while self.full:
            await self._crowd.park()

    def _offer(self, data: bytes | memoryview) -> int:
        """How many of these bytes the kernel took."""
        try:
            sent = self._send(data)
        except BlockingIOError:
            return 0
        except OSError:
            # The peer is gone, as its reader learns too: nothing that is for it need wait.
            sent = len(data)
        self._sent += sent
        return sent

    def _next(self) -> bytes:
        first = self._waiting.popleft()
        if not self._waiting or len(first) >= JOIN_BYTES_MAX:
            return first
        parts, size = [first], len(first)
        while self._waiting and size < JOIN_BYTES_MAX:
            part = self._waiting.popleft()
            parts.append(part)
            size += len(part)
        return b"".join(parts)
