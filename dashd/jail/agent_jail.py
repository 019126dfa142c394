"""A planned jail made ready by the fork server: folders opened by inode, options and policy in memory.

Whoever starts the program (a holder's child, or a leash's) inherits `fds`, calls `enter` and executes
`command`; the first thing that runs is bubblewrap, or the stage where there is none. Every folder travels to
the stage by inode as well, which is the last to look whether it is still the one. Standard library only.
"""

from __future__ import annotations

import _frozen_importlib_external
import contextlib
import ctypes
import errno
import functools
import marshal
import os
import struct

from dashd.jail import nesting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_OPENAT2 = 437
_BENEATH, _NO_SYMLINKS, _NO_MAGICLINKS = 0x08, 0x04, 0x02
_MARSHAL_VERSION = 2
"""Read by every Python 3: the one inside need not be ours."""
_PASS_EVERYTHING = struct.pack("HBBI", 0x06, 0, 0, 0x7FFF_0000)
"""A filter that refuses nothing. bubblewrap's first process inside sets it after it was tied to its parent's
life, and the stage looks for it there."""


class BadFolder(OSError):
    """A folder to be shown is not there, or not where it was."""


class AgentJail:
    """One jail that is about to be entered."""

    def __init__(self, jail: dict[str, Any]) -> None:
        """`jail` is `launch.plan`'s."""
        self._jail = jail
        self.fds: list[int] = []
        self._binds: list[str] = []
        self._shown: list[tuple[str, int, int, bool]] = []
        self._nested: list[tuple[str, bool]] = []

    def prepare(self, argv: Sequence[str], files: Sequence[str], env: Mapping[str, str]) -> None:
        """Opens all that entering will need. Raises OSError; `close` afterwards, in either case."""
        if self._jail.get("scratch"):
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._jail["scratch"], 0o700)
        fds = {each[0]: self._open(*each) for each in self._jail["binds"]}
        if self._jail["bwrap"]:
            self._arrange(fds)
        policy = {
            **self._jail["policy"],
            "shown": self._shown,
            "argv": list(argv),
            "files": list(files),
            "env": dict(env),
        }
        self._policy = self._in_memory(_stage_modules() + marshal.dumps(policy, _MARSHAL_VERSION))
        if self._jail["bwrap"]:
            passing = self._in_memory(_PASS_EVERYTHING)
            options = [
                *("--seccomp", str(passing)),
                *self._jail["options"],
                *self._binds,
                *self._jail["finish"],
            ]
            self._options = self._in_memory(b"".join(os.fsencode(option) + b"\0" for option in options))

    def _open(self, at: str, root: str, path: str, writable: bool) -> int:
        fd = open_folder(root, path, at)
        self.fds.append(fd)
        found = os.fstat(fd)
        self._shown.append((at, found.st_dev, found.st_ino, bool(self._jail["bwrap"]) and not writable))
        return fd

    def _arrange(self, fds: dict[str, int]) -> None:
        """Who mounts what. Raises BadFolder for what can only be mounted where others may interfere."""
        shown, nested = nesting.arranged(self._jail["binds"])
        for at, root, path, _ in nested:
            if os.path.join(root, path).rstrip("/") != at:
                raise BadFolder(errno.EINVAL, f"{at} is shown inside another folder, and is not from there")
        self._nested = [(at, writable) for at, _, _, writable in nested]
        done = dict(self._nested)
        for at, _, _, writable in shown:
            option = "--bind" if writable or at in done else "--ro-bind"
            self._binds += [option, f"/proc/self/fd/{fds[at]}", at]

    def enter(self) -> None:
        """In the child that will execute `command`, right before it does. Raises OSError."""
        if not self._nested:
            return
        meant = {at: (device, inode) for at, device, inode, _ in self._shown}
        try:
            nesting.mount(self._nested, functools.partial(_reopened, meant))
        except BadFolder:
            raise
        except OSError as error:
            inner = self._nested[1][0]
            why = f"{error.strerror}: {inner}, inside another folder, cannot be mounted safely here"
            raise BadFolder(error.errno or errno.EPERM, why) from None

    def command(self, control: int) -> list[str]:
        """What to execute, with `fds` and `control` inherited."""
        stage = [*self._jail["stage"], str(self._policy), str(control)]
        if not self._jail["bwrap"]:
            return stage
        return [self._jail["bwrap"], "--args", str(self._options), "--", *stage]

    def close(self) -> None:
        """Where it was prepared; what inherited the descriptors has its own."""
        while self.fds:
            os.close(self.fds.pop())

    def _in_memory(self, content: bytes) -> int:
        fd = os.memfd_create("jail", os.MFD_CLOEXEC)
        self.fds.append(fd)
        with open(fd, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(fd, 0, os.SEEK_SET)
        return fd


@functools.cache
def _stage_modules() -> bytes:
    """The stage, compiled once in this process and not at each start: (magic number, [(name, code)])."""
    here = os.path.dirname(__file__)
    compiled = [(name, compile("", name, "exec")) for name in ("dashd", "dashd.jail")]
    for name in ("selftest", "stage"):
        path = os.path.join(here, f"{name}.py")
        with open(path, "rb") as file:
            compiled.append((f"dashd.jail.{name}", compile(file.read(), path, "exec", dont_inherit=True)))
    magic = _frozen_importlib_external.MAGIC_NUMBER
    return marshal.dumps((magic, marshal.dumps(compiled)), _MARSHAL_VERSION)


def open_folder(root: str, path: str, at: str) -> int:
    """A handle on the folder or file `path` beneath `root`. No link is followed anywhere: not below the root,
    and not on the way to it, which may lead through what another agent can write.

    https://man7.org/linux/man-pages/man2/openat2.2.html
    """
    top = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        above = _beneath(top, root.strip("/") or ".", root)
    finally:
        os.close(top)
    if not path:
        return above
    try:
        return _beneath(above, path, f"{at} beneath {root}")
    finally:
        os.close(above)


def _reopened(meant: dict[str, tuple[int, int]], at: str) -> int:
    fd = open_folder(at, "", at)
    found = os.fstat(fd)
    if (found.st_dev, found.st_ino) != meant[at]:
        os.close(fd)
        raise BadFolder(errno.ESTALE, f"somebody put another folder in its place: opening {at}")
    return fd


def _beneath(above: int, path: str, what: str) -> int:
    how = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    fd: int = libc.syscall(
        ctypes.c_long(_OPENAT2),
        ctypes.c_int(above),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.c_char_p(how),
        ctypes.c_size_t(len(how)),
    )
    if fd < 0:
        number = ctypes.get_errno()
        why = "a link is in the way" if number in (errno.ELOOP, errno.EXDEV) else os.strerror(number)
        raise BadFolder(number, f"{why}: opening {what}")
    return fd
