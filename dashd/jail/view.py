"""What an agent may see, write and use: a value, made from a scope, that launch.py turns into a jail.

The view is an allow list. What is not named here is not there: no other folder of the user's, no /run, no
/sys, no other process. Paths are the same inside and outside.
"""

import contextlib
import os
import pwd
import shutil
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

MIB, GIB = 1 << 20, 1 << 30
BYTES_A_FILE, FILES_MIN = 16 << 10, 100_000
PAGE_BYTES = 4096

HOME = "/run/home"
"""Inside: a sized tmpfs, empty at each start."""
TMP_PLACES = ("/tmp", HOME, "/dev/shm")
"""Each a tmpfs of its own, of a size."""
CODE = "/run/dash"
"""Inside: where Dash's own programs are, read-only."""
LISTENER_PORT = 8787
"""Inside: an agent's way to dashd, in a network namespace that holds nothing else."""

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
SETTINGS = (
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/passwd"),
    *("/etc/group", "/etc/nsswitch.conf", "/etc/localtime", "/etc/ssl", "/etc/ca-certificates", "/etc/pki"),
    *("/etc/mime.types", "/etc/terminfo", "/etc/os-release", "/etc/magic"),
)
"""Of /etc: what programs need and everybody may know."""


class Folder(NamedTuple):
    """A folder that is shown: `path` (relative, "" for itself) is looked up beneath `root`, by inode.

    No link is followed below the root, so whoever may write there cannot point it elsewhere.
    """

    root: str
    path: str = ""
    mounted: str = ""
    """Where it is shown, if that is elsewhere; without a mount namespace it is not shown at all."""

    @property
    def at(self) -> str:
        """The absolute path inside."""
        return self.mounted or os.path.join(self.root, self.path).rstrip("/") or "/"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one agent may use; what enforces each is in `launch.enforcers`."""

    memory_bytes: int = 4 * GIB
    """Of all its processes together."""
    processes: int = 512
    open_files: int = 4_096
    """Of each process."""
    file_bytes: int = 4 * GIB
    """Of each file it writes."""
    disk_bytes: int = 10 * GIB
    """That the folders it may write can grow by."""
    tmp_bytes: int = GIB // 2
    """Of /tmp, of its home and of shared memory, each."""
    cpu_s: int | None = None
    """Processor time of each process."""

    @property
    def files(self) -> int:
        """That the folders it may write can grow by: as many as file systems are usually made for."""
        return max(FILES_MIN, self.disk_bytes // BYTES_A_FILE)

    @property
    def tmp_files(self) -> int:
        """As `tmp_bytes`, with a page for each: one that is empty takes memory all the same."""
        return self.tmp_bytes // PAGE_BYTES


@dataclass(frozen=True, slots=True)
class View:
    """What one agent gets."""

    cwd: str
    write: tuple[Folder, ...] = ()
    read: tuple[Folder, ...] = ()
    bounds: Bounds = field(default_factory=Bounds)
    reserved_bytes: int = 0
    """Address space that a process may reserve on top of its memory; what is used of it is memory."""
    unix_sockets: bool = False
    """It may make Unix sockets; the only ones in reach are those in its folders."""
    alone: str = ""
    """A folder below which nobody else writes while it is started."""


def runtimes(environ: Mapping[str, str]) -> tuple[Folder, ...]:
    """Where programs outside the system's folders are: our Python, and the folders on PATH, read-only.

    A folder `…/bin` brings those beside it that hold its libraries, and nothing else around it; what a home
    has beside its own `bin` and `.local/bin` is its owner's (keys, sessions, mail), so of these none but
    `.local/lib` is brought. One that everybody may write in is left out.
    """
    homes = {os.path.realpath(environ.get("HOME") or "/nonexistent"), os.path.expanduser("~")}
    found = [os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix)]
    for entry in environ.get("PATH", "").split(os.pathsep):
        if os.path.isabs(entry) and os.path.isdir(entry) and not os.stat(entry).st_mode & stat.S_IWOTH:
            found += _installation(os.path.realpath(entry), homes)
    kept = {path for path in found if path and not is_system(path) and not _around(path, homes)}
    return tuple(Folder(path) for path in sorted(kept))


def _installation(folder: str, homes: set[str]) -> list[str]:
    around, name = os.path.split(folder)
    if name not in ("bin", "sbin") or around in homes:
        return [folder]
    names = ["lib", "lib64", "libexec"]
    if around not in {os.path.join(home, ".local") for home in homes}:
        names += ["include", "share"]
    beside = [os.path.join(around, each) for each in names]
    return [folder, *(path for path in beside if os.path.isdir(path) and os.path.realpath(path) == path)]


def is_system(path: str) -> bool:
    """Whether every jail shows this path anyway."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in SYSTEM)


def why_private(path: str) -> str:
    """Why no jail should show this folder for a program that lies in it; empty where it may."""
    homes = {os.path.realpath(os.path.expanduser("~"))}
    with contextlib.suppress(KeyError):  # a number without a name
        homes.add(os.path.realpath(pwd.getpwuid(os.getuid()).pw_dir))
    around, name = os.path.split(path)
    if _around(path, homes) or (around in homes and name.startswith(".")):
        return "every agent would read all that is there, keys and sessions too"
    if os.stat(path).st_mode & stat.S_IWOTH:
        return "everybody may write there"
    return ""


def _around(path: str, homes: set[str]) -> bool:
    """Whether a home is this folder, or in it."""
    return any(home == path or home.startswith(path.rstrip("/") + "/") for home in homes)


def python() -> str:
    """The interpreter for Dash's own programs inside: the system's, which every jail shows, or else ours."""
    return shutil.which("python3", path="/usr/bin:/bin") or os.path.realpath(sys.executable)
