"""A folder as a git tree, read by the host through descriptors: no link is followed, no git is run.

Everything is kept byte for byte: `.git` folders under another name (`names`), what git cannot say (modes,
empty folders) in a manifest beside the tree. What is not kept is listed in it: sockets, FIFOs, devices, and
files beyond the limits that the base does not know. Equal folders have equal ids: an id is a proof.
"""

import errno
import functools
import json
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import msgspec

from dashd.workspace import names
from dashd.workspace.erase import open_folder
from dashd.workspace.errors import TreeChanged, TreeTooLarge
from dashd.workspace.pack import Chunks, ContentChanged, Objects

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK_BYTES = 1 << 20
_TRIES_MAX = 3
_ENTERED = stat.S_IRUSR | stat.S_IXUSR
_USUAL = {b"100644": 0o644, b"100755": 0o755, b"40000": 0o755}
GIT = b".git"
DEPTH_MAX = 150


class Limits(msgspec.Struct, frozen=True):
    """What is kept. Files that the base knows, and the workspace's own `.git`, count for `bytes_max` only."""

    file_bytes_max: int = 32 << 20
    extra_bytes_max: int = 1 << 30
    """All files together that the base does not know."""
    bytes_max: int = 16 << 30
    entries_max: int = 1_000_000
    depth_max: int = DEPTH_MAX


class Unsaved(msgspec.Struct, frozen=True):
    """An entry that was not kept, and why."""

    path: str
    kind: str
    size: int
    why: str

    @property
    def is_content(self) -> bool:
        """Whether something is lost with it; a FIFO or a socket has nothing to lose."""
        return self.kind in ("file", "folder")


class Snapshot(msgspec.Struct, frozen=True):
    """A folder as it was: the id of its tree (manifest and all), and what stands out in it."""

    tree: str
    content: str
    """The id without the manifest: what git itself would say of files of which it knows everything."""
    files: int
    unsaved: tuple[Unsaved, ...]
    nested: tuple[str, ...]
    """Folders below the top that are repositories of their own."""


def snapshot(
    folder: Path, objects: Objects, tracked: Collection[bytes], limits: Limits, *, git: bool = True
) -> Snapshot:
    """Reads the folder into `objects`; without `git` the `.git` at its top is left out.

    `tracked` are the paths that the base has. Raises TreeChanged and TreeTooLarge, and OSError for what
    cannot be read; the folder is left as it was.
    """
    return _Reader(objects, tracked, limits, git=git).read(folder)


