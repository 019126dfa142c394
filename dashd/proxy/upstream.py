"""Sends one try of a call to a provider and brings the answer back, byte for byte as it comes.

`Upstream` is the contract; `HttpUpstream` keeps it with httpx2 on trio (HTTP/1.1, a pool, no redirects,
nothing taken from the environment), the offline stand-in and the tests keep it in their own way. It decides
nothing about money, and has no deadlines of its own: the caller has them. Whether a byte may have left is
always known.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import trio

from dashd import threads
from dashd.wire import errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2

CONNECTIONS_MAX = 256
KEEPALIVE_S = 20.0
CLOSE_S_MAX = 2.0
"""How long saying goodbye to a provider may take; afterwards the connection is dropped."""


class UpstreamBroken(errors.Unavailable):
    """The provider could not be reached, or its answer broke off."""


@dataclass(slots=True)
class Request:
    """One try."""

    provider: str
    format: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    stream: bool
    method: str = "POST"
    sent: bool = False
    """A byte of it may have left; set before the first one does."""


class Answer(Protocol):
    """A provider's answer; whoever got it closes it."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""

    async def receive(self) -> bytes:
        """Some more of the body, never empty before its end, then b"" for ever. Raises UpstreamBroken."""

    async def aclose(self) -> None:
        """Gives the connection back, or drops it where the body was not read to its end."""


class Upstream(Protocol):
    """The way to a provider."""

    async def send(self, request: Request) -> Answer:
        """Sends a try and waits for the head of its answer. Raises UpstreamBroken; cancelled, it cleans
        up.
        """


class HttpUpstream:
    """Real providers, over HTTP."""

    def __init__(self) -> None:
        self._loading = trio.Lock()
        self._transports: dict[str, httpx2.AsyncHTTPTransport] = {}

    async def send(self, request: Request) -> Answer:
        """See Upstream. The first call loads httpx2 in a thread, and the first to https the certificates."""
        try:
            transport = await self._transport(request.url.partition(":")[0])
        except OSError as error:  # no descriptor is left, or its certificates are not there any more
            raise _broken(error, request) from error
        import httpx2

        async def note(name: str, info: Mapping[str, object]) -> None:
            if name == "http11.send_request_headers.started":
                request.sent = True

        try:
            # The transport and not a client: no cookies, no redirects, no environment, and half the time.
            outgoing = httpx2.Request(
                request.method,
                request.url,
                headers=dict(request.headers),
                content=request.body,
                extensions={"trace": note},
            )
            with threads.scarce():  # a name is looked up in one
                response = await transport.handle_async_request(outgoing)
        except (httpx2.TransportError, httpx2.InvalidURL, threads.NoThread) as error:
            raise _broken(error, request) from error
        return _HttpAnswer(response, request)

    async def aclose(self) -> None:
        """Drops all connections."""
        for transport in self._transports.values():
            await transport.aclose()
        self._transports.clear()

    async def _transport(self, scheme: str) -> "httpx2.AsyncHTTPTransport":
        if scheme not in self._transports:
            async with self._loading:
                if scheme not in self._transports:
                    self._transports[scheme] = await threads.run(_open, scheme == "https")
        return self._transports[scheme]


class _HttpAnswer:
    def __init__(self, response: "httpx2.Response", request: Request) -> None:
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = {k.lower(): v for k, v in response.headers.items()}
        self._stream = cast("httpx2.AsyncByteStream", response.stream)
        self._request = request
        self._chunks = cast("AsyncGenerator[bytes, None]", aiter(self._stream))

    async def receive(self) -> bytes:
        import httpx2

        try:
            while (chunk := await anext(self._chunks, None)) is not None:
                if chunk:
                    return chunk
        except httpx2.TransportError as error:
            raise _broken(error, self._request) from error
        return b""

    async def aclose(self) -> None:
        # Bounded: a provider that does not close its TLS in time is dropped.
        import httpx2

        with trio.move_on_after(CLOSE_S_MAX, shield=True):
            await self._stream.aclose()
            # Closing the generators would leave httpx2's inner one open; on a closed connection they end.
            with contextlib.suppress(httpx2.TransportError):
                while await anext(self._chunks, None) is not None:
                    pass


def _open(secure: bool) -> "httpx2.AsyncHTTPTransport":
    # Loaded here, so that nothing does it at a start: it costs 0.3 s and several megabytes.
    import httpx2

    limits = httpx2.Limits(
        max_connections=CONNECTIONS_MAX,
        max_keepalive_connections=CONNECTIONS_MAX,
        keepalive_expiry=KEEPALIVE_S,
    )
    return httpx2.AsyncHTTPTransport(verify=secure, trust_env=False, limits=limits)


def _broken(error: Exception, request: Request) -> UpstreamBroken:
    what = type(error).__name__
    verb = "answering" if request.sent else "connecting"
    return UpstreamBroken(f"provider {request.provider}, {verb}: {what} {error}".rstrip())
