"""The smallest client there can be: one blocking socket, one call at a time, and the push of events.

It knows nothing of Dash but JSON lines, so that nothing of Dash is trusted to witness for itself.
"""

import json
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CALL_S_MAX = 20.0


class Gone(Exception):
    """The daemon went away before it answered: nobody knows whether it did what was asked."""


class Refused(Exception):
    """The daemon answered with an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.kind: str = error.get("data", {}).get("kind", "")


class Client:
    """One connection."""

    def __init__(self, path: Path) -> None:
        """Raises Gone where nobody listens."""
        self._sock = socket.socket(socket.AF_UNIX)
        self._buffer = b""
        self._number = 0
        try:
            self._sock.connect(str(path))
        except OSError as error:
            self._sock.close()
            raise Gone(str(error)) from None

    def call(self, method: str, **params: Any) -> Any:
        """The result; raises Refused and Gone."""
        self.send(method, **params)
        while True:
            answer = self.line(time.monotonic() + CALL_S_MAX)
            if answer.get("id") == self._number:
                break
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]

    def send(self, method: str, **params: Any) -> None:
        """Asks without waiting for the answer."""
        self._number += 1
        request = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        try:
            self._sock.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise Gone(str(error)) from None

    def pushed(self, give_up_at: float) -> list[dict[str, Any]]:
        """The next events of a subscription; empty where none come in time."""
        try:
            line = self.line(give_up_at)
        except TimeoutError:
            return []
        return line["params"]["events"] if line.get("method") == "$/events" else []

    def line(self, give_up_at: float) -> dict[str, Any]:
        """The next line; raises Gone, or TimeoutError at `give_up_at` (monotonic)."""
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._sock], [], [], max(0.0, give_up_at - time.monotonic()))
            if not ready:
                raise TimeoutError("no answer")
            try:
                data = self._sock.recv(1 << 16)
            except OSError as error:
                raise Gone(str(error)) from None
            if not data:
                raise Gone("the connection was closed")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def follow(self, cursor: int, *, slice_s: float = 5.0, **wanted: Any) -> Iterator[list[dict[str, Any]]]:
        """Pages of events after the cursor, for ever; an empty one after each `slice_s` without any."""
        while True:
            page = self.call("event.wait", since=cursor, timeout_s=slice_s, limit=200, **wanted)
            cursor = page["cursor"]
            yield page["events"]

    def close(self) -> None:
        """Ends the connection."""
        self._sock.close()
