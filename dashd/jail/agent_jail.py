"""A planned jail made ready by the fork server: folders opened by inode, options and policy in memory.

Whoever starts the program (a holder's child, or a leash's) inherits `fds`, calls `enter` and executes
`command`; the first thing that runs is bubblewrap, or the stage where there is none. Every folder travels to
the stage by inode as well, which is the last to look whether it is still the one. Standard library only.
"""

from __future__ import annotations

import _frozen_importlib_external
import contextlib
import errno
import functools
import marshal
import os
import struct

from dashd.jail import nesting
from dashd.jail.opening import BadFolder, open_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from dashd.jail.nesting import Nested

_MARSHAL_VERSION = 2
"""Read by every Python 3: the one inside need not be ours."""
_PASS_EVERYTHING = struct.pack("HBBI", 0x06, 0, 0, 0x7FFF_0000)
"""A filter that refuses nothing. bubblewrap's first process inside sets it after it was tied to its parent's
life, and the stage looks for it there."""


class AgentJail:
    """One jail that is about to be entered."""

    def __init__(self, jail: dict[str, Any]) -> None:
        """`jail` is `launch.plan`'s."""
        self._jail = jail
        self.fds: list[int] = []
        self._binds: list[str] = []
        self._shown: list[tuple[str, int, int, bool]] = []
        self._nested: list[Nested] = []

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
        if nested and not self._jail["nesting"]:
            self._refuse_shared(nested)
            shown, nested = [*shown, *(bind for bind in nested if bind not in shown)], []
        by_path = {at: (device, inode) for at, device, inode, _ in self._shown}
        self._nested = [(bind[0], nesting.source_of(bind), *by_path[bind[0]], bind[3]) for bind in nested]
        if nested:
            self._spec = self._in_memory(nesting.packed(self._nested, own=self._jail["nesting"] == "own"))
        done = {at for at, *_ in nested}
        for at, _, _, writable in shown:
            option = "--bind" if writable or at in done else "--ro-bind"
            self._binds += [option, f"/proc/self/fd/{fds[at]}", at]

    def _refuse_shared(self, nested: Sequence[Sequence[Any]]) -> None:
        """bubblewrap mounts by name, which is safe where nobody else can write."""
        alone = self._jail["alone"]
        for at, *_ in nested:
            if not alone or not f"{at}/".startswith(f"{alone}/"):
                inner = next(each[0] for each in nested[1:] if each[0].startswith(f"{at.rstrip('/')}/"))
                why = f"{inner} inside {at} cannot be mounted safely here, where others may write {at}"
                raise BadFolder(errno.EPERM, f"{why}: {nesting.ALLOW}, or give each agent a clone (--repo)")

    def enter(self) -> None:
        """In the child that will execute `command`, right before it does. Raises OSError."""
        if not self._nested or self._jail["nesting"] != "own":
            return
        try:
            nesting.mount(self._nested)
        except OSError as error:
            why = nesting.failure_text(error, self._nested)
            raise BadFolder(error.errno or errno.EPERM, why) from None

    def command(self, control: int, *, entering: bool = False) -> list[str]:
        """What to execute, with `fds` and `control` inherited; `entering`: without a call of `enter`."""
        stage = [*self._jail["stage"], str(self._policy), str(control)]
        if not self._jail["bwrap"]:
            return stage
        inner = [self._jail["bwrap"], "--args", str(self._options), "--", *stage]
        if not self._nested or not (entering or self._jail["nesting"] == "bwrap"):
            return inner
        outer = self._jail["bwrap"] if self._jail["nesting"] == "bwrap" else ""
        return nesting.command(stage[0], self._spec, control, inner, bwrap=outer)

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
    for name in ("calls", "selftest", "stage"):
        path = os.path.join(here, f"{name}.py")
        with open(path, "rb") as file:
            compiled.append((f"dashd.jail.{name}", compile(file.read(), path, "exec", dont_inherit=True)))
    magic = _frozen_importlib_external.MAGIC_NUMBER
    return marshal.dumps((magic, marshal.dumps(compiled)), _MARSHAL_VERSION)
