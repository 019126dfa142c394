"""A launch folder as dashd reads it: did it ever start, is it alive, how did it end.

Whoever creates `begin` decides: a holder's is born locked and means exec may have happened, a tombstone
(written here) means that it never will. Blocking functions; with many folders the caller runs them in a
thread.
"""

import contextlib
import fcntl
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any, Literal

import msgspec

from dashd.jail import processes

TOMBSTONE = b"tombstone\n"


class FolderInUse(Exception):
    """The launch is alive; its folder is not removed under it."""


class ExitRecord(msgspec.Struct, frozen=True):
    """How a launch ended. `code` and `signal` are the main process's; both None by lease or if it never ran.

    `reason` start: exec failed, `error` says at which path with which errno. `spool_dropped` counts payload
    bytes over the limit or the disk. `cpu_ms` and `max_rss_kib` are of all descendants (RSS: at least a
    holder's fork). `breach` is the bound for which the watchdog had it ended, in words.
    """

    code: int | None
    signal: int | None
    reason: Literal["exit", "stop", "lease", "start"]
    error: str | None
    spool_bytes: int
    spool_dropped: int
    wall_ms: int
    cpu_ms: int
    max_rss_kib: int
    breach: str | None = None

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "ExitRecord":
        """Raises KeyError if a field is missing; fields of a later holder are ignored, and of an earlier one
        not missed.
        """
        known = {name: record[name] for name in cls.__struct_fields__ if name != "breach"}
        return cls(**known, breach=record.get("breach"))


class NeverStarted(msgspec.Struct, frozen=True):
    """Exec has not happened and never will: the tombstone is there."""


class Alive(msgspec.Struct, frozen=True):
    """The holder lives, or is just leaving: adopt it, and on HolderGone examine again."""


class Ended(msgspec.Struct, frozen=True):
    """The holder wrote its record and is gone."""

    record: ExitRecord


class Lost(msgspec.Struct, frozen=True):
    """The holder was killed: exec may have happened, the end is unknown. See processes.end_all_marked.

    `agent` is the agent's (pid, start time) if the holder lived to note it, and this is still the same boot.
    """

    agent: tuple[int, int] | None = msgspec.field(default=None)


def examine(folder: Path) -> NeverStarted | Alive | Ended | Lost:
    """Settles what became of a launch, for ever: if nobody created `begin` yet, the tombstone does.

    Creates the folder if need be. Any other answer than Alive is final. Raises OSError naming the path.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not _exists(here, "begin") and _bury(here):
            return NeverStarted()
        begin = os.open("begin", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=here)
        try:
            fcntl.flock(begin, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two examiners do not see each other
            note = os.read(begin, 4096)
        except BlockingIOError:
            return Alive()
        finally:
            os.close(begin)
        if note == TOMBSTONE:
            return NeverStarted()
        record = _exit_record(here)
        return Ended(record) if record else Lost(_agent(note))
    finally:
        os.close(here)


def remove(folder: Path) -> None:
    """Deletes a launch folder and all in it; no folder is fine. Raises FolderInUse while its holder lives."""
    with contextlib.suppress(FileNotFoundError):
        if (folder / "begin").exists() and isinstance(examine(folder), Alive):
            raise FolderInUse(str(folder))
        shutil.rmtree(folder)


def _exists(here: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=here, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _bury(here: int) -> bool:
    """Creates the tombstone, whole, if `begin` is not there; False if it now is."""
    name = f"tombstone.{os.getpid()}.{threading.get_native_id()}"
    with open(
        os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=here), "wb"
    ) as file:
        file.write(TOMBSTONE)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(name, "begin", src_dir_fd=here, dst_dir_fd=here)
    except FileExistsError:
        return False
    finally:
        os.unlink(name, dir_fd=here)
    os.fsync(here)
    return True


def _exit_record(here: int) -> ExitRecord | None:
    try:
        with open(os.open("exit", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=here), "rb") as file:
            return ExitRecord.from_json(json.loads(file.read()))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _agent(note: bytes) -> tuple[int, int] | None:
    try:
        ids = json.loads(note)
        if ids["boot_id"] == processes.boot_id() and ids["agent"]:
            return int(ids["agent"]), int(ids["start_time"])
    except (ValueError, KeyError, TypeError):
        pass
    return None
