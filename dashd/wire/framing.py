"""Newline-delimited frames out of a byte stream, without any I/O.

Time is linear in what arrives, however it is cut, and never more than one frame's worth of bytes is held
back. Blank lines are no frames. What a frame means is the business of `envelope`.
"""

from typing import Final

FRAME_BYTES_MAX: Final = 4 * 1024 * 1024
"""One frame without its newline; what both sides refuse to send and to take."""


class Framer:
    """Cuts frames; feed it what was received, in order."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._bytes_max = frame_bytes_max
        self._partial = bytearray()
        self.too_large = False
        """A frame was over the limit. There is no way back into step: say so and close."""

    @property
    def started(self) -> bool:
        """A frame has begun and its end has not come yet."""
        return bool(self._partial)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The frames that `chunk` completes; none from the first too large one on."""
        if self.too_large:
            return []
        if not self._partial and chunk.endswith(b"\n") and len(chunk) <= self._bytes_max:
            # Nearly always: whole frames, none of which can be too large.
            return [line for line in chunk.split(b"\n") if line and not line.isspace()]
        frames = []
        first, *lines = chunk.split(b"\n")
        if not self._hold(first):
            return []
        for line in lines:
            # Each newline ends what is held; only the first line of a chunk can have been begun earlier.
            frame = bytes(self._partial)
            self._partial.clear()
            if frame and not frame.isspace():
                frames.append(frame)
            if not self._hold(line):
                break
        return frames

    def _hold(self, part: bytes) -> bool:
        if len(self._partial) + len(part) > self._bytes_max:
            self.too_large = True
            self._partial.clear()
        else:
            self._partial += part
        return not self.too_large
