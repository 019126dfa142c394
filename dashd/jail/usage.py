"""What processes use: one look at /proc serves every agent, and a costlier one only whom it makes suspicious.

    every look    RSS and threads of all processes, from one line of /proc/PID/stat each
    suspicious    PSS (a shared page counts once over a tree), what is swapped, and memfds nobody has mapped
    on request    what was written below folders since an instant, by a walk that is bounded in time

RSS cannot be hidden from its owner's /proc and is never too low by more than what `Machine.hidden_bytes` grew
by; where a process hides the exact figures (PR_SET_DUMPABLE) its RSS stands for them. Blocking functions; the
caller has a thread. Files of an agent are looked at by lstat alone and never opened.
"""

import contextlib
import os
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

FDS_MAX = 20_000
"""Open files of one agent that are looked at."""
WALK_S_MAX = 2.0
"""A walk that takes longer ends with what it has found."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STAT_BYTES, _SMALL_BYTES = 1024, 8192
_BLOCK_BYTES = 512
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
    """In swap, and in memory files: what an agent may use without its RSS showing it."""


def machine(proc: str = "/proc") -> Machine:
    """Reads one file; cheap enough for an event loop."""
    found = dict.fromkeys((b"MemAvailable", b"Shmem", b"SwapTotal", b"SwapFree"), 0)
    for line in _read(f"{proc}/meminfo", _SMALL_BYTES).splitlines():
        name, _, value = line.partition(b":")
        if name in found:
            found[name] = int(value.split()[0]) << 10
    available, shmem, swap, swap_free = found.values()
    return Machine(available, shmem + swap - swap_free)


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
    """What a tree uses, exactly: PSS and swap of its processes, and its memfds, mapped or not.

    Mapped shared memory and memfds may be the same pages, so the larger of both counts.
    """
    own = shared = files = 0
    seen: set[tuple[int, int]] = set()
    for process in tree:
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
        files += _held_bytes(process.pid, seen, proc, memory=True)
    return own + max(shared, files)


def deleted_bytes(tree: Iterable[Process], devices: Collection[int], proc: str = "/proc") -> int:
    """What a tree holds open on these file systems that no folder shows any more."""
    seen: set[tuple[int, int]] = set()
    return sum(_held_bytes(each.pid, seen, proc, memory=False, devices=devices) for each in tree)


def _held_bytes(
    pid: int, seen: set[tuple[int, int]], proc: str, *, memory: bool, devices: Collection[int] = ()
) -> int:
    """Of files that have no name: memfds, or deleted ones. Each counts once, however often it is open."""
    held = 0
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"{proc}/{pid}/fd"):
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
                    held += found.st_blocks * _BLOCK_BYTES
    return held


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


def disks(folders: Iterable[str]) -> dict[str, Disk]:
    """By folder, each file system asked once; a folder that is not there, or not reachable, is left out."""
    found: dict[str, Disk] = {}
    asked: dict[int, Disk] = {}
    for folder in folders:
        with contextlib.suppress(OSError):
            device = os.stat(folder).st_dev
            if device not in asked:
                state = os.statvfs(folder)
                asked[device] = Disk(device, state.f_bfree * state.f_frsize)
            found[folder] = asked[device]
    return found


class Walked(msgspec.Struct, frozen=True):
    """What a walk found."""

    changed_bytes: int
    """In files that were written or made since; of one that was there before, all of it."""
    finished: bool = True
    closed: bool = False
    """A folder that was changed since cannot be read, so anything may be in it."""


def changed_since(
    folders: Sequence[str], since_s: float, *, enough_bytes: int, s_max: float = WALK_S_MAX
) -> Walked:
    """What was written below folders since an instant of the wall clock; follows no link, leaves no disk.

    Stops as soon as there is more than `enough_bytes`. Change times are the kernel's and cannot be set back.
    """
    give_up_at, total, closed = time.monotonic() + s_max, 0, False
    linked: set[tuple[int, int]] = set()
    queue = _devices_of(folders)
    while queue:
        folder, device = queue.pop()
        try:
            for path, found in _entries(folder):
                if stat.S_ISDIR(found.st_mode) and found.st_dev == device:
                    queue.append((path, device))
                if found.st_ctime >= since_s and (found.st_dev, found.st_ino) not in linked:
                    total += found.st_blocks * _BLOCK_BYTES
                    if found.st_nlink > 1:
                        linked.add((found.st_dev, found.st_ino))
                if total > enough_bytes:
                    return Walked(total, closed=closed)
                if time.monotonic() > give_up_at:
                    return Walked(total, finished=False, closed=closed)
        except (FileNotFoundError, NotADirectoryError):  # it goes on working meanwhile
            continue
        except OSError:
            closed = closed or _is_changed(folder, since_s)
    return Walked(total, closed=closed)


def _entries(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                yield entry.path, entry.stat(follow_symlinks=False)


def _devices_of(folders: Iterable[str]) -> list[tuple[str, int]]:
    found = []
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
        return os.read(fd, bytes_max)
    finally:
        os.close(fd)
