"""A blocking client of dashd's socket, from the standard library alone so that it starts fast.

One connection, one call at a time, a deadline for every call. It knows the envelope, not the methods: a
contract test runs it against `dashd.wire`. After a deadline or a broken frame the connection is closed,
because what comes next on it could no longer be told apart.

    CallFailed
    ├── Refused          dashd answered with an error
    ├── Unreachable      nobody answers at the socket (`state` says how), or the connection was lost
    ├── DeadlinePassed   no answer in time
    └── ProtocolBroken   what came is not an answer
"""

from __future__ import annotations

# The C half of `socket` has all that is used here; the Python half would cost more than the rest of this
# module, json included, may add to the start of a command.
import _socket as socket
import json
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Literal, Self

FRAME_BYTES_MAX = 4 * 1024 * 1024
NOTIFICATIONS_MAX = 1_000
PATH_BYTES_MAX = 103 if sys.platform == "darwin" else 107
"""Of a socket's path; `dashd.wire.paths` has the same."""
_CHUNK_BYTES = 65_536


class CallFailed(Exception):
    """A call did not succeed; the attributes are those of the wire's error object."""

    code = -32010
    kind = "DashError"
    category = "internal_error"
    retryable = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        """`hint` says what to do next, as a command where there is one."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.path = ""
        self.details: Any = None

    def as_dict(self) -> dict[str, Any]:
        """The error as `{code, kind, category, message, hint, retryable[, path][, details]}`."""
        names = ["code", "kind", "category", "message", "hint", "retryable"]
        names += [name for name in ("path", "details") if getattr(self, name)]
        return {name: getattr(self, name) for name in names}


class Refused(CallFailed):
    """dashd answered with an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        """`error` is the JSON-RPC error object; what a newer daemon adds to it is ignored."""
        data = error.get("data")
        data = data if isinstance(data, dict) else {}
        super().__init__(str(error.get("message", "")), hint=str(data.get("hint", "")))
        code = error.get("code")
        self.code = code if isinstance(code, int) else CallFailed.code
        self.kind = str(data.get("kind", "DashError"))
        self.category = str(data.get("category", "internal_error"))
        self.retryable = data.get("retryable") is True
        self.path = str(data.get("path", ""))
        self.details = data.get("details")


class Unreachable(CallFailed):
    """No dashd answers; `state` is absent, stale, denied, busy, lost, unheard or error."""

    code = -32011
    kind = "DaemonUnreachable"
    category = "unavailable"
    retryable = True

    def __init__(
        self,
        state: Literal["absent", "stale", "denied", "busy", "lost", "unheard", "error"],
        message: str,
        *,
        hint: str = "",
    ) -> None:
        """absent: no socket file; stale: a file that nobody serves; lost: it went away during the call;
        unheard: it is known to run, but cannot be reached here.
        """
        super().__init__(message, hint=hint)
        self.state = state
        if state == "denied":
            self.code, self.kind, self.category, self.retryable = -32004, "Forbidden", "forbidden", False


class DeadlinePassed(CallFailed):
    """dashd did not answer in time."""

    code = -32012
    kind = "DeadlinePassed"
    category = "timeout"
    retryable = True


class ProtocolBroken(CallFailed):
    """What came over the socket is not an answer to the call."""


