"""What a holder writes into its launch folder: `begin` and `exit`. The daemon's side is launch_folder.py.

Invariants: `begin` exists only locked while its holder lives, `exit` exists only whole, and who has its lock
is alone in a session. Standard library only.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

EXIT_BYTES_MAX = 2048
ERROR_CHARACTERS_MAX = 250
"""Of the record's one free text; each character may become six bytes of JSON."""


class Begin:
    """`begin` in the making: a file under another name, locked, until `take` gives it the name."""

    def __init__(self, folder: int, boot_id: str) -> None:
        """`folder` is a directory fd. The lock lasts until `fd` and every dup of it is closed."""
        self.folder, self.boot_id = folder, boot_id
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self.fd = os.open("begin.tmp", flags, 0o600, dir_fd=folder)
        fcntl.flock(self.fd, fcntl.LOCK_EX)

    def take(self, crash: Callable[[str], None]) -> bool:
        """Creates `begin`, born locked; False if somebody else (recovery's tombstone) was first.

        link(2) is as exclusive as O_EXCL and, unlike it, leaves no instant in which `begin` is there but
        unlocked: that means a dead holder.
        """
        self.note(0, 0)
        crash("holder.before_begin")
        try:
            os.link("begin.tmp", "begin", src_dir_fd=self.folder, dst_dir_fd=self.folder)
        except FileExistsError:
            return False
        finally:
            os.unlink("begin.tmp", dir_fd=self.folder)
        crash("holder.after_begin")
        return True

    def note(self, agent: int, start_time: int) -> None:
        """Writes whom signals would go to, should this holder be killed, over what was written before."""
        ids = f'"holder": {os.getpid()}, "agent": {agent}, "start_time": {start_time}'
        text = f'{{{ids}, "boot_id": "{self.boot_id}"}}'  # by hand: the json module is dear in a fresh fork
        os.pwrite(self.fd, text.encode().ljust(250) + b"\n", 0)


class Locked(OSError):
    """Somebody else has the session."""


def lock_session(path: str | None) -> tuple[int, ...]:
    """Takes the lock of a session, if there is one; gives the fd by which it is held. Raises OSError.

    It is beside the session's folder: in it, where the agent writes, another file could be put in its place.
    """
    if path is None:
        return ()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        why = f"its session is locked: another program writes in it (lslocks shows which holds {path})"
        raise Locked(error.errno, why) from None
    except OSError:
        os.close(fd)
        raise
    return (fd,)


def reserve_exit(folder: int) -> int:
    """Makes room for the exit record before anything runs, so that a disk that fills up later cannot keep
    the end from being written; returns the fd that `write_exit` takes. Raises OSError.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    fd = os.open("exit.tmp", flags, 0o600, dir_fd=folder)
    try:
        if os.write(fd, b" " * EXIT_BYTES_MAX) != EXIT_BYTES_MAX:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        os.close(fd)
        raise
    return fd


def write_exit(folder: int, fd: int, record: dict[str, Any], crash: Callable[[str], None]) -> None:
    """Makes the record durable in the room reserved: fsync, rename, fsync of the folder. Raises OSError."""
    text = json.dumps(
        {**record, "error": record.get("error") and record["error"][:ERROR_CHARACTERS_MAX]}
    ).encode()
    os.pwrite(fd, text.ljust(EXIT_BYTES_MAX - 1) + b"\n", 0)
    os.fsync(fd)
    crash("holder.exit_tmp")
    os.rename("exit.tmp", "exit", src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)
