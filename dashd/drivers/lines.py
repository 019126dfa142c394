"""What a program prints, cut into lines: however it comes in pieces, and however long a line gets."""

from collections.abc import Iterator


class Lines:
    """Cuts a stream into lines, which end with LF alone: other line ends may stand inside strings."""

    def __init__(self, bytes_max: int) -> None:
        """`bytes_max` is of one line; a longer one is passed over, whatever it holds."""
        self._bytes_max = bytes_max
        self._line = bytearray()
        self._too_long = False

    @property
    def pending(self) -> bool:
        """True inside a line."""
        return bool(self._line) or self._too_long

    def cut(self, output: bytes) -> Iterator[bytes]:
        """The lines that end in this piece."""
        *ended, rest = output.split(b"\n")
        for piece in ended:
            self._add(piece)
            if not self._too_long:
                yield bytes(self._line)
            self._line.clear()
            self._too_long = False
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        if self._too_long or len(self._line) + len(piece) > self._bytes_max:
            self._too_long = True
            self._line.clear()
        else:
            self._line += piece
