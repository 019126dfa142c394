"""Cuts a stream of server-sent events into the data of its events, whatever bytes arrive together.

Sans-I/O and linear in the bytes fed: `\\n`, `\\r\\n` and `\\r` end lines, comments are skipped, the `data`
lines of one event are joined, a byte order mark is dropped
(https://html.spec.whatwg.org/multipage/server-sent-events.html). An event larger than the bound is dropped
and remembered in `overflowed`; memory never passes the bound.
"""

EVENT_BYTES_MAX = 8 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"


class EventCutter:
    """The events of one stream."""

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self.overflowed = False
        """An event was too large and is lost."""
        self._event_bytes_max = event_bytes_max
        self._line = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._skip_newline = False
        self._started = False
        self._dropping_line = False
        self._dropping_event = False

    @property
    def between_events(self) -> bool:
        """Whether the last byte fed ended an event, so that another may be put behind it."""
        return not self._line and not self._data and not self._dropping_line and not self._dropping_event

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of each event that this chunk completes."""
        if not chunk:
            return []
        if self._skip_newline and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        # A line feed after this carriage return, in the next chunk, ends no further line.
        self._skip_newline = chunk.endswith(b"\r")
        events: list[bytes] = []
        for piece in chunk.splitlines(keepends=True):
            ended = piece.endswith((b"\n", b"\r"))
            self._take(piece.rstrip(b"\r\n") if ended else piece)
            if ended:
                self._end_line(events)
        return events

    def _take(self, piece: bytes) -> None:
        if self._dropping_line:
            return
        if self._data_bytes + len(self._line) + len(piece) > self._event_bytes_max:
            self._drop()
            self._dropping_line = True
            return
        self._line += piece

    def _drop(self) -> None:
        self.overflowed = self._dropping_event = True
        self._line.clear()
        self._data.clear()
        self._data_bytes = 0

    def _end_line(self, events: list[bytes]) -> None:
        if self._dropping_line:
            self._dropping_line = False
            return
        line = bytes(self._line)
        self._line.clear()
        if not self._started:
            self._started = True
            line = line.removeprefix(_BOM)
        if not line:
            if self._data and not self._dropping_event:
                events.append(b"\n".join(self._data))
            self._data.clear()
            self._data_bytes = 0
            self._dropping_event = False
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            value = value.removeprefix(b" ")
            self._data.append(value)
            # One byte for the newline that joins it, so that empty lines are bounded too.
            self._data_bytes += len(value) + 1
