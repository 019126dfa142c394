"""The agents' door: HTTP/1.1 over one listener, h11 on trio streams.

A connection is a loop: head, checks, body, answer. The checks are made before the body is read, and a
caller who asks to (`expect: 100-continue`) hears of a refusal before it is sent. Each head and each body
has one deadline, not one per read; connections are bounded, and wait in the backlog beyond that (see
`crowd`). While a call is answered the connection is read on, so that a hang-up is noticed at once. The same
listener is the way out: CONNECT, with the key as the proxy's user info, becomes a tunnel. Knows nothing of
money, that is the exchange's, nor of what a tunnel may reach.
"""

import base64
import binascii
import errno
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus

import h11
import msgspec
import trio

from dashd.wire import errors

from . import asks, formats, tunnel
from .caller import Caller, Gone, Refused
from .crowd import Crowd
from .door import Door
from .exchange import Exchange
from .formats.body import BODY_BYTES_MAX
from .formats.format import Format, FormatName

HEAD_BYTES_MAX = 64 * 1024
HEAD_S = 20.0
BODY_S = 120.0
IDLE_S = 120.0
"""How long a connection is kept between two calls."""
SEND_S = 60.0
"""How long a caller may take to accept some of an answer; then it counts as gone."""
LINGER_S = 2.0
READ_AHEAD_BYTES_MAX = 64 * 1024
CHUNK_BYTES = 64 * 1024
NO_FILES_S = 0.2
MODELS = ("/models", "/v1/models")
SHAPE: FormatName = "openai-chat"
"""Of refusals on paths that no format serves."""

TUNNEL_ONLY = (
    "this key opens the hosts of --hosts by CONNECT and calls no model, as its agent's driver calls none. "
    "Create the swarm with --driver embedded, or give the command a key of its own: dashctl key create"
)

_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://")
_STATUSES = frozenset(HTTPStatus)
_NO_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_log = logging.getLogger(__name__)


