"""A disk that refuses: a SQLite VFS in which the n-th write or sync of one kind of file fails.

Everything else goes to the real file system, so what a refused call leaves behind is what a real one would.
It also remembers what each write replaced until the next sync, so it can say what a power cut would leave.
"""

import errno
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import apsw

FileKind = Literal["wal", "db", "other"]
Verb = Literal["write", "sync", "truncate"]
Failure = Literal["full", "short", "eio", "sync"]


@dataclass
class Fault:
    """Refuse the calls of `verb` on files of `kind` from number `at` on (1 is the next), `times` of them.

    `full`: no space, nothing written. `short`: half is written, then no space. `eio`: an I/O error.
    `sync`: fsync fails.
    """

    kind: FileKind
    verb: Verb
    failure: Failure
    at: int = 1
    times: int = 1_000_000_000
    seen: int = 0
    hits: int = 0

    def strikes(self, kind: FileKind, verb: Verb) -> bool:
        if (kind, verb) != (self.kind, self.verb):
            return False
        self.seen += 1
        if not self.at <= self.seen < self.at + self.times:
            return False
        self.hits += 1
        return True


class Disk(apsw.VFS):
    """Give `disk.name` as `vfs=`; set `disk.fault` to make it refuse, None to heal it.

    `calls` are the (kind, verb) seen so far. Call `unregister` when done. One database at a time.
    """

    def __init__(self) -> None:
        self.name = f"refusing-{uuid.uuid4().hex}"
        self.fault: Fault | None = None
        self.calls: list[tuple[FileKind, Verb]] = []
        self.unsynced: dict[str, list[tuple[int, bytes, int]]] = {}
        """By path: (offset, what was there, how long the file was) of each write since its last sync."""
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> "DiskFile":
        return DiskFile(self, name, flags)

    def strikes(self, kind: FileKind, verb: Verb) -> Fault | None:
        self.calls.append((kind, verb))
        return self.fault if self.fault is not None and self.fault.strikes(kind, verb) else None

    def after_power_loss(self, path: Path, folder: Path) -> Path:
        """The database copied to `folder` with everything undone that no sync has made durable."""
        folder.mkdir()
        for name in (path.name, f"{path.name}-wal"):
            source = path.with_name(name)
            content = bytearray(source.read_bytes() if source.exists() else b"")
            for offset, was, size in reversed(self.unsynced.get(str(source), [])):
                content[offset : offset + len(was)] = was
                del content[size:]
            (folder / name).write_bytes(content)
        return folder / path.name


class DiskFile(apsw.VFSFile):
    """One open file on a Disk."""

    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        self._kind: FileKind = "other"
        if flags[0] & apsw.SQLITE_OPEN_WAL:
            self._kind = "wal"
        elif flags[0] & apsw.SQLITE_OPEN_MAIN_DB:
            self._kind = "db"
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("", name, flags)

    def _remember(self, offset: int, length: int) -> None:
        with open(self._path, "rb") as file:
            was = os.pread(file.fileno(), length, offset)
            size = os.fstat(file.fileno()).st_size
        self._disk.unsynced.setdefault(self._path, []).append((offset, was, size))

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._kind != "other":
            self._remember(offset, len(data))
        if fault := self._disk.strikes(self._kind, "write"):
            if fault.failure == "short":
                super().xWrite(data[: len(data) // 2], offset)
            raise _error(fault, apsw.SQLITE_IOERR_WRITE)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        if fault := self._disk.strikes(self._kind, "sync"):
            raise _error(fault, apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)
        self._disk.unsynced.pop(self._path, None)

    def xTruncate(self, size: int) -> None:
        if fault := self._disk.strikes(self._kind, "truncate"):
            raise _error(fault, apsw.SQLITE_IOERR_TRUNCATE)
        self._remember(size, 1 << 30)
        super().xTruncate(size)


def _error(fault: Fault, extended: int) -> apsw.Error:
    if fault.failure in ("full", "short"):
        return apsw.FullError(errno.ENOSPC, "no space left on this fake disk")
    error = apsw.IOError("this fake disk refused")
    error.extendedresult = extended
    return error
