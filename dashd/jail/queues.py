"""What the kernel may hold for processes in sockets and pipes: in nobody's RSS, and mostly shown nowhere.

    TCP      what is queued, by the tables of the tree's own network; of a shared one, its own sockets alone
    others   as much as buffers may hold at their default sizes (the filter lets nobody change them), beyond a
             number that any program may have

An upper bound, to be held against what the kernel itself has grown by. Of who hides (PR_SET_DUMPABLE) it is
all that its open files could be, and as many again where sockets may be on their way in other sockets: the
kernel allows a user so many of these. Blocking, for some 25 ms and 0.1 ms a socket; the caller has a thread.
"""

import contextlib
import os
from collections.abc import Iterable
from functools import cache

from .usage import FDS_MAX, Process, sends_files

FREE = 64
"""Sockets, and pipes, that do not count: a program with an event loop and some connections has fewer."""
HIDDEN_SOCKETS = 4_096
"""Of a process that hides, or whose turn does not come: an agent's open files by default."""
PIPE_BYTES = 1 << 16
_TABLE_BYTES_MAX = 8 << 20
_SOCKET_BYTES = 212_992


def queued_bytes(tree: Iterable[Process], proc: str = "/proc") -> int:
    """At most so much kernel memory is held in the sockets and pipes of a tree."""
    sockets: set[str] = set()
    pipes: set[str] = set()
    networks: dict[int, int] = {}
    hidden = in_flight = looked_at = 0
    for process in tree:
        if looked_at > FDS_MAX:
            hidden += HIDDEN_SOCKETS
            continue
        try:
            names = _open(f"{proc}/{process.pid}/fd")
            looked_at += len(names)
            for name in names:
                if name.startswith("socket:["):
                    sockets.add(name[8:-1])
                elif name.startswith("pipe:["):
                    pipes.add(name)
            in_flight = in_flight or HIDDEN_SOCKETS * sends_files(process.pid, proc)
            networks.setdefault(os.stat(f"{proc}/{process.pid}/ns/net").st_ino, process.pid)
        except PermissionError:
            hidden += HIDDEN_SOCKETS
        except OSError:  # it has ended
            continue
    tcp = sum(_tcp_bytes(pid, network, sockets, proc) for network, pid in networks.items())
    beyond = max(0, len(sockets) + hidden + in_flight - FREE)
    return tcp + beyond * _socket_bytes(proc) + max(0, len(pipes) - FREE) * PIPE_BYTES


def _open(folder: str) -> list[str]:
    found = []
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"{folder}/{fd}"))
    return found


@cache
def _socket_bytes(proc: str) -> int:
    """Of one, in both directions, as the kernel makes it."""
    total = 0
    for name in ("wmem_default", "rmem_default"):
        try:
            with open(f"{proc}/sys/net/core/{name}", encoding="ascii") as file:
                total += int(file.read())
        except (OSError, ValueError):
            total += _SOCKET_BYTES
    return total


def _tcp_bytes(pid: int, network: int, sockets: set[str], proc: str) -> int:
    """Sent and not received, received and not read. A closed one, or one not accepted yet, has no inode."""
    try:
        own = network != os.stat(f"{proc}/self/ns/net").st_ino
    except OSError:
        own = False
    total = 0
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(f"{proc}/{pid}/net/{table}", "rb") as file:
                lines = file.read(_TABLE_BYTES_MAX).decode("ascii").splitlines()[1:]
            for line in lines:
                fields = line.split(None, 10)
                if fields[3] != "0A" and (own or fields[9] in sockets):  # a listener's queue is a number
                    total += sum(int(each, 16) for each in fields[4].split(":"))
    return total