class _Reader:
    def __init__(self, objects: Objects, tracked: Collection[bytes], limits: Limits, *, git: bool) -> None:
        self.objects, self.tracked, self.limits, self.git = objects, tracked, limits, git
        self.device = 0
        self.files = self.entries = self.bytes = self.extra_bytes = 0
        self.unsaved: list[Unsaved] = []
        self.nested: list[str] = []
        self.notes: list[dict[str, object]] = []

    def read(self, folder: Path) -> Snapshot:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self.device = os.fstat(fd).st_dev
            entries = self.folder(fd, b"", 0)
        finally:
            os.close(fd)
        manifest = self.manifest()
        blob = self.objects.add("blob", len(manifest), lambda: (manifest,))
        tree = self.objects.tree([*entries, (b"100644", names.MANIFEST, blob)])
        content = Objects(self.objects.object_format).tree(entries)
        return Snapshot(tree, content, self.files, tuple(self.unsaved), tuple(self.nested))

    def manifest(self) -> bytes:
        """What the tree itself cannot say, one JSON object a line."""
        unsaved = [{"unsaved": u.path, "kind": u.kind, "size": u.size, "why": u.why} for u in self.unsaved]
        lines = [{"dash": "salvage", "version": 1}, *self.notes, *unsaved]
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    def folder(self, fd: int, path: bytes, depth: int) -> list[tuple[bytes, bytes, str]]:
        """The entries of an open folder, each as (mode, name in the tree, id)."""
        if depth > self.limits.depth_max:
            raise TreeTooLarge(f"{os.fsdecode(path)!r} lies more than {self.limits.depth_max} folders deep.")
        entries = []
        for name in sorted(map(os.fsencode, os.listdir(fd))):
            if depth or self.git or name != GIT:
                entry = self.entry(fd, name, path + b"/" + name if path else name, depth)
                entries += [entry] if entry else []
        return entries

    def entry(self, parent: int, name: bytes, path: bytes, depth: int) -> tuple[bytes, bytes, str] | None:
        self.entries += 1
        if self.entries > self.limits.entries_max:
            raise TreeTooLarge(f"There are more than {self.limits.entries_max} entries.")
        try:
            info = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISREG(info.st_mode):
                return self.file(parent, name, path)
            if stat.S_ISLNK(info.st_mode):
                return self.link(parent, name)
            if stat.S_ISDIR(info.st_mode):
                return self.subfolder(parent, name, path, info, depth)
        except FileNotFoundError:
            raise TreeChanged(f"{os.fsdecode(path)!r} went away while it was read.") from None
        self.leave(path, _kind(info.st_mode), 0, "it has no content to keep")
        return None

    def leave(self, path: bytes, kind: str, size: int, why: str) -> None:
        self.unsaved.append(Unsaved(os.fsdecode(path), kind, size, why))

    def subfolder(
        self, parent: int, name: bytes, path: bytes, info: os.stat_result, depth: int
    ) -> tuple[bytes, bytes, str] | None:
        if info.st_dev != self.device:
            self.leave(path, "folder", 0, "it is another file system")
            return None
        if depth and name == GIT:
            self.nested.append(os.fsdecode(path.rpartition(b"/")[0]))
        with _Opened(parent, name, info.st_mode) as fd:
            entries = self.folder(fd, path, depth + 1)
        self.note(path, b"40000", info.st_mode, empty=not entries)
        return (b"40000", names.encode(name), self.objects.tree(entries)) if entries else None

    def link(self, parent: int, name: bytes) -> tuple[bytes, bytes, str]:
        target = os.readlink(name, dir_fd=parent)
        id_ = self.objects.add("blob", len(target), lambda: (target,))
        return (b"120000", names.encode(name, link=True), id_)

    def file(self, parent: int, name: bytes, path: bytes) -> tuple[bytes, bytes, str] | None:
        fd = _open_file(parent, name)
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                raise TreeChanged(f"{os.fsdecode(path)!r} became something else while it was read.")
            if why := self.too_large(path, info.st_size):
                self.leave(path, "file", info.st_size, why)
                return None
            id_ = self.content(fd, path)
        finally:
            os.close(fd)
        self.files += 1
        mode = b"100755" if info.st_mode & stat.S_IXUSR else b"100644"
        self.note(path, mode, info.st_mode)
        return (mode, names.encode(name), id_)

    def too_large(self, path: bytes, size: int) -> str:
        """Why a file is not kept; counts it if it is."""
        limits = self.limits
        self.bytes += size
        if path not in self.tracked and not (self.git and path.startswith(GIT + b"/")):
            if size > limits.file_bytes_max:
                self.bytes -= size
                return f"it is larger than {limits.file_bytes_max} bytes"
            if self.extra_bytes + size > limits.extra_bytes_max:
                self.bytes -= size
                return f"all new files together are larger than {limits.extra_bytes_max} bytes"
            self.extra_bytes += size
        if self.bytes > limits.bytes_max:
            raise TreeTooLarge(f"There are more than {limits.bytes_max} bytes.")
        return ""

    def content(self, fd: int, path: bytes) -> str:
        """The id of an open file's content; a file that is being written to is tried again."""
        for _ in range(_TRIES_MAX):
            size = os.fstat(fd).st_size
            try:
                return self.objects.add("blob", size, _chunks(fd, size))
            except ContentChanged:
                continue
        raise TreeChanged(f"{os.fsdecode(path)!r} is still being written to.")

    def note(self, path: bytes, mode: bytes, full_mode: int, *, empty: bool = False) -> None:
        """Writes down what a git tree does not say of an entry."""
        rights = stat.S_IMODE(full_mode)
        if empty or rights != _USUAL[mode]:
            kind = {"folder": os.fsdecode(path)} if mode == b"40000" else {"file": os.fsdecode(path)}
            self.notes.append({**kind, "mode": f"{rights:04o}"} | ({"empty": True} if empty else {}))


