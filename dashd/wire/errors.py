"""Every refusal Dash can give, as one tree; the class docstring is the default message.

    DashError
    ├── InvalidRequest      the frame or envelope is not one
    ├── InvalidParams       a value is wrong (validation_error)
    ├── Forbidden           the caller may not
    ├── NotFound            UnknownSwarm, UnknownAgent, UnknownTask, UnknownMethod
    ├── Conflict            IllegalTransition, IdempotencyConflict, SwarmEnded
    ├── Unsupported         this driver or build cannot
    ├── RateLimited         too many at once
    ├── InternalError       a fault of ours; StoreBroken
    ├── Unavailable         the world's fault for now; StoreFull, StoreClosed, ShuttingDown
    └── DeadlinePassed      a deadline of ours passed; Cancelled

`code` is one per category and never reused; `kind` is the class name. Raised in domain, store and
service, translated to the wire only by `rpc.dispatch`, raised again as the same class by clients.
"""

from typing import Any, ClassVar


class DashError(Exception):
    """Something went wrong in Dash."""

    category: ClassVar[str] = "internal_error"
    code: ClassVar[int] = -32010
    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1
    """What `dashctl` exits with."""

    def __init__(self, message: str = "", *, hint: str = "", path: str = "", data: object = None) -> None:
        """`path` names the offending parameter (`limits.retries`); `data` is extra, JSON-encodable."""
        self.message = message or (type(self).__doc__ or "").partition("\n")[0]
        self.hint = hint
        self.path = path
        self.data = data
        super().__init__(self.message)

    def to_wire(self) -> dict[str, Any]:
        """The JSON-RPC error object: `{code, message, data: {kind, category, hint, retryable, …}}`."""
        data: dict[str, Any] = {
            "kind": type(self).__name__,
            "category": self.category,
            "hint": self.hint,
            "retryable": self.retryable,
        }
        if self.path:
            data["path"] = self.path
        if self.data is not None:
            data["details"] = self.data
        return {"code": self.code, "message": self.message, "data": data}


class InvalidRequest(DashError):
    """The message is not a JSON-RPC 2.0 request."""

    category, code, exit_code = "invalid_request", -32600, 2


class ParseFailed(InvalidRequest):
    """The frame is not valid JSON."""

    code = -32700


class FrameTooLarge(InvalidRequest):
    """The frame is larger than allowed."""


class UnknownMethod(DashError):
    """There is no such method."""

    category, code, exit_code = "not_found", -32601, 2


class InvalidParams(DashError):
    """A parameter is not valid."""

    category, code, exit_code = "validation_error", -32602, 2


class Unauthorized(DashError):
    """Who is calling is not known."""

    category, code, exit_code = "unauthorized", -32003, 5


class Forbidden(DashError):
    """The caller may not do this."""

    category, code, exit_code = "forbidden", -32004, 5


class BudgetExceeded(DashError):
    """The budget does not cover this."""

    category, code, exit_code = "budget_exceeded", -32005, 7


class NotFound(DashError):
    """There is no such thing."""

    category, code, exit_code = "not_found", -32006, 3


class UnknownSwarm(NotFound):
    """There is no such swarm."""


class UnknownAgent(NotFound):
    """There is no such agent."""


class UnknownTask(NotFound):
    """There is no such task."""


class Conflict(DashError):
    """The current state does not allow this."""

    category, code, exit_code, retryable = "conflict", -32007, 4, True


class IllegalTransition(Conflict):
    """This change is not possible from the current state."""

    retryable = False


class SwarmEnded(Conflict):
    """The swarm has ended; nothing more can be added to it."""

    retryable = False


class IdempotencyConflict(Conflict):
    """This idempotency key was used with other parameters."""

    retryable = False


class Unsupported(DashError):
    """This is not supported here."""

    category, code, exit_code = "unsupported", -32008, 1


class RateLimited(DashError):
    """Too many calls at once."""

    category, code, retryable = "rate_limited", -32009, True


class InternalError(DashError):
    """A fault inside dashd; its log has the details."""

    category, code, retryable = "internal_error", -32010, True


class StoreBroken(InternalError):
    """The database could not be written safely; dashd is stopping so that nothing is lost."""


class Unavailable(DashError):
    """Dash cannot do this right now."""

    category, code, exit_code, retryable = "unavailable", -32011, 69, True


class StoreFull(Unavailable):
    """The disk is full; nothing was changed."""


class StoreClosed(Unavailable):
    """The database is closing."""


class ShuttingDown(Unavailable):
    """dashd is stopping."""


class DaemonUnreachable(Unavailable):
    """No dashd answers at this socket."""


class DeadlinePassed(DashError):
    """A deadline passed before the work was done."""

    category, code, exit_code, retryable = "timeout", -32012, 6, True


class Cancelled(DashError):
    """The request was cancelled."""

    category, code, exit_code, retryable = "timeout", -32800, 130, True


def _tree(root: type[DashError]) -> dict[str, type[DashError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


BY_KIND = _tree(DashError)
"""Class by `data.kind`; a client that meets an unknown kind falls back to DashError."""


def from_wire(error: dict[str, Any]) -> DashError:
    """The DashError that `to_wire` described; unknown kinds (a newer daemon) become plain DashError."""
    data = error.get("data")
    data = data if isinstance(data, dict) else {}
    kind = BY_KIND.get(str(data.get("kind")), DashError)
    return kind(
        str(error.get("message", "")),
        hint=str(data.get("hint", "")),
        path=str(data.get("path", "")),
        data=data.get("details"),
    )
