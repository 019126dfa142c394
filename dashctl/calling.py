"""The connection of one command: opened at the first call, at the socket that environment and flags name.

It also knows what dashd's errors mean for a shell: the exit code of each category.
"""

from __future__ import annotations

import os

from dashd import client_blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

ANSWER_S = 30.0
"""How long a call may take that does not wait for anything."""

EXIT_FAILED, EXIT_USAGE, EXIT_TIMEOUT, EXIT_UNREACHABLE, EXIT_INTERRUPTED = 1, 2, 6, 69, 130
EXIT_BY_CATEGORY = {
    "invalid_request": 2,
    "validation_error": 2,
    "not_found": 3,
    "conflict": 4,
    "unauthorized": 5,
    "forbidden": 5,
    "timeout": 6,
    "budget_exceeded": 7,
    "unavailable": 69,
}
EXIT_BY_KIND = {"UnknownMethod": 2, "Cancelled": 130}


class Failure(Exception):
    """A command cannot go on, for a reason of its own."""

    def __init__(
        self, message: str, *, hint: str = "", exit_code: int = EXIT_FAILED, kind: str = "Failed"
    ) -> None:
        """`message` says what was wrong, `hint` is the exact next command."""
        super().__init__(message)
        self.error = {"code": exit_code, "kind": kind, "message": message, "hint": hint, "retryable": False}
        self.exit_code = exit_code


class UsageError(Failure):
    """The command line is wrong."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        """`message` quotes the value that is wrong."""
        super().__init__(message, hint=hint, exit_code=EXIT_USAGE, kind="UsageError")


class Unheard(client_blocking.Unreachable):
    """dashd works in the state folder, but nobody can reach it: its socket is gone."""

    def __init__(self, message: str, *, hint: str, pid: int | None, state_dir: str) -> None:
        """`pid` is None where its note cannot be read."""
        super().__init__("unheard", message, hint=hint)
        self.pid = pid
        self.state_dir = state_dir


def exit_code(failure: client_blocking.CallFailed) -> int:
    """What the shell gets to see of `failure`."""
    by_category = EXIT_BY_CATEGORY.get(failure.category, EXIT_FAILED)
    return EXIT_BY_KIND.get(failure.kind, by_category)


class Dash:
    """dashd, as a command sees it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """`environ` is the process's own, with --socket and --state-dir put in."""
        self.environ = environ
        self._client: client_blocking.Client | None = None
        self._found_at = ""

    @property
    def socket_path(self) -> str:
        """Where dashd is expected."""
        if self._found_at:
            return self._found_at
        from dashd.wire import paths

        return paths.socket_path(self.environ)

    def call(self, method: str, *, deadline_s: float = ANSWER_S, **params: object) -> dict[str, Any]:
        """The result of `method`; parameters that are None are left out. Raises CallFailed."""
        given = {name: value for name, value in params.items() if value is not None}
        return self.client.call(method, given, deadline_s=deadline_s)

    def create(self, method: str, *, key: str | None, **params: object) -> dict[str, Any]:
        """As `call`, for what makes something new, under `key` or one of our own.

        Where the answer was lost the failure's hint has that key: with it a repetition does nothing twice.
        """
        key = key or f"dashctl-{os.urandom(8).hex()}"
        try:
            given: dict[str, Any] = {**params, "idempotency_key": key}
            return self.call(method, **given)
        except client_blocking.CallFailed as failure:
            if isinstance(failure, client_blocking.DeadlinePassed) or getattr(failure, "state", "") == "lost":
                what = "whether it was done is not known"
                failure.hint = f"{what}; run it again with --key {key}, it is never done twice"
            raise

    @property
    def client(self) -> client_blocking.Client:
        """The open connection; it is opened where there is none. Raises client_blocking.Unreachable."""
        if self._client is None:
            try:
                self._client = client_blocking.Client(self.socket_path)
            except client_blocking.Unreachable as failure:
                if failure.state not in ("absent", "stale", "error"):
                    raise
                self._client = self._elsewhere(failure)
            self._introduce(self._client)
        return self._client

    def _introduce(self, client: client_blocking.Client) -> None:
        """Says whose key DASH_KEY is, where there is one. Raises CallFailed where dashd does not know it."""
        if key := self.environ.get("DASH_KEY"):
            try:
                client.call("rpc.hello", {"client": "dashctl", "key": key}, deadline_s=ANSWER_S)
            except client_blocking.CallFailed:
                self.close()
                raise

    def _elsewhere(self, failure: client_blocking.Unreachable) -> client_blocking.Client:
        """A connection to the dashd of the state folder, where it serves another socket than expected.

        A socket that was named by hand is meant: no other is taken then. Raises Unheard, other Unreachables,
        or `failure` where no dashd works in the folder.
        """
        from dashd.wire import paths, tenant

        state_dir = paths.state_dir(self.environ)
        found = tenant.find(state_dir)
        if found is None:
            raise failure
        expected = paths.socket_path(self.environ)
        who, named = f"dashd (pid {found.pid or 'unknown'})", self.environ.get("DASH_SOCKET")
        if found.socket and found.socket != expected:
            if named and os.path.exists(found.socket):
                message = f"{failure.message}; {who} of {state_dir} serves {found.socket}"
                hint = f"unset DASH_SOCKET, or say --socket {found.socket}"
                raise client_blocking.Unreachable("unheard", message, hint=hint) from None
            try:
                client = client_blocking.Client(found.socket)
            except client_blocking.Unreachable as second:
                if second.state not in ("absent", "stale"):
                    raise
            else:
                self._found_at = found.socket
                return client
        message = f"{who} runs, but its socket {found.socket or expected} is gone"
        hint = "dashctl restart (agents live on)"
        raise Unheard(message, hint=hint, pid=found.pid, state_dir=state_dir) from None

    def at(self, socket_path: str) -> None:
        """From now on dashd is at `socket_path`, as it said itself when it started."""
        self.close()
        self._found_at = socket_path

    def forget(self) -> None:
        """From now on dashd is where environment and flags say."""
        self.close()
        self._found_at = ""

    def close(self) -> None:
        """Closes the connection; the next call opens another."""
        if self._client is not None:
            self._client.close()
            self._client = None