def _kind(mode: int) -> str:
    for test, kind in ((stat.S_ISFIFO, "fifo"), (stat.S_ISSOCK, "socket"), (stat.S_ISBLK, "block device")):
        if test(mode):
            return kind
    return "character device" if stat.S_ISCHR(mode) else "unknown"


def _chunks(fd: int, size: int) -> Chunks:
    """The file's content, read once where it is small; one byte more shows that it grew."""
    if size <= _CHUNK_BYTES:
        content = os.pread(fd, size + 1, 0)
        return lambda: (content,)
    return functools.partial(_pieces, fd, size)


def _pieces(fd: int, size: int) -> Iterator[bytes]:
    offset = 0
    while offset <= size and (chunk := os.pread(fd, _CHUNK_BYTES, offset)):
        yield chunk
        offset += len(chunk)


class _Opened:
    """A folder of the tree, open; one without rights gets them for as long as it takes to open it."""

    def __init__(self, parent: int, name: bytes, mode: int) -> None:
        self._parent, self._name, self._mode = parent, name, stat.S_IMODE(mode)
        self._fd = -1

    def __enter__(self) -> int:
        self._fd = open_folder(self._parent, self._name)
        return self._fd

    def __exit__(self, *_: object) -> None:
        if self._mode & 0o700 != 0o700:
            os.chmod(self._fd, self._mode)
        os.close(self._fd)


def _open_file(parent: int, name: bytes) -> int:
    """Opens a file for reading; one that its owner may not read gets that right until it is open."""
    try:
        return os.open(name, _FILE, dir_fd=parent)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise TreeChanged(f"{os.fsdecode(name)!r} became a link while it was read.") from None
        if error.errno != errno.EACCES:
            raise
    path_fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        mode = stat.S_IMODE(os.fstat(path_fd).st_mode)
        os.chmod(f"/proc/self/fd/{path_fd}", mode | stat.S_IRUSR)
        try:
            return os.open(f"/proc/self/fd/{path_fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        finally:
            os.chmod(f"/proc/self/fd/{path_fd}", mode)
    finally:
        os.close(path_fd)


def repositories(folder: Path, depth_max: int = DEPTH_MAX, shut: list[bytes] | None = None) -> list[bytes]:
    """The folders below `folder` that are repositories of their own, or say so (a `.git` of any kind).

    Those that its owner may not read, or not enter, are added to `shut`.
    """
    found: list[bytes] = []
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _repositories(fd, b"", depth_max, found, [] if shut is None else shut)
    finally:
        os.close(fd)
    return found


def _repositories(fd: int, path: bytes, depth: int, found: list[bytes], shut: list[bytes]) -> None:
    with os.scandir(fd) as listed:
        folders = sorted(os.fsencode(e.name) for e in listed if e.is_dir(follow_symlinks=False))
    for name in folders:
        if name == GIT or not depth:
            continue
        inner = path + b"/" + name if path else name
        try:
            opened = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        except OSError as error:
            shut += [inner] if error.errno == errno.EACCES else []
            continue  # no rights, gone, or something else by now: git will not look into it either
        try:
            if os.fstat(opened).st_mode & _ENTERED != _ENTERED:
                shut.append(inner)
            elif GIT in map(os.fsencode, os.listdir(opened)):
                found.append(inner)
            else:
                _repositories(opened, inner, depth - 1, found, shut)
        finally:
            os.close(opened)


def paths_of(entries: Iterable[bytes]) -> tuple[set[bytes], set[str]]:
    """What `git ls-tree -r -t -z` printed, as (paths of files, ids of all)."""
    paths, ids = set(), set()
    for entry in entries:
        about, _, path = entry.partition(b"\t")
        _, kind, id_ = about.split(b" ")
        ids.add(id_.decode())
        if kind == b"blob":
            paths.add(path)
    return paths, ids
