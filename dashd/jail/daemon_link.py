"""One connection as the holder sees it: JSON lines in, and out only the newest notification of each kind.

Never blocks, and what waits to be sent cannot grow. The daemon's end is holder_link.py.
Standard library only.
"""

from __future__ import annotations

import _socket as socket
import json
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LINE_BYTES_MAX = 8 << 20  # an input of holder_link.INPUT_BYTES_MAX in base64, with room
_READ_BYTES = 65536


class DaemonLink:
    """Cuts lines in and coalesces notifications out."""

    def __init__(self, sock: socket.socket) -> None:
        """Takes the socket over."""
        self.sock = sock
        self.incoming = bytearray()
        self.pending: dict[str, Any] = {}
        self.outgoing = b""

    def say(self, kind: str, body: object) -> None:
        """Queues a notification; an unsent one of the same kind is replaced."""
        self.pending[kind] = body

    def answer(self, body: dict[str, Any], fd: int | None) -> None:
        """Sends the first line of a connection, whose buffer is empty, with a dup of `fd` beside it."""
        line = json.dumps(body).encode() + b"\n"
        rights = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))]
        self.sock.sendmsg([line], rights, socket.MSG_DONTWAIT)

    def flush(self) -> bool:
        """Sends what fits without blocking; True if nothing is left. OSError if the peer is gone."""
        while self.outgoing or self.pending:
            if not self.outgoing:
                kind = next(iter(self.pending))
                self.outgoing = json.dumps({kind: self.pending.pop(kind)}).encode() + b"\n"
            try:
                self.outgoing = self.outgoing[self.sock.send(self.outgoing, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                return False
        return True

    def lines(self) -> list[dict[str, Any]]:
        """The requests that have arrived; ConnectionError at EOF, ValueError for what is not a request."""
        try:
            data = self.sock.recv(_READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        if not data:
            raise ConnectionResetError
        self.incoming += data
        if b"\n" not in data:
            if len(self.incoming) > LINE_BYTES_MAX:
                raise ValueError("line too long")
            return []
        *whole, self.incoming = self.incoming.split(b"\n")
        requests = [json.loads(line) for line in whole]
        if not all(isinstance(request, dict) for request in requests):
            raise ValueError("not an object")
        return requests


def accept(door: socket.socket) -> DaemonLink | None:
    """Who knocks, if it is somebody of this uid and still there."""
    try:
        sock = socket.socket(fileno=door._accept()[0])  # type: ignore[attr-defined]  # typeshed lacks it
    except OSError:
        return None
    peer = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if peer[1] == os.getuid():
        return DaemonLink(sock)
    sock.close()
    return None
