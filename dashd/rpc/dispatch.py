"""From method name to handler, and the one boundary where an exception becomes an answer.

Every method of the table has exactly one handler, checked when a Dispatch is made. A plain function is run
at once, in the read loop; a coroutine function becomes a `Call` that the connection runs in a task. Whatever
a handler raises, its caller gets one answer and nobody else notices.
"""

import inspect
import logging
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeAlias

import msgspec
import trio

from dashd.service import core as service_core
from dashd.service import feed as service_feed
from dashd.wire import envelope, errors, explain, framing, methods
from dashd.wire.methods import table

from . import door

log = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[Any, service_core.Caller, Any], Any]
"""`(core, caller, params) -> result`, or the same as a coroutine function."""
PeerHandler: TypeAlias = Callable[[Any, Any], Any]
"""`(peer, params) -> result`, or the same as a coroutine function."""
Reply: TypeAlias = Callable[[bytes], None]

_NO_POSITIONS: Final = b"[]"


class Peer(Protocol):
    """Who a call comes from."""

    caller: service_core.Caller


class _Route(msgspec.Struct, frozen=True):
    """What is needed to run one method."""

    params: type[msgspec.Struct]
    decoder: msgspec.json.Decoder[msgspec.Struct]
    handler: Callable[..., Any]
    of_peer: bool
    waits: bool
    changes: bool

    def decode(self, raw: msgspec.Raw) -> msgspec.Struct:
        try:
            return self.decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if bytes(raw).translate(None, b" \t\r") == _NO_POSITIONS:
                return self.decode(envelope.NO_PARAMS)
            raise explain.invalid_params(self.params, error) from error


class Call:
    """One request on its way to its one answer. As a context it turns an exception into that answer.

    A notification is executed like any call, also where it changes state; only its answer is not sent.
    """

    __slots__ = ("_reply", "_scope", "_work", "changes", "id", "method")

    def __init__(self, request: envelope.Request, reply: Reply) -> None:
        self.method = request.method
        self.id = request.id
        self.changes = False
        self._reply = reply
        self._scope: trio.CancelScope | None = None
        self._work: Callable[[], Any] | None = None

    def prepare(self, work: Callable[[], Any], *, changes: bool) -> None:
        """What `run` is going to await. From here on the call can be cancelled, also before it runs."""
        self._work, self.changes = work, changes
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Do the work and answer. Cancelled from outside, it answers that dashd is stopping."""
        assert self._work is not None, "only a prepared call can be run"
        assert self._scope is not None, "prepared together"
        with self:
            if self._scope.cancel_called:
                raise errors.Cancelled
            with self._scope:
                self.answer(await self._work())
            if self._scope.cancelled_caught:
                raise errors.Cancelled

    def cancel(self, reason: str) -> None:
        """Ask a running call to end; it is answered in any case, with its result where that came first."""
        assert self._scope is not None, "only a prepared call can be cancelled"
        self._scope.cancel(reason=reason)

    def answer(self, result: object) -> None:
        """Send the result. Raises where it cannot be encoded or is larger than a frame."""
        if self.id is msgspec.UNSET:
            return
        data = envelope.encode_result(self.id, result)
        if len(data) > framing.FRAME_BYTES_MAX:
            raise errors.FrameTooLarge(
                f"The answer has {len(data):,} bytes, more than a frame may have.",
                hint="Ask for less at once, for example with a smaller `limit`.",
            )
        self._reply(data)

    def refuse(self, error: errors.DashError) -> None:
        """Send an error."""
        if self.id is msgspec.UNSET:
            log.debug("notification %s failed: %s", self.method, error.message)
        else:
            self._reply(envelope.encode_error(self.id, error))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        if error is None:
            return False
        if isinstance(error, Exception):
            self.refuse(self._translate(error))
            return True
        if isinstance(error, BaseExceptionGroup):
            # A handler that failed while it was being cancelled: log the fault, hand on the cancellation.
            cancelled, fault = error.split(trio.Cancelled)
            if cancelled is not None and isinstance(fault, ExceptionGroup):
                self.refuse(self._translate(fault))
                raise cancelled
        if isinstance(error, trio.Cancelled):
            self.refuse(errors.ShuttingDown(hint="Repeat the call when dashd is back."))
        return False

    def _translate(self, error: Exception) -> errors.DashError:
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if isinstance(error, errors.DashError):
            return error
        log.error("%s (id %r) failed", self.method, self.id, exc_info=error)
        return errors.InternalError(hint=f"Look for `{self.method}` in dashd's log and report it.")


class Dispatch:
    """The table, ready to run; one for all connections."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        core: object,
        *,
        feed: service_feed.Feed | None = None,
        version: str = "",
        peer_handlers: Mapping[str, PeerHandler] = door.HANDLERS,
        table: Mapping[str, table.Method] = methods.METHODS,
    ) -> None:
        """Every method of `table` needs its handler here or there; `core` is handed to `handlers`, `feed`
        and `version` are for the peers' own.
        """
        self.feed = feed
        self.version = version
        handled = {*handlers, *(name for name in peer_handlers if not name.startswith("$/"))}
        assert handled == set(table), f"methods and handlers differ: {sorted(handled ^ set(table))}"
        assert not handlers.keys() & peer_handlers.keys(), "a method has two handlers"
        self.core = core
        self._routes = {
            name: _route(table[name].params, handler, changes=table[name].changes)
            for name, handler in handlers.items()
        }
        for name, handler in peer_handlers.items():
            params = table[name].params if name in table else _params_of(handler)
            self._routes[name] = _route(params, handler, of_peer=True)
        self.methods = sorted(table)

    def start(self, peer: Peer, request: envelope.Request, reply: Reply) -> Call | None:
        """Run a method that need not wait to its answer; or give back the call that a task must `run`."""
        call = Call(request, reply)
        with call:
            route = self._routes.get(request.method)
            if route is None:
                raise self._unknown(request.method)
            params = route.decode(request.params)
            given = (peer, params) if route.of_peer else (self.core, peer.caller, params)
            if route.waits:
                call.prepare(partial(route.handler, *given), changes=route.changes)
                return call
            call.answer(route.handler(*given))
        return None

    def _unknown(self, name: str) -> errors.UnknownMethod:
        shown = name if len(name) <= 64 else name[:64] + "…"
        near = explain.did_you_mean(name, self.methods, otherwise="`rpc.discover` lists all methods.")
        return errors.UnknownMethod(f"There is no method `{shown}`.", hint=near)


def _route(
    params: type[msgspec.Struct], handler: Callable[..., Any], *, of_peer: bool = False, changes: bool = False
) -> _Route:
    waits = inspect.iscoroutinefunction(handler)
    return _Route(params, msgspec.json.Decoder(params), handler, of_peer, waits, changes)


def _params_of(handler: Callable[..., Any]) -> type[msgspec.Struct]:
    """The parameters of a `$/` notification, which is not in the table: its handler's second argument."""
    found: type[msgspec.Struct] = list(inspect.get_annotations(handler, eval_str=True).values())[1]
    assert issubclass(found, msgspec.Struct), f"{handler} must say what its parameters are"
    return found