async def serve(
    listener: socket.socket,
    door: Door,
    exchange: Exchange,
    *,
    tunnels: tunnel.Tunnels | None = None,
    crowd: Crowd | None = None,
    task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves one bound and listening socket, which it owns, until cancelled.

    `task_status` gets the scope of accepting: cancelling that closes the listener, lets the calls under way
    end and then returns. Cancelled as a whole, calls under way are settled conservatively.
    Without `tunnels` nothing gets out, whatever hosts its callers have. `crowd` is for a listener that
    several agents share.
    """
    crowd = crowd or Crowd()
    async with trio.open_nursery() as connections:
        doors = trio.CancelScope()
        with doors, trio.socket.from_stdlib_socket(listener) as accepting:
            task_status.started(doors)
            while True:
                place = object()
                await crowd.connections.acquire_on_behalf_of(place)
                stream = await _accept(accepting)
                connections.start_soon(_serve_stream, stream, place, door, exchange, tunnels, crowd, doors)


async def _accept(accepting: trio.socket.SocketType) -> trio.SocketStream:
    while True:
        try:
            accepted, _ = await accepting.accept()
            return trio.SocketStream(accepted)
        except OSError as error:
            if error.errno in (errno.EBADF, errno.EINVAL, errno.ENOTSOCK):
                raise
            scarce = error.errno in _NO_FILES
        if scarce:
            await trio.sleep(NO_FILES_S)  # Others must close something first.


async def _serve_stream(
    stream: trio.SocketStream,
    place: object,
    door: Door,
    exchange: Exchange,
    tunnels: tunnel.Tunnels | None,
    crowd: Crowd,
    doors: trio.CancelScope,
) -> None:
    try:
        await _Connection(stream, door, exchange, tunnels, crowd, doors).serve()
    except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError, Gone):
        pass
    except errors.DashError as error:
        _log.error("a model call was given up: %s: %s", type(error).__name__, error.message)
    finally:
        await trio.aclose_forcefully(stream)
        crowd.connections.release_on_behalf_of(place)


class _Connection:
    """One caller's connection."""

    def __init__(
        self,
        stream: trio.SocketStream,
        door: Door,
        exchange: Exchange,
        tunnels: tunnel.Tunnels | None,
        crowd: Crowd,
        doors: trio.CancelScope,
    ) -> None:
        self._stream = stream
        self._door = door
        self._exchange = exchange
        self._tunnels = tunnels
        self._crowd = crowd
        self._doors = doors
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)

    async def serve(self) -> None:
        """Answers one request after the other."""
        while True:
            try:
                with trio.fail_after(IDLE_S):
                    if not await self._anything():
                        return
                with trio.fail_after(HEAD_S):
                    head = await self._event()
            except trio.TooSlowError:
                return
            except h11.RemoteProtocolError as error:
                await self._say_malformed(error)
                return
            if not isinstance(head, h11.Request):
                return
            await self._answer(head)
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            if self._doors.cancel_called:
                return
            self._http.start_next_cycle()

    async def _answer(self, head: h11.Request) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        path = head.target.decode("latin-1").partition("?")[0]
        form = formats.by_path(path)
        reply = _Reply(self._stream, self._http, bare=head.method == b"HEAD")
        try:
            if head.method == b"CONNECT" or _ABSOLUTE.match(head.target):
                await self._pass_on(head, headers)
                return
            caller = self._caller(headers)
            if path.endswith(MODELS):
                await self._list_models(head.method, reply)
            elif path == asks.PATH and caller.desk is not None:
                body = await self._checked_body(head.method, headers, asks.BODY_BYTES_MAX)
                await self._watched(partial(caller.desk.serve, body, reply), reply)
            elif form is None:
                raise Refused(404, "unknown_path", f"{path[:200]} is no path here; {_paths(caller)} are")
            else:
                with self._crowd.one(caller.payer):
                    body = await self._checked_body(head.method, headers, BODY_BYTES_MAX)
                    answer = partial(self._exchange.answer, form, caller, body, headers, reply)
                    await self._watched(answer, reply)
        except Refused as refused:
            await self._refuse(refused, form, reply)
        except trio.TooSlowError:
            await self._refuse(Refused(408, "slow_body", f"no body within {BODY_S:g} s"), form, reply)
        if reply.started:
            await reply.finish()
        if self._http.their_state is h11.SEND_BODY:
            await self._linger()

    async def _linger(self) -> None:
        """Reads on for a moment after a refusal: closing at once would destroy it on its way to the
        caller.
        """
        with trio.move_on_after(LINGER_S):
            await self._stream.send_eof()
            left = BODY_BYTES_MAX
            while left > 0 and (data := await self._stream.receive_some(CHUNK_BYTES)):
                left -= len(data)

    def _caller(self, headers: Mapping[str, str]) -> Caller:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        key = bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        caller = self._door.find(key)
        if caller is None and (status := self._door.resting(key)) is not None:
            raise Refused(status, "not_admitted", "no task of this agent's is under way")
        if caller is None:
            raise Refused(401, "not_admitted", "this key opens nothing here; it may have ended")
        if not caller.calls:
            raise Refused(403, "tunnel_only", TUNNEL_ONLY)
        return caller

    async def _pass_on(self, head: h11.Request, headers: Mapping[str, str]) -> None:
        """Makes the connection a tunnel, until it ends."""
        if head.method == b"CONNECT":
            if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
                raise tunnel.NotPassed(400, "body", "CONNECT has no body")
            await self._event()  # its end, so that the connection can be used again after a refusal
        caller = self._door.find(_proxy_key(headers))
        if caller is None:
            realm = 'Basic realm="dash"'
            raise tunnel.NotPassed(
                407, "not_admitted", "this key opens nothing here", proxy_authenticate=realm
            )
        if head.method != b"CONNECT":
            raise tunnel.plain_http()
        if self._tunnels is None:
            raise tunnel.NotPassed(403, "no_way_out", "no host is reached from here, but models are")
        async with self._tunnels.open(caller, head.target.decode("latin-1")) as opened:
            says = h11.Response(status_code=200, headers=[], reason="Connection established")
            greeting = self._http.send(says) or b""
            early, _ = self._http.trailing_data
            await opened.relay(self._stream, greeting=greeting, early=early)

    async def _watched(self, answer: Callable[[], Awaitable[None]], reply: "_Reply") -> None:
        """Lets somebody answer while the connection is read on, to notice a hang-up."""
        fault: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_on, reply)
            try:
                await answer()
            except (errors.DashError, Gone, Refused) as error:
                fault = error  # Carried out by hand: the nursery would wrap it in a group.
            nursery.cancel_scope.cancel(reason="answered")
        if fault is not None:
            raise fault

    async def _read_on(self, reply: "_Reply") -> None:
        ahead = 0
        while ahead < READ_AHEAD_BYTES_MAX:
            try:
                data = await self._stream.receive_some(CHUNK_BYTES)
            except trio.BrokenResourceError:
                data = b""
            self._http.receive_data(data)
            if not data:
                reply.leave()
                return
            ahead += len(data)

    async def _checked_body(self, method: bytes, headers: Mapping[str, str], bytes_max: int) -> bytes:
        _check(method, headers, bytes_max)
        with trio.fail_after(BODY_S):
            return await self._body(bytes_max)

    async def _body(self, bytes_max: int) -> bytes:
        body = bytearray()
        while True:
            event = await self._event()
            if isinstance(event, h11.EndOfMessage):
                return bytes(body)
            if not isinstance(event, h11.Data):
                raise Gone
            body += event.data
            if len(body) > bytes_max:
                raise Refused(413, "too_large", f"at most {bytes_max} bytes pass")

    async def _anything(self) -> bool:
        """Waits for the first bytes of a request; False where the caller has closed."""
        ahead, closed = self._http.trailing_data
        if ahead or closed:
            return bool(ahead)
        data = await self._stream.receive_some(CHUNK_BYTES)
        self._http.receive_data(data)
        return bool(data)

    async def _event(self) -> h11.Event | type[h11.PAUSED] | type[h11.NEED_DATA]:
        while True:
            if self._http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                await self._stream.send_all(self._http.send(go_on) or b"")
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self._http.receive_data(await self._stream.receive_some(CHUNK_BYTES))

    async def _refuse(self, refused: Refused, form: Format | None, reply: "_Reply") -> None:
        """Says no without having read the body; then the connection ends, unless there was none to read."""
        shape = form or formats.FORMATS[SHAPE]
        # Who asks for the way out is a tool like git, whatever program the agent is.
        style = "outside" if isinstance(refused, tunnel.NotPassed) else self._door.style
        status, body = shape.refusal(refused.status, refused.kind, str(refused), style=style)
        reply.reason = refused.reason
        headers = {"content-type": "application/json", **refused.headers}
        if self._http.their_state is h11.SEND_BODY:
            headers["connection"] = "close"
        await reply.start(status, headers, length=len(body))
        await reply.send(body)

    async def _say_malformed(self, error: h11.RemoteProtocolError) -> None:
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        reply = _Reply(self._stream, self._http, bare=False)
        body = msgspec.json.encode({"error": {"type": "invalid_request_error", "message": f"dash: {error}"}})
        headers = {"content-type": "application/json", "connection": "close"}
        await reply.start(error.error_status_hint, headers, length=len(body))
        await reply.send(body)
        await reply.finish()

    async def _list_models(self, method: bytes, reply: "_Reply") -> None:
        if method not in (b"GET", b"HEAD"):
            raise Refused(405, "method", "the list of models is read with GET", allow="GET, HEAD")
        body = msgspec.json.encode(_models(self._exchange.registry.known()))
        with trio.fail_after(BODY_S):
            await self._body(BODY_BYTES_MAX)
        await reply.start(200, {"content-type": "application/json"}, length=len(body))
        await reply.send(body)


