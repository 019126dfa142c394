"""git objects made by the host itself, from bytes it has read, into a bundle that a jailed git imports.

The formats are git's own (gitformat-pack(5), gitformat-bundle(5)); objects are whole, never deltas. So git
never runs over a tree whose bytes must come back exactly, and the ids are known before git has seen a thing.
"""

import hashlib
import struct
import zlib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import BinaryIO, Literal

from dashd.workspace.source import ObjectFormat

Kind = Literal["commit", "tree", "blob"]
Chunks = Callable[[], Iterable[bytes]]
"""Starts the content from its beginning; called twice where it must be stored."""

_TYPE = {"commit": 1, "tree": 2, "blob": 3}
_LEVEL = 1  # zlib's fastest: a salvage is read rarely and waited for always
_CHUNK_BYTES = 1 << 20


class ContentChanged(Exception):
    """The content did not stay the same while it was read."""


class Objects:
    """Ids of objects, without storing them."""

    def __init__(self, object_format: ObjectFormat) -> None:
        self.object_format = object_format

    def add(self, kind: Kind, size: int, chunks: Chunks) -> str:
        """The id of the object. Raises ContentChanged where there are not `size` bytes."""
        digest = hashlib.new(self.object_format, f"{kind} {size}\0".encode(), usedforsecurity=False)
        found = 0
        for chunk in chunks():
            digest.update(chunk)
            found += len(chunk)
        if found != size:
            raise ContentChanged
        return digest.hexdigest()

    def tree(self, entries: Iterable[tuple[bytes, bytes, str]]) -> str:
        """The id of a tree of (mode as git writes it, name, id), in any order."""
        ordered = sorted(entries, key=lambda e: e[1] + b"/" if e[0] == b"40000" else e[1])
        content = b"".join(b"%s %s\0%s" % (mode, name, bytes.fromhex(id_)) for mode, name, id_ in ordered)
        return self.add("tree", len(content), lambda: (content,))


class Bundle(Objects):
    """A bundle on its way: objects are added, `finish` makes it one.

    Objects in `known` are taken to be there already, and are not stored.
    """

    def __init__(
        self, path: Path, object_format: ObjectFormat, base: str, ref: str, known: Collection[str]
    ) -> None:
        super().__init__(object_format)
        self._file: BinaryIO = path.open("w+b")
        self._base, self._ref = base, ref
        self._stored: set[str] = set()
        self._known = known
        self.objects = 0
        self.bytes_stored = 0
        self._file.write(self._header("0" * len(base)))
        self._pack_start = self._file.tell()
        self._file.write(struct.pack(">4sII", b"PACK", 2, 0))

    def close(self) -> None:
        """Closes the file, finished or not."""
        self._file.close()

    def _header(self, tip: str) -> bytes:
        version = (
            "# v3 git bundle\n@object-format=sha256" if self.object_format == "sha256" else "# v2 git bundle"
        )
        return f"{version}\n-{self._base} base\n{tip} {self._ref}\n\n".encode()

    def add(self, kind: Kind, size: int, chunks: Chunks) -> str:
        """Stores the object, unless it is there, and returns its id. Raises ContentChanged."""
        id_ = super().add(kind, size, chunks)
        if id_ in self._known or id_ in self._stored:
            return id_
        start = self._file.tell()
        try:
            self._store(kind, size, chunks, id_)
        except ContentChanged:
            self._file.seek(start)
            self._file.truncate()
            raise
        self._stored.add(id_)
        self.objects += 1
        self.bytes_stored += size
        return id_

    def _store(self, kind: Kind, size: int, chunks: Chunks, id_: str) -> None:
        digest = hashlib.new(self.object_format, f"{kind} {size}\0".encode(), usedforsecurity=False)
        packer = zlib.compressobj(_LEVEL)
        self._file.write(_entry_header(kind, size))
        for chunk in chunks():
            digest.update(chunk)
            self._file.write(packer.compress(chunk))
        self._file.write(packer.flush())
        if digest.hexdigest() != id_:
            raise ContentChanged

    def finish(self, commit: bytes) -> str:
        """Adds the commit that everything belongs to, ends the bundle, and returns the commit's id."""
        tip = self.add("commit", len(commit), lambda: (commit,))
        self._file.seek(0)
        self._file.write(self._header(tip))
        self._file.write(struct.pack(">4sII", b"PACK", 2, self.objects))
        self._file.seek(self._pack_start)
        digest = hashlib.new(self.object_format, usedforsecurity=False)
        while chunk := self._file.read(_CHUNK_BYTES):
            digest.update(chunk)
        self._file.write(digest.digest())
        self._file.flush()
        return tip


def _entry_header(kind: Kind, size: int) -> bytes:
    """Three bits of type and a size in groups of 4, then 7 bits, the lowest first."""
    byte, size = _TYPE[kind] << 4 | size & 0x0F, size >> 4
    header = bytearray()
    while size:
        header.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    header.append(byte)
    return bytes(header)
