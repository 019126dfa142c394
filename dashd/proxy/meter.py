"""Turns what a provider answers into a settlement: exact where its usage says so, the full hold where
unsure.

The rule: never below what the provider can have billed, never above the hold unless the usage itself says
so. A format's reader says what one event or body means; `Tally` keeps what was said, and doubts what
contradicts itself; `Meter` takes raw bytes as they pass. Nothing here blocks, raises on bad input, or grows
without bound.
"""

import re
from collections.abc import Mapping
from typing import Any, Protocol

from dashd.domain import prices, surrogates
from dashd.domain.prices import Price, Usage
from dashd.proxy.sse import EventCutter
from dashd.store.holds import Settlement

COUNT_MAX = 1_000_000_000
"""No call has more tokens than this; a figure above it is a lie or a fault."""
BODY_BYTES_MAX = 8 * 1024 * 1024
_PARSES_MAX = 16
"""How often a body that is still arriving is tried, so that many small chunks cost no quadratic time."""

NOT_BILLED = frozenset(
    {
        400,
        401,
        402,
        403,
        404,
        405,
        406,
        410,
        411,
        413,
        414,
        415,
        416,
        417,
        421,
        422,
        424,
        426,
        428,
        429,
        431,
        451,
    }
)
"""Statuses of calls that no model worked on. 408, 409, 499 and 5xx are not among them: it may have."""
OVERLOADED = frozenset({503, 529})
"""Nor of these, if the provider's own words are that it had no room for the call. A gateway says 503 of a
model that did not answer in time, too; and 500, 502 and 504 tell nothing of what was done before.
"""
_NO_ROOM = re.compile(
    r"overload|slow.?down|(?:no|at|over|out of|insufficient|not enough|lack of)[ _]capacity", re.IGNORECASE
)
# Azure bills a 400 for which its service has read the prompt: one that its filter refuses or that is longer
# than the model can take. Azure's documentation, "HTTP Error response code and billing status".
_FILTERED = re.compile(r"content.?filter|content.?management|responsible.?ai", re.IGNORECASE)
_TOO_LONG = re.compile(r"context.?length|maximum context|too.?long|too many (?:input )?tokens", re.IGNORECASE)
SAID_MAX = 300


class Incredible(ValueError):
    """A usage figure that no honest response has; the reader raises it, the meter charges the full hold."""


def count(said: Mapping[str, Any], *names: str) -> int | None:
    """The first of these figures that is given; None where none is. Raises Incredible."""
    for name in names:
        value = said.get(name)
        if value is None:
            continue
        if type(value) is not int or not 0 <= value <= COUNT_MAX:
            raise Incredible(f"{name} is no number of tokens")
        return value
    return None


def mapping(value: object) -> Mapping[str, Any]:
    """`value` where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def input_total(usage: Usage) -> int:
    """Input tokens of every class."""
    return usage.input + usage.cache_read + usage.cache_write


class Tally:
    """What a response has said about itself so far."""

    def __init__(self, price: Price) -> None:
        self.price = price
        self.usage: Usage | None = None
        self.start: Usage | None = None
        """The input, where a format states it before the output is known."""
        self.final = False
        """`usage` is the provider's last word."""
        self.doubtful = False
        """The response contradicted itself, or used something that has no price here."""
        self.output_seen = False
        self.error: str | None = None
        """The type of an error that the provider put into its answer."""
        self.words = ""
        """All that it says of it, the beginning."""

    def say(self, usage: Usage, *, final: bool) -> None:
        """Takes a statement of usage. Repeated ones are totals: the larger counts, and none may shrink."""
        if not input_total(usage):
            return  # A placeholder: no call has an empty input.
        if self.usage is not None:
            if not (_covers(usage, self.usage) or _covers(self.usage, usage)):
                self.doubtful = True
            usage = max(self.usage, usage, key=self.cost)
        self.usage = usage
        self.final = self.final or final

    def see_output(self) -> None:
        """Takes note of output; a usage before it was not the last word."""
        self.output_seen = True
        self.final = False

    def fail(self, error: object) -> None:
        """Takes an error object."""
        said = mapping(error)
        kinds = (said.get("type"), said.get("code"), said.get("message"), error)
        named = next((kind for kind in kinds if kind and isinstance(kind, str)), "error")
        self.error = self.error or named[:80]
        self.words = self.words or " ".join(kind for kind in kinds if isinstance(kind, str))[:SAID_MAX]

    def cost(self, usage: Usage) -> int:
        """What this usage costs."""
        return prices.cost(usage, self.price)


def _covers(one: Usage, other: Usage) -> bool:
    return input_total(one) >= input_total(other) and one.output >= other.output


class Reader(Protocol):
    """What one format's responses mean. Any method may raise Incredible, and nothing else."""

    def event(self, event: Mapping[str, Any], tally: Tally) -> None:
        """One event of a stream."""

    def end(self, tally: Tally) -> None:
        """The stream's end mark (`[DONE]`), where the format has one."""

    def body(self, body: Mapping[str, Any], tally: Tally) -> None:
        """A whole answer."""


