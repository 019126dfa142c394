"""What processes use: one look at /proc serves every agent, and a costlier one only whom it makes suspicious.

    every look    RSS and threads of all processes, from one line of /proc/PID/stat each
    suspicious    PSS (a shared page counts once over a tree), what is swapped, page tables, and memfds nobody
                  has mapped
    on request    what was written below folders since an instant, by a walk that is bounded in time; what is
                  held in files that no folder shows; how many files there are in a jail's own tmpfs

RSS cannot be hidden from its owner's /proc and is never too low by more than what `Machine.hidden_bytes` grew
by; where a process hides the exact figures (PR_SET_DUMPABLE) its RSS stands for them. Blocking functions; the
caller has a thread. Files of an agent are looked at by lstat alone and never opened.
"""

import contextlib
import os
import stat
import sys
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

INSIDE_WITHIN = 4
"""Of a jail's processes, oldest first, the second is inside: bubblewrap's, which the agent cannot touch."""
FDS_MAX = 20_000
"""Open files of one agent that are looked at."""
WALK_S_MAX = 2.0
"""A walk that takes longer ends with what it has found."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STAT_BYTES, _SMALL_BYTES, _MAPS_BYTES = 1024, 8192, 1 << 20
_BLOCK_BYTES = 512
_LEFT = (b"MemAvailable", b"Shmem", b"SwapTotal", b"SwapFree", b"MemTotal", b"MemFree")
_USED_BY_PROGRAMS = (b"Buffers", b"Cached", b"AnonPages", b"SReclaimable")
_MEMORY = (b"Pss_Anon:", b"Pss_File:", b"SwapPss:")


class Process(NamedTuple):
    """One process, as one look at /proc shows it."""

    pid: int
    parent: int
    threads: int
    started: int
    rss_bytes: int


class Machine(NamedTuple):
    """What the whole machine has left."""

    available_bytes: int
    hidden_bytes: int
    """In swap, in memory files, the kernel's: what an agent may use without its RSS showing it."""
    kernel_bytes: int = 0
    """What the kernel uses itself and cannot give back: page tables, queues of sockets and pipes."""


def machine(proc: str = "/proc") -> Machine:
    """Reads one file; cheap enough for an event loop."""
    found = dict.fromkeys((*_LEFT, *_USED_BY_PROGRAMS), 0)
    for line in _read(f"{proc}/meminfo", _SMALL_BYTES).splitlines():
        name, _, value = line.partition(b":")
        if name in found:
            found[name] = int(value.split()[0]) << 10
    available, shmem, swap, swap_free, total, free = (found[name] for name in _LEFT)
    kernel = max(0, total - free - sum(found[name] for name in _USED_BY_PROGRAMS))
    return Machine(available, shmem + swap - swap_free + kernel, kernel)


def all_processes(proc: str = "/proc") -> dict[int, Process]:
    """Every process that can be seen, by pid; one that ends meanwhile is left out."""
    found = {}
    for entry in os.listdir(proc):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                found[int(entry)] = _process(proc, entry)
    return found


def _process(proc: str, entry: str) -> Process:
    # The name is in brackets and may hold anything, brackets included.
    fields = _read(f"{proc}/{entry}/stat", _STAT_BYTES).rpartition(b")")[2].split(None, 23)
    return Process(
        int(entry), int(fields[1]), int(fields[17]), int(fields[19]), int(fields[21]) * _PAGE_BYTES
    )


def trees(found: Mapping[int, Process], roots: Collection[int]) -> dict[int, list[Process]]:
    """The descendants of each root, which is not among them itself."""
    family: dict[int, list[Process]] = {}
    for process in found.values():
        family.setdefault(process.parent, []).append(process)
    grown = {}
    for root in roots:
        tree = list(family.get(root, ()))
        for process in tree:  # grows while it is walked
            tree += family.get(process.pid, ())
        grown[root] = tree
    return grown


def memory_bytes(tree: Iterable[Process], proc: str = "/proc") -> int:
    """What a tree uses, exactly: PSS, swap and page tables of its processes, and its memfds, mapped or not.

    Mapped shared memory and memfds may be the same pages, so the larger of both counts.
    """
    own = shared = files = 0
    seen: set[tuple[int, int]] = set()
    for process in tree:
        own += _page_tables_bytes(process.pid, proc)
        try:
            rollup = _read(f"{proc}/{process.pid}/smaps_rollup", _SMALL_BYTES)
        except PermissionError:  # it hides
            own += process.rss_bytes
            continue
        except OSError:  # it has ended
            continue
        for line in rollup.splitlines():
            if line.startswith(_MEMORY):
                own += int(line.split()[1]) << 10
            elif line.startswith(b"Pss_Shmem:"):
                shared += int(line.split()[1]) << 10
        with contextlib.suppress(PermissionError):
            files += sum(size for _, size in _held(process.pid, seen, proc, memory=True))
    return own + max(shared, files)