class _Reply:
    """See caller.Reply."""

    def __init__(self, stream: trio.SocketStream, http: h11.Connection, *, bare: bool) -> None:
        self.started = False
        self.reason = ""
        """Instead of the status's own phrase."""
        self._stream = stream
        self._http = http
        self._bare = bare
        self._gone = False
        self._head = b""
        """Leaves together with the first of the body: a packet less."""
        self._left: Callable[[], None] | None = None

    def watch(self, left: Callable[[], None]) -> None:
        self._left = left
        if self._gone:
            left()

    def leave(self) -> None:
        """The caller has closed its side."""
        if not self._gone:
            self._gone = True
            if self._left is not None:
                self._left()

    async def start(self, status: int, headers: Mapping[str, str], *, length: int | None) -> None:
        fields = [(name, value) for name, value in headers.items() if name != "content-length"]
        if length is not None:
            fields.append(("content-length", str(length)))
        else:
            fields.append(("cache-control", "no-store"))
        self.started = True
        reason = self.reason or (HTTPStatus(status).phrase if status in _STATUSES else "")
        if self._gone:
            raise Gone
        response = h11.Response(status_code=status, headers=fields, reason=reason)
        self._head = self._http.send(response) or b""

    async def send(self, data: bytes) -> None:
        if self._bare:
            return
        head, self._head = self._head, b""
        await self._write(head + (self._http.send(h11.Data(data=data)) or b""))

    async def finish(self) -> None:
        """Ends the answer; the connection may be used again afterwards."""
        if not self._gone:
            await self._write(self._head + (self._http.send(h11.EndOfMessage()) or b""))

    async def _write(self, data: bytes) -> None:
        if self._gone:
            raise Gone
        if not data:
            return
        try:
            with trio.fail_after(SEND_S):
                await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as error:
            self._gone = True
            raise Gone from error


def _proxy_key(headers: Mapping[str, str]) -> str:
    """The key in `proxy-authorization`: a bearer's, or of user:password the one or, if there is one, the
    other.
    """
    scheme, _, shown = headers.get("proxy-authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return shown.strip()
    try:
        user, _, password = base64.b64decode(shown, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return ""
    return password or user


def _check(method: bytes, headers: Mapping[str, str], bytes_max: int) -> None:
    """What can be refused before the body is read."""
    if method != b"POST":
        raise Refused(405, "method", "a call is made with POST", allow="POST")
    if "content-length" not in headers and "transfer-encoding" not in headers:
        raise Refused(411, "length", "the body needs a content-length, or chunks")
    length = headers.get("content-length", "")
    if length.isdigit() and (len(length) > 12 or int(length) > bytes_max):
        raise Refused(413, "too_large", f"at most {bytes_max} bytes pass")
    kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" or headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "media_type", "send application/json, not compressed")


def _paths(caller: Caller) -> str:
    known = [*(form.paths[0] for form in formats.FORMATS.values()), "/v1/models"]
    return ", ".join([*known, asks.PATH] if caller.desk is not None else known)


def _models(names: list[str]) -> dict[str, object]:
    """The list as both families of clients read it."""
    data = [
        {
            "id": name,
            "object": "model",
            "type": "model",
            "display_name": name,
            "created": 0,
            "created_at": "1970-01-01T00:00:00Z",
            "owned_by": "dash",
        }
        for name in names
    ]
    first, last = (names[0], names[-1]) if names else (None, None)
    return {"object": "list", "data": data, "has_more": False, "first_id": first, "last_id": last}
