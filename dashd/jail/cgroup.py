"""One launch's cgroup: made before anything runs in it, ended and removed as a whole by its holder.

    fork server  `make`: the folder and its limits         holder  `kill`, at the end `remove`
    forked child `enter`: itself, before it execs          record  `over`: whether memory was what ended it

The child enters by itself because what a process forks before it is moved stays where it was. The kernel
counts and kills whether or not dashd is there, so a daemon that comes back has nothing to take up but the
holder. A cgroup whose holder was killed is swept by the next dashd (cgroup_tree.py). Standard library only.

https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

from __future__ import annotations

import contextlib
import errno
import os
import time

CONTROLLERS = ("memory", "pids", "cpu")
MAYBE = frozenset({"memory.swap.max"})
"""Not there without swap accounting, and then there is no swap to be counted."""
REMOVE_S_MAX = 1.0
_LOOK_S = 0.001
_READ_BYTES = 4096


class Cgroup:
    """The cgroup of one launch; `path` is its folder, `limits` what is written into which of its files."""

    def __init__(self, path: str, limits: dict[str, str]) -> None:
        """Makes nothing yet."""
        self.path, self.limits = path, limits

    def make(self) -> None:
        """The folder, with its limits in force. Raises OSError; then nothing is left of it."""
        try:
            self._make()
        except FileNotFoundError:  # the first launch of this dashd
            make_parent(os.path.dirname(self.path))
            self._make()

    def _make(self) -> None:
        make_folder(self.path)
        try:
            for name, value in self.limits.items():
                self._limit(name, value)
        except OSError:
            remove_folder(self.path)
            raise

    def _limit(self, name: str, value: str) -> None:
        try:
            write(f"{self.path}/{name}", value)
        except FileNotFoundError:
            if name not in MAYBE:
                raise

    def enter(self) -> None:
        """Moves the calling process, and all that it will fork. Raises OSError."""
        write(f"{self.path}/cgroup.procs", "0")

    def kill(self) -> None:
        """SIGKILL to all in it, in one step that no fork can outrun; nothing where it is gone already."""
        with contextlib.suppress(OSError):
            write(f"{self.path}/cgroup.kill", "1")

    def over(self) -> str | None:
        """The bound for which the kernel ended it, in words.

        Only where its own limit was met: what ran out may also have been a limit around dashd, or the
        machine's memory, and then it is nobody's fault here.
        """
        try:
            events = dict(line.split() for line in read(f"{self.path}/memory.events").splitlines())
            if events.get("oom", "0") == "0" or events.get("oom_kill", "0") == "0":
                return None
            bound_mib = int(self.limits["memory.max"]) >> 20
        except (OSError, ValueError, KeyError):
            return None
        return f"memory {bound_mib} MiB exceeded (ended by the kernel, in its cgroup); --memory-mb raises it"

    def remove(self) -> None:
        """Kills what is left and removes the folder; what takes longer than REMOVE_S_MAX is for the sweep."""
        give_up_at = time.monotonic() + REMOVE_S_MAX
        while True:
            try:
                remove_folder(self.path)
                return
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > give_up_at:
                    return
            self.kill()
            time.sleep(_LOOK_S)


def make_parent(path: str) -> None:
    """A cgroup for cgroups with limits: every controller that we use is on below it. Raises OSError."""
    make_folder(path)
    write(f"{path}/cgroup.subtree_control", " ".join(f"+{name}" for name in CONTROLLERS))


def make_folder(path: str) -> None:
    """An empty cgroup, or the one that is there. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)


def remove_folder(path: str) -> None:
    """A cgroup that nobody is in; its files go with it. Raises OSError."""
    os.rmdir(path)


def write(path: str, text: str) -> None:
    """One write(2), as the kernel wants it. Raises OSError, with the path in it."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)


def read(path: str) -> str:
    """A small file of the kernel's. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _READ_BYTES).decode()
    finally:
        os.close(fd)