class Client:
    """One connection to dashd. Use it in a `with` block, or `close` it."""

    def __init__(self, socket_path: str, *, connect_s: float = 5.0) -> None:
        """Connects at once, within `connect_s` seconds. Raises Unreachable."""
        self.socket_path = socket_path
        self._socket = _connect(socket_path, time.monotonic() + connect_s)
        self._buffer = bytearray()
        self._scanned = 0
        self._last_id = 0
        self._notifications: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; again is harmless."""
        self._socket.close()

    def call(
        self, method: str, params: dict[str, Any] | None = None, *, deadline_s: float = 30.0
    ) -> dict[str, Any]:
        """The result of one method.

        Raises Refused where dashd says no; Unreachable, DeadlinePassed and ProtocolBroken close the
        connection, and whether a changing call took effect is then unknown (idempotency keys are for that).
        """
        deadline = time.monotonic() + deadline_s
        self._last_id += 1
        frame = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params or {}}
        self._send(json.dumps(frame, separators=(",", ":")).encode() + b"\n", deadline)
        while True:
            message = self._receive(deadline)
            if "method" in message:
                self._keep(message)
                continue
            if message.get("id") not in (self._last_id, None):
                continue
            error = message.get("error")
            if isinstance(error, dict):
                raise Refused(error)
            result = message.get("result")
            if not isinstance(result, dict):
                raise self._broken("its answer has neither result nor error")
            return result

    def notification(self, *, deadline_s: float) -> dict[str, Any]:
        """The next pushed message, e.g. `$/events`, whole. Raises as `call` does."""
        deadline = time.monotonic() + deadline_s
        while not self._notifications:
            message = self._receive(deadline)
            if "method" in message:
                self._keep(message)
        return self._notifications.pop(0)

    def wait_closed(self, *, deadline_s: float) -> None:
        """Returns when dashd has closed the connection. Raises DeadlinePassed."""
        deadline = time.monotonic() + deadline_s
        try:
            while True:
                self._receive(deadline)
        except Unreachable:
            return

    def _keep(self, message: dict[str, Any]) -> None:
        if len(self._notifications) >= NOTIFICATIONS_MAX:
            raise self._broken("more was pushed than was read")
        self._notifications.append(message)

    def _send(self, frame: bytes, deadline: float) -> None:
        if len(frame) > FRAME_BYTES_MAX:
            raise ProtocolBroken(
                f"the request has {len(frame):,} bytes; a frame has at most {FRAME_BYTES_MAX:,}",
                hint="send less at once, for example fewer or shorter items",
            )
        try:
            self._limit(deadline)
            self._socket.sendall(frame)
        except TimeoutError:
            raise self._late() from None
        except OSError:
            raise self._lost() from None

    def _receive(self, deadline: float) -> dict[str, Any]:
        while (end := self._buffer.find(b"\n", self._scanned)) < 0:
            self._scanned = len(self._buffer)
            if self._scanned > FRAME_BYTES_MAX:
                raise self._broken("its answer is larger than a frame may be")
            try:
                self._limit(deadline)
                chunk = self._socket.recv(_CHUNK_BYTES)
            except TimeoutError:
                raise self._late() from None
            except OSError:
                raise self._lost() from None
            if not chunk:
                raise self._lost()
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._scanned = 0
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            raise self._broken("its answer is not JSON") from None
        if not isinstance(message, dict):
            raise self._broken("its answer is not a JSON object")
        return message

    def _limit(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)

    def _lost(self) -> Unreachable:
        self.close()
        return Unreachable(
            "lost", f"dashd at {self.socket_path} closed the connection", hint="dashctl status"
        )

    def _late(self) -> DeadlinePassed:
        self.close()
        return DeadlinePassed(f"dashd at {self.socket_path} did not answer in time", hint="dashctl status")

    def _broken(self, what: str) -> ProtocolBroken:
        self.close()
        return ProtocolBroken(
            f"{self.socket_path} does not speak Dash's protocol: {what}",
            hint="check --socket and DASH_SOCKET",
        )


def _connect(path: str, deadline: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        while True:
            try:
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
                connection.connect(path)
                return connection
            except BlockingIOError:
                # The backlog is full; Linux says so at once to a socket with a timeout (unix(7), EAGAIN).
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.01)
    except OSError as problem:
        connection.close()
        raise _unreachable(path, problem) from None


def _unreachable(path: str, problem: OSError) -> Unreachable:
    if isinstance(problem, FileNotFoundError | NotADirectoryError):
        return Unreachable("absent", f"dashd is not running: there is no socket at {path}", hint="dashctl up")
    if isinstance(problem, ConnectionRefusedError):
        message = f"dashd is not running: the socket at {path} is stale, its daemon has ended"
        return Unreachable("stale", message, hint="dashctl up")
    if isinstance(problem, PermissionError):
        hint = "run this as the user who started dashd, or name another --socket"
        return Unreachable("denied", f"opening the socket {path}: permission denied", hint=hint)
    if isinstance(problem, BlockingIOError | TimeoutError):
        return Unreachable(
            "busy", f"dashd at {path} takes no new connection: too many wait already", hint="try again"
        )
    if (length := len(os.fsencode(path))) > PATH_BYTES_MAX:
        message = f"the socket path {path} has {length} bytes; the system allows {PATH_BYTES_MAX}"
        hint = f"export DASH_SOCKET=/tmp/dash-{os.getuid()}/dashd.sock, for dashd and its clients alike"
        return Unreachable("error", message, hint=hint)
    reason = problem.strerror or str(problem)
    return Unreachable("error", f"opening the socket {path}: {reason}", hint="check --socket and DASH_SOCKET")
