"""What a jail finds of the outside, tried from within right before the agent starts; nothing passes.

The stage imports it as a file beside it, with every layer applied. It asks the kernel, never a policy: a path
is tried by opening it, a socket by connecting. Standard library only.
"""

from __future__ import annotations

import _socket as socket
import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

PROCESSES_MAX = 3  # bwrap's init, this one, and one that is just ending
CONNECT_S_MAX = 1.0


def openings(expected: dict[str, Any], control: int) -> list[str]:
    """Every way out that was found open, in words.

    `expected`: `files` outside, that may be neither read nor written, `sockets`, paths of listening Unix
    sockets, `ports` of the loopback address outside, and `isolated` where it has namespaces of its own.
    """
    found = [f"{path} can be read" for path in expected["files"] if _can_read(path)]
    found += [f"{path} can be written" for path in expected["files"] if _can_write(path)]
    found += [f"{path} can be connected to" for path in expected["sockets"] if _can_connect_path(path)]
    found += [f"port {port} outside can be connected to" for port in expected["ports"] if _can_connect(port)]
    found += _status()
    found += [f"descriptor {fd} of somebody else is open" for fd in _descriptors(control)]
    if expected["isolated"]:
        found += _isolation()
    return found


def _can_read(path: str) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    os.close(fd)
    return True


def _can_write(path: str) -> bool:
    """The file itself: a folder of that name may be the jail's own, and then nothing outside is written."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    os.close(fd)
    return True


def _can_connect_path(path: str) -> bool:
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError:
        return False
    try:
        sock.connect(path)
    except OSError as error:
        return error.errno == errno.EAGAIN  # its backlog is full: it was reached
    finally:
        sock.close()
    return True


def _can_connect(port: int) -> bool:
    try:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return False
    try:
        sock.settimeout(CONNECT_S_MAX)
        sock.connect(("127.0.0.1", port))
    except OSError:
        return False
    finally:
        sock.close()
    return True


def _status() -> Iterator[str]:
    """What the kernel says of this process: no way to more rights, no capabilities, a filter in force."""
    with open("/proc/self/status", encoding="ascii") as file:
        status = dict(line.split(":", 1) for line in file.read().splitlines())
    for name, right in (("NoNewPrivs", "1"), ("Seccomp", "2"), ("CapEff", "0" * 16), ("CapPrm", "0" * 16)):
        if status.get(name, "").strip() != right:
            yield f"{name} is{status.get(name, ' unknown')}"


def _descriptors(control: int) -> list[int]:
    """Open descriptors that are neither standard ones nor ours; the listing's own is closed by then."""
    return [fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2 and fd != control and _is_open(fd)]


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _isolation() -> Iterator[str]:
    """Namespaces of its own: nobody else's processes, no interface but the loopback one."""
    processes = [entry for entry in os.listdir("/proc") if entry.isdigit()]
    if len(processes) > PROCESSES_MAX:
        yield f"{len(processes)} processes are in sight"
    with open("/proc/net/dev", encoding="ascii") as file:
        names = [line.split(":")[0].strip() for line in file.read().splitlines()[2:]]
    if names != ["lo"]:
        yield f"network interfaces are in sight: {', '.join(names)}"
