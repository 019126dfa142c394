"""Nothing of the demo stays behind: its processes are found by its own folder in their command lines.

Where everything went well there are none, or they are just ending. What does not end by itself in time is
killed, through a pidfd, so that no other process can be hit; a pager that shows a log of the demo is not one
of ours and lives on. Looks at /proc; elsewhere there is nothing to see.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from pathlib import Path

LEAVE_S_MAX = 5.0
_KILLED_MS_MAX = 5_000


def end(folder: Path, *, wait_s: float = LEAVE_S_MAX) -> int:
    """Waits for the processes that name `folder` to end and kills the rest; returns how many those were."""
    deadline, killed = time.monotonic() + wait_s, 0
    while pids := find(folder):
        for pid in pids:
            killed += _end(pid, folder, deadline)
    return killed


def find(folder: Path) -> list[int]:
    """The processes of this Python, except this one, whose command line names `folder`."""
    return [
        int(entry.name)
        for entry in Path("/proc").glob("[0-9]*")
        if int(entry.name) != os.getpid() and _names(int(entry.name), folder)
    ]


def _names(pid: int, folder: Path) -> bool:
    with contextlib.suppress(OSError):
        program, _, arguments = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")
        return program == os.fsencode(sys.executable) and os.fsencode(folder) in arguments
    return False


def _end(pid: int, folder: Path, deadline: float) -> bool:
    """Whether the process had to be killed."""
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # Looked at again now that the pid cannot become another's.
        if not _names(pid, folder):
            return False
        wait_ms = max(0.0, deadline - time.monotonic()) * 1_000
        poll = select.poll()
        poll.register(process, select.POLLIN)
        if poll.poll(wait_ms):
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGKILL)
        poll.poll(_KILLED_MS_MAX)
        return True
    finally:
        os.close(process)
