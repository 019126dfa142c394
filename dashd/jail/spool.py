"""The spool: an agent's stdout and stderr as framed records in one file; holders write, dashd reads.

A record is the stream (1 stdout, 2 stderr), the payload's length (4 bytes, big endian) and the payload.
A record is appended whole or taken back, so only a crash can leave a torn one, and then it is the last.
Standard library only: the holder imports this.
"""

from __future__ import annotations

import errno
import os
import struct
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEADER = struct.Struct(">BI")
STDOUT, STDERR = 1, 2
PAYLOAD_BYTES_MAX = 65536
_CHUNK_BYTES = 1 << 20


class SpoolCorrupt(ValueError):
    """What is at an offset is not a record: the file is something else's, or the offset is wrong."""


class Writer:
    """The holder's end. `payload_bytes_max` bounds the output kept; what is not kept is counted."""

    def __init__(self, folder: int, payload_bytes_max: int | None) -> None:
        """`folder` is a directory fd; the first output creates the file, since many agents say nothing."""
        self.folder = folder
        self.fd = -1
        self.payload_bytes_max = payload_bytes_max
        self.file_bytes = self.payload_bytes = self.dropped_bytes = 0
        self.lost_bytes = 0
        """Of what was dropped, what was within the bound and the disk did not take."""
        self._torn = False
        self._ends = {STDOUT: bytearray(), STDERR: bytearray()}

    def append(self, stream: int, data: bytes) -> bool:
        """Adds one record of at most PAYLOAD_BYTES_MAX, whole or not at all; never raises for a full disk.
        False where nothing was kept.
        """
        kept = data
        if self.payload_bytes_max is not None:
            kept = data[: max(0, self.payload_bytes_max - self.payload_bytes)]
            self._remember(stream, data[len(kept) :])
        if kept and (self._torn or not self._write(HEADER.pack(stream, len(kept)) + kept)):
            self.lost_bytes += len(kept)
            kept = b""
        self.payload_bytes += len(kept)
        self.dropped_bytes += len(data) - len(kept)
        return bool(kept)

    def finish(self) -> None:
        """After the last output: of what went past the bound, the end of each stream is kept after all."""
        for stream, end in self._ends.items():
            if end and not self._torn and self._write(HEADER.pack(stream, len(end)) + end):
                self.payload_bytes += len(end)
                self.dropped_bytes -= len(end)
            end.clear()

    def _remember(self, stream: int, data: bytes) -> None:
        """The last bytes past the bound, as many as one record takes: a result stands at the end."""
        end = self._ends[stream]
        end += data
        del end[:-PAYLOAD_BYTES_MAX]

    def _write(self, record: bytes) -> bool:
        try:
            if self.fd < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self.fd = os.open("spool", flags, 0o600, dir_fd=self.folder)
            if os.write(self.fd, record) != len(record):
                raise OSError(errno.ENOSPC, "short write")
        except OSError:
            self._take_back()
            return False
        self.file_bytes += len(record)
        return True

    def _take_back(self) -> None:
        """Removes what may have been written of a record: nothing may follow a torn one."""
        if self.fd >= 0:
            try:
                os.ftruncate(self.fd, self.file_bytes)
            except OSError:
                self._torn = True

    def sync(self) -> None:
        """Makes the records durable; before the exit record, whose result they are."""
        if self.file_bytes:
            os.fdatasync(self.fd)


def _records(data: bytes, at: int) -> tuple[list[tuple[int, bytes]], int]:
    """The whole records at the start of `data`, which was read at offset `at`, and the offset after them."""
    records: list[tuple[int, bytes]] = []
    here = 0
    while here + HEADER.size <= len(data):
        stream, length = HEADER.unpack_from(data, here)
        if stream not in (STDOUT, STDERR) or not 0 < length <= PAYLOAD_BYTES_MAX:
            raise SpoolCorrupt(f"no record at offset {at + here}")
        end = here + HEADER.size + length
        if end > len(data):
            break
        records.append((stream, data[here + HEADER.size : end]))
        here = end
    return records, at + here


def read(folder: Path, offset: int, bytes_max: int) -> tuple[list[tuple[int, bytes]], int]:
    """The records from `offset` on, as (stream, payload), and the offset to go on from. Blocking.

    Reads about `bytes_max` bytes of the file, but always at least one whole record if there is one, so a
    loop makes progress. Stops before a torn record; no file is an empty spool. Raises SpoolCorrupt, or
    OSError as read(2).
    """
    try:
        with open(folder / "spool", "rb", buffering=0) as file:
            data = os.pread(file.fileno(), max(bytes_max, HEADER.size + PAYLOAD_BYTES_MAX), offset)
    except FileNotFoundError:
        return [], offset
    records, end = _records(data, offset)
    kept_bytes = count = 0
    for _, payload in records:
        if count and kept_bytes + HEADER.size + len(payload) > bytes_max:
            break
        kept_bytes += HEADER.size + len(payload)
        count += 1
    return (records, end) if count == len(records) else (records[:count], offset + kept_bytes)


def tail(folder: Path, bytes_max: int, stream: int | None = None) -> tuple[bytes, int]:
    """The last `bytes_max` payload bytes of one stream, or of both in the order of writing, and the offset to
    go on from.

    Blocking, reads the file once. Raises SpoolCorrupt and OSError like `read`.
    """
    kept: deque[bytes] = deque()
    kept_bytes = 0

    def keep(payload: bytes) -> None:
        nonlocal kept_bytes
        kept.append(payload)
        kept_bytes += len(payload)
        while kept and kept_bytes - len(kept[0]) >= bytes_max:
            kept_bytes -= len(kept.popleft())

    end = _scan(folder, stream, keep)
    return b"".join(kept)[-bytes_max:] if bytes_max > 0 else b"", end


def _scan(folder: Path, stream: int | None, keep: Callable[[bytes], None]) -> int:
    offset = 0
    while True:
        records, after = read(folder, offset, _CHUNK_BYTES)
        if after == offset:
            return offset
        offset = after
        for number, payload in records:
            if stream is None or number == stream:
                keep(payload)
