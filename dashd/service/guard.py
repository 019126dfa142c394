"""What stands before every method: may the caller, and what goes on record.

A method that changes something is handed a store whose writer records who did it, in the transaction of the
change itself; so no function of the service has to remember it, and none can forget. What is refused for want
of a right is recorded too, up to so many a minute.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

import msgspec
import trio

from dashd.store import audit
from dashd.store.opening import Writes
from dashd.store.transaction import Operation, Tx
from dashd.wire import errors, methods
from dashd.wire.methods.table import Params, Result

from . import reach, rights
from .core import Caller, Core
from .redaction import is_id, masked, redacted

log = logging.getLogger(__name__)
T = TypeVar("T")
Handler = Callable[[Core, Caller, Any], Result | Awaitable[Result]]

SUBJECTS: Final = (
    *("agent", "task", "swarm", "budget", "approvals", "gate", "session", "key", "name", "model", "provider"),
    *("project", "checkpoint", "worktree", "merge", "circuit", "escalation", "id"),
)
"""The parameters that say what a call is about, the nearest first."""


class RecordingWriter:
    """The store's writer for one call: what an operation changes is recorded with it, or neither is there."""

    def __init__(self, writer: Writes, caller: Caller, method: str, params: Params) -> None:
        self.broken = writer.broken
        self.recorded = False
        self._writer = writer
        self._caller, self._method, self._params = caller, method, params

    async def apply(self, operation: Operation[T]) -> T:
        """Like the writer's own; a repetition that changed nothing adds no row."""

        def work(tx: Tx) -> T:
            tx.actor = self._caller.who
            result = operation(tx)
            if not getattr(result, "deduplicated", False):
                self.record(tx, result)
            return result

        done = await self._writer.apply(work)
        self.recorded = True
        return done

    def record(self, tx: Tx, result: object) -> None:
        """One row: who, what, on what, and what came of it in a word."""
        made = getattr(result, "id", "")
        data: dict[str, Any] = {"params": redacted(self._params), **_origin(self._caller)}
        for name in ("state", "changed", "approval"):
            if isinstance(value := getattr(result, name, None), str | bool) and value != "":
                data[name] = value
        about = subject(self._params) or (made if isinstance(made, str) else "")
        if isinstance(made, str) and made not in ("", about):
            data["made"] = made
        audit.append(tx, self._caller.who, self._method, about, data)


def guarded(method: str, handler: Handler) -> Handler:
    """The handler, for those who may call it, and on record where it changes something."""
    if not inspect.iscoroutinefunction(handler):
        waits = methods.METHODS[method].changes or reach.NAMED[method]
        assert not waits, f"{method} changes something or names a swarm, so it must be able to wait"

        def at_once(core: Core, caller: Caller, params: Any) -> Any:  # noqa: ANN401
            _check(core, caller, method, params)
            return handler(core, caller, params)

        return at_once

    async def run(core: Core, caller: Caller, params: Any) -> Any:  # noqa: ANN401
        try:
            _check(core, caller, method, params)
            await reach.check_named(core, caller, method, params)
            if methods.METHODS[method].changes:
                return await _recorded(core, caller, method, params, handler)
            answer = await handler(core, caller, params)
            require_standing(
                core, caller
            )  # a call that waited may have waited for longer than its key lasted
            return answer
        except (errors.Forbidden, errors.Unauthorized) as error:
            refusal = error
        await refused(core, caller, method, subject(params), refusal.message)
        raise refusal

    return run


async def refused(core: Core, caller: Caller, action: str, about: str, why: str) -> None:
    """Puts a refusal on record; a disk that is full does not change the answer."""
    more = core.refusals.admit(trio.current_time())
    if more is None:
        return
    data = {"refused": masked(why), **_origin(caller), **more}
    try:
        await core.store.writer.apply(lambda tx: audit.append(tx, caller.who, action, about, data))
    except (errors.Unavailable, errors.StoreBroken) as error:
        log.warning("not recorded: %s refused %s: %s", action, caller.who, error.message)


def subject(params: Params) -> str:
    """What a call is about."""
    for name in SUBJECTS:
        value = getattr(params, name, msgspec.UNSET)
        if isinstance(value, str) and value and (name != "task" or is_id(value)):
            return masked(value)
        if name == "approvals" and isinstance(value, list):
            return masked(" ".join(map(str, value)))
    return ""


def require_standing(core: Core, caller: Caller) -> None:
    """Raises Unauthorized where the key that the caller has shown opens nothing any more."""
    if caller.key and not core.keys.stands(caller.proof):
        raise errors.Unauthorized(
            "This key was revoked or has expired.", hint="connect again with another one"
        )


def _check(core: Core, caller: Caller, method: str, params: Params) -> None:
    require_standing(core, caller)
    rights.check(caller, method, params)


async def _recorded(core: Core, caller: Caller, method: str, params: Params, handler: Handler) -> object:
    writer = RecordingWriter(core.store.writer, caller, method, params)
    result = await handler(replace(core, store=core.store.with_writer(writer)), caller, params)  # type: ignore[misc]
    if not writer.recorded and not getattr(result, "deduplicated", False):
        # It changed something else than rows (daemon.stop), and that has happened whatever the disk says.
        try:
            await core.store.writer.apply(lambda tx: writer.record(tx, result))
        except (errors.Unavailable, errors.StoreBroken) as error:
            log.warning("not recorded: %s by %s: %s", method, caller.who, error.message)
    return result


def _origin(caller: Caller) -> dict[str, Any]:
    return {"uid": caller.uid, **({"client": masked(caller.client)} if caller.client else {})}
