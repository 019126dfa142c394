"""Folders inside folders, mounted on each other by descriptor before bubblewrap sees them.

bubblewrap looks a mount point up by name, with all the user's rights, and makes what is missing. In its own
empty root that is harmless. Below a folder that other agents write it is not: a link that one of them puts in
the way has it make a folder outside, or mount that agent's files over the jail's system folders.

So whatever is shown inside a folder of another mode gets there first, in user and mount namespaces of this
process: each mount is cloned from a descriptor, and attached to one. bubblewrap then shows the outer folder
with all that is in it. What has its outer folder's mode is shown by that one. Standard library only.

Some systems let bubblewrap make user namespaces and nobody else (AppArmor). There another bubblewrap, which
shows everything, makes those for `main`, and the jail's own is started inside. Which of the ways a machine
has is found out by going it (probe.py).
"""

from __future__ import annotations

import ctypes
import marshal
import os
import struct
import sys

from dashd.jail import opening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

    Nested = tuple[str, str, int, int, bool]
    """Where it is shown, where it is, its device and inode, whether it can be written."""

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_MAIN = f"import sys; sys.path.append({_ROOT!r}); from dashd.jail import nesting; nesting.main()"
_OUTER = ("--unshare-user", "--die-with-parent", "--cap-add", "CAP_SYS_ADMIN", "--dev-bind", "/", "/", "--")
ALLOW = f"let {os.path.realpath(sys.executable)} make user namespaces too (AppArmor: a profile with `userns`)"
_MARSHAL_VERSION = 2
_PR_CAP_AMBIENT, _CLEAR_ALL = 47, 4
_NEW_USER, _NEW_MOUNTS = 0x1000_0000, 0x0002_0000
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442  # the same numbers on every architecture
_CLONE, _EMPTY_PATH, _RECURSIVE = 0x1, 0x1000, 0x8000
_FROM_EMPTY_PATH, _TO_EMPTY_PATH = 0x04, 0x40
_READ_ONLY = struct.pack("=QQQQ", 0x1, 0, 0, 0)


def arranged(binds: Sequence[Sequence[Any]]) -> tuple[list[Sequence[Any]], list[Sequence[Any]]]:
    """Of binds (at, root, path, writable), those around others first: what bubblewrap mounts, and what comes
    before that: each folder that the one it is in would not show, or not in its mode, with the outermost of
    those.
    """
    kept: list[Sequence[Any]] = []
    outermost: dict[str, Sequence[Any]] = {}
    inside: list[Sequence[Any]] = []
    for bind in binds:
        around = [each for each in kept if _is_below(bind[0], each[0])]
        if not around:
            kept.append(bind)
        elif not _shows(max(around, key=lambda each: len(each[0])), bind):
            kept.append(bind)
            inside.append(bind)
            outermost[around[0][0]] = around[0]
    shown = [bind for bind in kept if bind not in inside]
    return shown, sorted([*outermost.values(), *inside], key=lambda each: each[0])


def source_of(bind: Sequence[Any]) -> str:
    """Where a bind's folder is outside."""
    at: str = os.path.join(bind[1], bind[2]).rstrip("/")
    return at


def _shows(outer: Sequence[Any], inner: Sequence[Any]) -> bool:
    return bool(
        outer[3] == inner[3] and source_of(outer) + inner[0][len(outer[0].rstrip("/")) :] == source_of(inner)
    )


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")


def mount(folders: Sequence[Nested], *, own: bool = True) -> None:
    """Has these be mounts on each other for this single-threaded process, outer ones first.

    In namespaces of its own, unless those that it is in are nobody else's. Raises OSError.
    """
    if own:
        _own_namespaces()
    clones = [_clone(opening.reopened(source, device, inode)) for _, source, device, inode, _ in folders]
    for (at, source, device, inode, writable), clone in zip(folders, clones, strict=True):
        if not writable:
            _call(_MOUNT_SETATTR, clone, b"", _EMPTY_PATH | _RECURSIVE, _READ_ONLY, len(_READ_ONLY))
        here = opening.reopened(at, device, inode) if at == source else opening.made(at)
        _call(_MOVE_MOUNT, clone, b"", here, b"", _FROM_EMPTY_PATH | _TO_EMPTY_PATH)
        os.close(here)
        os.close(clone)


def packed(folders: Sequence[Nested], *, own: bool) -> bytes:
    """What `main` reads."""
    return marshal.dumps([own, [list(each) for each in folders]], _MARSHAL_VERSION)


def command(python: str, spec: int, control: int, argv: Sequence[str], *, bwrap: str = "") -> list[str]:
    """A command that mounts before it becomes argv; with `bwrap` in namespaces that this one makes.

    `spec` is the descriptor of what is `packed`; on `control` is said why nothing was started.
    """
    outer = [bwrap, *_OUTER] if bwrap else []
    return [*outer, python, "-I", "-S", "-c", _MAIN, str(spec), str(control), *argv]


def main() -> NoReturn:
    """Run by `command`; no capability gets past it."""
    spec, control, argv = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    with open(spec, "rb") as file:
        own, folders = marshal.load(file)
    try:
        mount(folders, own=own)
        ctypes.CDLL(None).prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
        os.execv(argv[0], argv)
    except OSError as error:
        os.write(control, failure_text(error, folders).encode("utf-8", "replace"))
    finally:
        os._exit(127)


def failure_text(error: OSError, folders: Sequence[Nested]) -> str:
    """Why it could not be done; what opening.py says is said as it is."""
    if isinstance(error, opening.BadFolder):
        return str(error.strerror)
    return f"{error.strerror}: {folders[1][0]}, inside another folder, cannot be mounted safely here"


def _own_namespaces() -> None:
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_USER | _NEW_MOUNTS) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _clone(folder: int) -> int:
    clone = _call(_OPEN_TREE, folder, b"", _CLONE | os.O_CLOEXEC | _EMPTY_PATH | _RECURSIVE)
    os.close(folder)
    return clone


def _call(number: int, *arguments: int | bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    passed = [ctypes.c_char_p(each) if isinstance(each, bytes) else ctypes.c_long(each) for each in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *passed)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