def _page_tables_bytes(pid: int, proc: str) -> int:
    """Nobody can hide them. 4 KiB for each 2 MiB that was touched, if only by reading what is all zeros."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _read(f"{proc}/{pid}/status", _SMALL_BYTES).splitlines():
            if line.startswith(b"VmPTE:"):
                return int(line.split()[1]) << 10
    return 0


class Unnamed(NamedTuple):
    """Files that a tree holds and no folder shows any more."""

    files: list[tuple[str, int]]
    """The path each had, and its bytes; of one that is only mapped, as far as it is mapped."""
    hidden: bool = False
    """There may be more: a process hides, has too many files, or sends them to and fro."""


def unnamed(
    tree: Iterable[Process], devices: Collection[int], proc: str = "/proc", *, thorough: bool = False
) -> Unnamed:
    """The deleted files on these file systems that a tree has open. `thorough` (some milliseconds a process)
    finds those that are only mapped as well, and says what is on its way from socket to socket.
    """
    seen: set[tuple[int, int]] = set()
    files: list[tuple[str, int]] = []
    hidden = False
    for process in tree:
        try:
            files += _held(process.pid, seen, proc, memory=False, devices=devices)
            if thorough:
                files += _mapped(process.pid, seen, proc, devices)
                hidden = hidden or sends_files(process.pid, proc)
        except PermissionError:
            hidden = True
        except OSError:  # it has ended
            continue
    return Unnamed(files, hidden or len(seen) >= FDS_MAX)


def _held(
    pid: int, seen: set[tuple[int, int]], proc: str, *, memory: bool, devices: Collection[int] = ()
) -> list[tuple[str, int]]:
    """Of files that have no name: memfds, or deleted ones. Each counts once, however often it is open."""
    held: list[tuple[str, int]] = []
    for fd in _open_fds(pid, proc):
        if len(seen) >= FDS_MAX:
            break
        path = f"{proc}/{pid}/fd/{fd}"
        with contextlib.suppress(OSError):
            name = os.readlink(path)
            if not name.endswith(" (deleted)") or name.startswith("/memfd:") != memory:
                continue
            found = os.stat(path)  # of a file without a name, so it is nobody's socket or device
            if (found.st_dev, found.st_ino) not in seen and (memory or found.st_dev in devices):
                seen.add((found.st_dev, found.st_ino))
                held.append((name.removesuffix(" (deleted)"), found.st_blocks * _BLOCK_BYTES))
    return held


def _open_fds(pid: int, proc: str) -> list[str]:
    """None of one that has ended. Raises PermissionError."""
    try:
        return os.listdir(f"{proc}/{pid}/fd")
    except PermissionError:
        raise
    except OSError:
        return []


def _mapped(
    pid: int, seen: set[tuple[int, int]], proc: str, devices: Collection[int]
) -> list[tuple[str, int]]:
    """Deleted files that are mapped and not open."""
    ends: dict[tuple[int, int], tuple[str, int]] = {}
    for line in _read(f"{proc}/{pid}/maps", _MAPS_BYTES).splitlines():
        fields = os.fsdecode(line).split(None, 5)
        if len(fields) < 6 or not fields[5].endswith(" (deleted)"):
            continue
        first, last = (int(each, 16) for each in fields[0].split("-"))
        device = os.makedev(*(int(each, 16) for each in fields[3].split(":")))
        inode = device, int(fields[4])
        if device in devices and inode not in seen:
            end = max(ends.get(inode, ("", 0))[1], last - first + int(fields[2], 16))
            ends[inode] = fields[5].removesuffix(" (deleted)"), end
    seen.update(ends)
    return list(ends.values())


def sends_files(pid: int, proc: str) -> bool:
    """Whether a socket of it holds descriptors that nobody has received yet."""
    for fd in _open_fds(pid, proc):
        with contextlib.suppress(OSError):
            if os.readlink(f"{proc}/{pid}/fd/{fd}").startswith("socket:"):
                for line in _read(f"{proc}/{pid}/fdinfo/{fd}", _SMALL_BYTES).splitlines():
                    if line.startswith(b"scm_fds:") and int(line.split()[1]):
                        return True
    return False


def tmpfs_files(tree: Sequence[Process], places: Sequence[str], proc: str = "/proc") -> int:
    """How many files there are in the fullest of these folders of a jail's own; 0 where it has none."""
    for process in tree[:INSIDE_WITHIN]:
        counts = []
        for place in places:
            with contextlib.suppress(OSError):
                path = f"{proc}/{process.pid}/root{place}"
                if os.stat(path).st_dev != _device(place):
                    state = os.statvfs(path)
                    counts.append(state.f_files - state.f_ffree)
        if counts:
            return max(counts)
    return 0


