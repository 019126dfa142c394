"""The tenant of a state folder: the one dashd that works in it, and where it can be reached.

dashd holds a lock on `dashd.lock` for life, which the kernel frees however it dies, and has written its pid
and socket into it. So a client whose socket is gone, or whose environment names another one, still finds
dashd; the note counts only while the lock is held. Stdlib only: every client may afford it.
"""

import fcntl
import json
import os
import stat
import time
from typing import NamedTuple

LOCK_NAME = "dashd.lock"
TRIES_MAX = 100
_PAUSE_S = 0.002
_NOTE_BYTES_MAX = 8_192


class Tenant(NamedTuple):
    """Who works in a folder; pid None and socket "" where its note cannot be read."""

    pid: int | None
    socket: str


def lock_path(state_dir: str) -> str:
    """The file whose lock the tenant holds."""
    return os.path.join(state_dir, LOCK_NAME)


def find(state_dir: str) -> Tenant | None:
    """The dashd that works in this folder now; None where there is none, or the folder is another user's."""
    try:
        fd = os.open(lock_path(state_dir), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return _read(fd) if _is_taken(fd) else None
    finally:
        os.close(fd)


def is_locked(path: str) -> bool:
    """Whether a dashd holds the lock of this file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return _is_taken(fd)
    finally:
        os.close(fd)


def take(fd: int) -> bool:
    """Takes the lock for as long as `fd` is open; False where another dashd has it.

    Whoever only looks holds a shared lock for an instant, and is waited for: it is no dashd.
    """
    for _ in range(TRIES_MAX):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if _is_taken(fd):
                return False
            fcntl.flock(fd, fcntl.LOCK_UN)
            time.sleep(_PAUSE_S)
        else:
            return True
    return False


def note(fd: int, pid: int, socket: str) -> None:
    """Writes down who holds the lock of `fd`. Overwrites in place, which a full disk mostly allows."""
    line = json.dumps({"pid": pid, "socket": socket}).encode() + b"\n"
    os.pwrite(fd, line, 0)
    os.ftruncate(fd, len(line))


def unsafe(state_dir: str) -> tuple[str, str] | None:
    """(what is wrong, what to do) where others could replace what is in the folder; it must exist.

    Whoever can write there can have programs run as the operator.
    """
    found = os.stat(state_dir)
    if found.st_uid != os.geteuid():
        return (
            f"{state_dir} belongs to uid {found.st_uid}, and this is uid {os.geteuid()}",
            "set DASH_STATE_DIR to a folder of your own",
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(found.st_mode)
        return f"{state_dir} has mode {mode:04o}: others may write in it", f"chmod 700 {state_dir}"
    return None


def _is_taken(fd: int) -> bool:
    """Whether somebody holds the lock for good. Leaves a shared lock on `fd` where not."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _read(fd: int) -> Tenant:
    line, _, _ = os.pread(fd, _NOTE_BYTES_MAX, 0).partition(b"\n")
    try:
        found = json.loads(line)
        return Tenant(int(found["pid"]), str(found["socket"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return Tenant(None, "")
