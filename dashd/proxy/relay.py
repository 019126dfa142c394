"""One try of a call that holds its worst case: send it, meter every byte of the answer, pass it on.

Nothing is passed on before the first event is whole and no error, so until then another try can take its
place. An answer that is not streamed is collected and handed back. The settlement is always known, however
the try ended; who started the try writes it down.
"""

from collections.abc import Awaitable, Callable, Mapping

import msgspec
import trio

from dashd.domain import redaction
from dashd.store.holds import Settlement

from .caller import Patience
from .ledger import Held
from .meter import Meter
from .registry import Candidate
from .route import Failure, judge, judge_in_band
from .upstream import Answer, Request, Upstream, UpstreamBroken

ANSWER_BYTES_MAX = 32 * 1024 * 1024
"""Of an answer that is not streamed."""
ERROR_BYTES_MAX = 64 * 1024
FIRST_BYTES_MAX = 64 * 1024
"""How much of a stream is kept back until its first event is whole."""
_EVENT_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")
PASSED_ON = ("content-type", "request-id", "x-request-id")


class Whole(msgspec.Struct, frozen=True):
    """An answer in one piece."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outcome(msgspec.Struct, frozen=True):
    """How a try ended; without either the answer was streamed to its end."""

    failure: Failure | None = None
    whole: Whole | None = None
    """What is passed on: the answer, or the provider's own words about a failure."""


class Try:
    """One try."""

    def __init__(
        self, candidate: Candidate, held: Held, request: Request, meter: Meter, patience: Patience
    ) -> None:
        self.candidate = candidate
        self.held = held
        self.request = request
        self.meter = meter
        self.first_byte_at: float | None = None
        """When the answer, not an error, began."""
        self._patience = patience
        self._status: int | None = None
        self._complete = False
        self._scope = trio.CancelScope()
        """Of all stages: its deadline moves on, which costs less than a scope for each piece of a stream."""
        self._until = float("inf")

    @property
    def settlement(self) -> Settlement:
        """What it costs if it ends now."""
        return self.meter.settlement(
            status=self._status,
            sent=self.request.sent,
            complete=self._complete,
            too_long_billed=self.candidate.provider.bills_too_long,
        )

    async def run(
        self,
        upstream: Upstream,
        begin: Callable[[int, Mapping[str, str]], Awaitable[None]],
        forward: Callable[[bytes], Awaitable[None]],
        answers: Callable[[], None],
    ) -> Outcome:
        """Makes the try; `answers` is called when the answer begins, then `begin` and `forward` where it is
        streamed. Deadlines and faults become a failure; cancelled, the connection is dropped.
        """
        answer: Answer | None = None
        try:
            with trio.fail_after(self._patience.total_s) as self._scope:
                self._until = self._scope.deadline
                self._wait(self._first_s)
                answer = await upstream.send(self.request)
                self._status = answer.status
                if answer.status != 200:
                    return await self._refused(answer)
                if self.request.stream:
                    return await self._stream(answer, begin, forward, answers)
                return await self._collect(answer, answers)
        except trio.TooSlowError:
            # Who takes a call and says nothing has one slow model, as far as anybody knows.
            return Outcome(Failure("retry", self._slowness(), waited=True, reached=self.request.sent))
        except UpstreamBroken as broken:
            return Outcome(Failure("retry", broken.message, reached=self._status is not None))
        finally:
            if answer is not None:
                with trio.CancelScope(shield=True):  # it has a bound of its own
                    await answer.aclose()

    def _wait(self, seconds: float | None) -> None:
        """What comes next has so much time, None what is left of the try's own, which always bounds it."""
        at = self._until if seconds is None else trio.current_time() + seconds
        self._scope.deadline = min(self._until, at)

    @property
    def _first_s(self) -> float:
        return self._patience.first_byte_s if self.request.stream else self._patience.whole_s

    async def _stream(
        self,
        answer: Answer,
        begin: Callable[[int, Mapping[str, str]], Awaitable[None]],
        forward: Callable[[bytes], Awaitable[None]],
        answers: Callable[[], None],
    ) -> Outcome:
        first = bytearray()
        self._wait(self._first_s)
        while len(first) < FIRST_BYTES_MAX:
            chunk = await answer.receive()
            self.meter.feed(chunk)
            first += chunk
            if not chunk or any(end in first.lstrip() for end in _EVENT_ENDS):
                break
        self._wait(None)
        if self.meter.error:
            return Outcome(judge_in_band(self.meter.error))
        if not first.strip():
            return Outcome(Failure("retry", "the answer was empty"))
        self._begun(answers)
        await begin(answer.status, _passed_on(answer.headers))
        chunk = bytes(first)
        while chunk:
            await forward(chunk)
            self._wait(self._patience.idle_s)
            chunk = await answer.receive()
            self._wait(None)
            self.meter.feed(chunk)
        self._complete = True
        return Outcome()

    async def _collect(self, answer: Answer, answers: Callable[[], None]) -> Outcome:
        body = bytearray()
        self._wait(self._first_s)
        while chunk := await answer.receive():
            self.meter.feed(chunk)
            body += chunk
            if len(body) > ANSWER_BYTES_MAX:
                return Outcome(Failure("next", f"the answer is larger than {ANSWER_BYTES_MAX} bytes"))
        self._complete = True
        if self.meter.error:
            return Outcome(judge_in_band(self.meter.error))
        self._begun(answers)
        return Outcome(whole=Whole(answer.status, _passed_on(answer.headers), bytes(body)))

    async def _refused(self, answer: Answer) -> Outcome:
        body = bytearray()
        self._wait(None)
        with trio.move_on_after(min(self._patience.idle_s, self._first_s)):
            while len(body) < ERROR_BYTES_MAX and (chunk := await answer.receive()):
                self.meter.feed(chunk)
                body += chunk
        if answer.status < 400:
            return Outcome(Failure("next", f"HTTP {answer.status} is no answer", answer.status))
        said = without_secret(bytes(body), self.candidate.provider.secret)
        failure = judge(answer.status, answer.headers, said)
        # A 403 is the account's to every agent's program, and the account is well.
        status = (
            {"denied": 404, "final": 400}.get(failure.what, 403) if answer.status == 403 else answer.status
        )
        return Outcome(failure, Whole(status, _passed_on(answer.headers), said))

    def _begun(self, answers: Callable[[], None]) -> None:
        self.first_byte_at = trio.current_time()
        answers()

    def _slowness(self) -> str:
        if self._status is None:
            return f"no answer within {self._first_s:g} s"
        return f"the answer stalled for {self._patience.idle_s:g} s, or took too long"


def without_secret(said: bytes, secret: str | None) -> bytes:
    """A provider's words without the key, which some repeat in full where they refuse it."""
    if not secret:
        return said
    text = said.decode("utf-8", "surrogateescape")
    return redaction.without(text, [secret], "***").encode("utf-8", "surrogateescape")


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """What a header of ours can carry: a provider's may hold other letters."""
    found = {name: headers[name] for name in PASSED_ON if name in headers}
    return {name: value for name, value in found.items() if value.isascii() and value.isprintable()}
