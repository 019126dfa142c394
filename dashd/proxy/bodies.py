"""What was said in a call, kept where the operator wants it: `meta` keeps sizes and times, `full` texts too.

Off by default: then there is no such object, this module is not loaded and nothing is looked at. Texts are
redacted before they are kept (domain.redaction), then cut. They are written behind the call, by one task over
a bounded queue: keeping may fail or fall behind, then one is missing and counted, but no call waits for it.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
import trio

from dashd.clock import Clock
from dashd.domain import redaction, surrogates
from dashd.store import call_bodies
from dashd.store.call_bodies import BodyRow
from dashd.store.opening import Store
from dashd.store.transaction import Tx
from dashd.wire import errors

from .sse import EventCutter

QUEUE_MAX = 64
PRUNE_EVERY = 32
PRUNE_EVERY_S = 3_600.0
_SPOKEN = ("content", "text", "partial_json", "thinking", "arguments", "refusal", "reasoning_content", "name")
log = logging.getLogger(__name__)


class Heard:
    """Collects an answer as it passes, so many characters of it at most. The words of a stream are put
    together again: a secret may be cut into many events.
    """

    def __init__(self, characters_max: int, *, stream: bool) -> None:
        self.bytes = 0
        self._left = characters_max
        self._cutter = EventCutter() if stream else None
        self._parts: list[str] = []

    def feed(self, chunk: bytes) -> None:
        """Some of the answer."""
        self.bytes += len(chunk)
        if self._left < 0:
            return
        if self._cutter is None:
            self._add(chunk.decode("utf-8", "replace"))
            return
        for data in self._cutter.feed(chunk):
            self._add("".join(_spoken(data)))

    @property
    def text(self) -> str:
        """What was said."""
        return "".join(self._parts)

    @property
    def whole(self) -> bool:
        """Whether the text is all of it."""
        return self._left >= 0

    def _add(self, text: str) -> None:
        self._parts.append(text[: max(0, self._left)])
        self._left -= len(text)


class Bodies:
    """Keeps what was said; one for the daemon, only where something is kept."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        known: Callable[[], Sequence[str]],
        *,
        keep: Literal["meta", "full"],
        bytes_max: int,
    ) -> None:
        """`known` gives the providers' secrets; `bytes_max` is of one text."""
        self.missed = 0
        """Calls that were not kept because they came too fast, or the disk was full."""
        self._store = store
        self._clock = clock
        self._known = known
        self._full = keep == "full"
        self._bytes_max = bytes_max
        self._send, self._receive = trio.open_memory_channel[BodyRow](QUEUE_MAX)

    def listener(self, *, stream: bool) -> Heard:
        """What an answer is fed to."""
        return Heard(self._bytes_max + 2 * redaction.LONGEST if self._full else -1, stream=stream)

    def keep(self, hold_id: int, request: bytes, heard: Heard, meta: dict[str, Any]) -> None:
        """Takes what one try said; returns at once."""
        asked = answered = None
        sizes = {"request_bytes": len(request), "answer_bytes": heard.bytes}
        if self._full:
            known = self._known()
            head = request[: self._bytes_max + 2 * redaction.LONGEST]
            whole = len(head) == len(request)
            said = head.decode("utf-8", "replace")
            asked, cut_request = redaction.cut(said, self._bytes_max, known, whole=whole)
            answered, cut_answer = redaction.cut(heard.text, self._bytes_max, known, whole=heard.whole)
            sizes["cut"] = cut_request or cut_answer
        shown = msgspec.json.encode(meta | sizes).decode()
        kept = sum(len(text.encode()) for text in (shown, asked or "", answered or ""))
        try:
            self._send.send_nowait(BodyRow(hold_id, self._clock.now_ms(), kept, shown, asked, answered))
        except trio.WouldBlock:
            self.missed += 1

    async def run(self, kept_ms: int, total_max: int) -> None:
        """Writes them down and removes the oldest, until cancelled."""
        written = 0
        while True:
            row = None
            with trio.move_on_after(PRUNE_EVERY_S):
                row = await self._receive.receive()
            due = row is None or written % PRUNE_EVERY == 0
            written += 1
            await self._write(row, self._clock.now_ms() - kept_ms if due else None, total_max)

    async def _write(self, row: BodyRow | None, before_ms: int | None, total_max: int) -> None:
        def operation(tx: Tx) -> None:
            if row is not None:
                call_bodies.insert(tx, row)
            if before_ms is not None:
                call_bodies.prune(tx, before_ms, total_max)

        try:
            await self._store.writer.apply(operation)
        except errors.StoreClosed:
            raise
        except errors.Unavailable as error:
            self.missed += row is not None
            log.warning("what a call said was not kept: %s", error.message, extra={"missed": self.missed})


def _spoken(data: bytes) -> list[str]:
    """The new words of one event of a stream, in any of the three formats."""
    try:
        event = surrogates.decode(data)
    except surrogates.UNREADABLE:
        return []
    if not isinstance(event, dict):
        return []
    if isinstance(event.get("delta"), str) and str(event.get("type", "")).endswith(".delta"):
        return [event["delta"]]
    found: list[str] = []
    for choice in _dicts(event.get("choices")):
        found += _words(choice.get("delta"))
    return found + _words(event.get("delta")) + _words(event.get("content_block"))


def _words(node: object) -> list[str]:
    """Strings under the names that words have, at most a few levels deep."""
    if not isinstance(node, dict):
        return []
    found = [value for name, value in node.items() if name in _SPOKEN and isinstance(value, str)]
    for call in _dicts(node.get("tool_calls")):
        found += _words(call.get("function"))
    return found


def _dicts(node: object) -> list[dict[str, Any]]:
    """What a provider sends is not always what its format says."""
    return [each for each in node if isinstance(each, dict)] if isinstance(node, list) else []