def _device(path: str) -> int | None:
    try:
        return os.stat(path).st_dev
    except OSError:
        return None


def written_bytes(tree: Iterable[Process], proc: str = "/proc") -> int:
    """What a tree has written to disks since it began, children that have ended included; 0 where hidden."""
    written = 0
    for process in tree:
        with contextlib.suppress(OSError, ValueError):
            for line in _read(f"{proc}/{process.pid}/io", _SMALL_BYTES).splitlines():
                if line.startswith(b"write_bytes:"):
                    written += int(line.split()[1])
    return written


class Disk(NamedTuple):
    """A file system that folders are on."""

    device: int
    free_bytes: int
    free_files: int = 0
    """Always 0 where the file system makes room for files as they come."""


def disks(folders: Iterable[str]) -> dict[str, Disk]:
    """By folder, each file system asked once; a folder that is not there, or not reachable, is left out."""
    found: dict[str, Disk] = {}
    asked: dict[int, Disk] = {}
    for folder in folders:
        with contextlib.suppress(OSError):
            device = os.stat(folder).st_dev
            if device not in asked:
                state = os.statvfs(folder)
                asked[device] = Disk(device, state.f_bfree * state.f_frsize, state.f_ffree)
            found[folder] = asked[device]
    return found


class Walked(msgspec.Struct, frozen=True):
    """What a walk found."""

    changed_bytes: int
    """In files that were written or made since; of one that was there before, all of it."""
    changed_files: int = 0
    """Folders and links too; not one that was there before, unless it was written."""
    seen_files: int = 0
    finished: bool = True
    closed: bool = False
    """A folder that was changed since cannot be read, so anything may be in it."""


def changed_since(
    folders: Sequence[str],
    since_s: float,
    *,
    enough_bytes: int,
    enough_files: int = sys.maxsize,
    s_max: float = WALK_S_MAX,
) -> Walked:
    """What was written below folders since an instant of the wall clock; follows no link, leaves no disk.

    Stops as soon as there is more than enough of either. Change times are the kernel's and cannot be set
    back. A folder that was changed is looked into before any that was not: what is new is in it.
    """
    give_up_at, size, files, seen, closed = time.monotonic() + s_max, 0, 0, 0, False
    linked: set[tuple[int, int]] = set()
    changed, others = _devices_of(folders), deque[tuple[str, int]]()
    while changed or others:
        folder, device = changed.pop() if changed else others.pop()
        try:
            for path, found in _entries(folder):
                seen += 1
                is_new = found.st_ctime >= since_s
                if stat.S_ISDIR(found.st_mode) and found.st_dev == device:
                    (changed if is_new else others).append((path, device))
                if is_new and (found.st_dev, found.st_ino) not in linked:
                    size += found.st_blocks * _BLOCK_BYTES
                    files += 1
                    if found.st_nlink > 1:
                        linked.add((found.st_dev, found.st_ino))
                enough = size > enough_bytes or files > enough_files
                if enough or time.monotonic() > give_up_at:
                    return Walked(size, files, seen, finished=enough, closed=closed)
        except (FileNotFoundError, NotADirectoryError):  # it goes on working meanwhile
            continue
        except OSError:
            closed = closed or _is_changed(folder, since_s)
    return Walked(size, files, seen, closed=closed)


def _entries(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                yield entry.path, entry.stat(follow_symlinks=False)


def _devices_of(folders: Iterable[str]) -> deque[tuple[str, int]]:
    found = deque[tuple[str, int]]()
    for folder in folders:
        with contextlib.suppress(OSError):
            found.append((folder, os.stat(folder).st_dev))
    return found


def _is_changed(folder: str, since_s: float) -> bool:
    try:
        return os.lstat(folder).st_ctime >= since_s
    except OSError:
        return False


def _read(path: str, bytes_max: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = os.read(fd, bytes_max)
        while len(found) < bytes_max and (more := os.read(fd, bytes_max - len(found))):
            found += more  # the kernel gives a long list a page at a time
        return found
    finally:
        os.close(fd)