class Meter:
    """One try of one call. Feed it every byte of the answer's body, then ask for the settlement."""

    def __init__(
        self,
        reader: Reader,
        price: Price,
        held_nusd: int,
        output_tokens: int,
        held_tokens: int | None = None,
    ) -> None:
        """`output_tokens` is the cap that went out; `held_tokens` what is charged in tokens when unsure
        (without it, the tokens that the held money stands for).
        """
        self._reader = reader
        self._tally = Tally(price)
        self._held_nusd = held_nusd
        self._output_tokens = output_tokens
        self._held_tokens = held_tokens
        self._events: EventCutter | None = None
        self._body: bytearray | None = None
        self._parses = 0
        self._lost = False

    @property
    def finished(self) -> bool:
        """Whether the final usage was seen and is believed: what follows cannot change the settlement."""
        return self._tally.final and not self._doubtful

    @property
    def first_output(self) -> bool:
        """Whether the model has said anything yet (text, thinking or a tool call)."""
        return self._tally.output_seen

    @property
    def error(self) -> str | None:
        """The type of an error inside the answer, whatever its status was."""
        return self._tally.error

    @property
    def between_events(self) -> bool:
        """Whether an event may be put behind the bytes fed so far (see `refusals.in_band`)."""
        return self._events is None or self._events.between_events

    def feed(self, chunk: bytes) -> None:
        """Looks at bytes as they pass."""
        if self._events is None and self._body is None:
            chunk = chunk.lstrip(b" \t\r\n")  # Some providers keep a connection alive with blank lines.
            if not chunk:
                return
            # No line of an event stream begins with a brace.
            if chunk.startswith((b"{", b"[")):
                self._body = bytearray()
            else:
                self._events = EventCutter()
        if self._events is not None:
            for data in self._events.feed(chunk):
                self._event(data)
        elif self._body is not None:
            self._feed_body(self._body, chunk)

    def settlement(
        self, *, status: int | None, sent: bool, complete: bool, too_long_billed: bool = False
    ) -> Settlement:
        """What this try is charged.

        `sent`: a byte of the request may have left. `status`: of the answer, None where none came.
        `complete`: the answer's body ended as it should. It changes no figure: a final usage counts without
        it, and an answer without one is charged in full even with it. `too_long_billed`: the provider bills
        what it refuses because it is too long.
        """
        if not sent:
            return Settlement(0, 0, "unsent", 0, 0)
        if self._body and not self._tally.final:
            self._parse_body(self._body)
        tally = self._tally
        silent = not (tally.usage or tally.start or tally.output_seen or self._doubtful)
        if silent and self._unbilled(status, too_long_billed=too_long_billed):
            return Settlement(0, 0, "rejected", 0, 0)
        served = status is not None and status < 500
        if served and tally.final and tally.usage and not self._doubtful:
            return self._charged(tally.usage, "usage")
        if served and tally.start and not tally.final and not self._doubtful:
            most = _with_output(tally.start, max(self._output_tokens, tally.start.output))
            if tally.cost(most) <= self._held_nusd:
                return self._charged(most, "partial")
        return self._worst()

    def _unbilled(self, status: int | None, *, too_long_billed: bool) -> bool:
        """Whether a refusal with this status is sure to be free, by what it says."""
        words = self._tally.words
        if status in OVERLOADED:
            return _NO_ROOM.search(words) is not None
        read = _FILTERED.search(words) or (too_long_billed and _TOO_LONG.search(words))
        return status in NOT_BILLED and not read

    @property
    def _doubtful(self) -> bool:
        tally = self._tally
        mute = tally.final and tally.output_seen and tally.usage is not None and not tally.usage.output
        return tally.doubtful or mute or self._lost or (self._events is not None and self._events.overflowed)

    def _charged(self, usage: Usage, basis: str) -> Settlement:
        cost = self._tally.cost(usage)
        return Settlement(cost, usage.tokens, basis, input_total(usage), usage.output)

    def _worst(self) -> Settlement:
        """The full hold, or more where even a doubtful usage says more."""
        said = [usage for usage in (self._tally.usage, self._tally.start) if usage]
        cost = max([self._held_nusd, *map(self._tally.cost, said)])
        tokens = max([self._worst_tokens(), *(usage.tokens for usage in said)])
        return Settlement(cost, tokens, "worst-case")

    def _worst_tokens(self) -> int:
        if self._held_tokens is not None:
            return self._held_tokens
        price = self._tally.price
        held_input = self._held_nusd - price.per_request - self._output_tokens * price.output
        each = price.dearest_input
        return self._output_tokens + (max(0, held_input) // each if each else 0)

    def _event(self, data: bytes) -> None:
        if data == b"[DONE]":
            self._reader.end(self._tally)
            return
        # Most events are deltas that say nothing the meter wants; they are not worth parsing.
        seen = self._tally.output_seen and not self._tally.final
        if seen and b'"usage"' not in data and b'"error"' not in data:
            return
        event = _object(data)
        if event is not None:
            self._read(self._reader.event, event)

    def _feed_body(self, body: bytearray, chunk: bytes) -> None:
        if self._lost or len(body) + len(chunk) > BODY_BYTES_MAX:
            self._lost = True
            body.clear()
            return
        body += chunk
        if self._parses < _PARSES_MAX and chunk.rstrip().endswith(b"}"):
            self._parses += 1
            self._parse_body(body)

    def _parse_body(self, body: bytearray) -> None:
        whole = _object(bytes(body))
        if whole is not None:
            self._read(self._reader.body, whole)

    def _read(self, read: "_Read", said: Mapping[str, Any]) -> None:
        try:
            read(said, self._tally)
        except Incredible:
            self._tally.doubtful = True


class _Read(Protocol):
    def __call__(self, said: Mapping[str, Any], tally: Tally, /) -> None: ...


def _with_output(usage: Usage, output: int) -> Usage:
    return Usage(usage.input, usage.cache_read, usage.cache_write, output)


def _object(data: bytes) -> Mapping[str, Any] | None:
    try:
        value = surrogates.decode(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
