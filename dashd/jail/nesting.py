"""Folders inside folders, mounted on each other by descriptor before bubblewrap sees them.

bubblewrap looks a mount point up by name, with all the user's rights, and makes what is missing. In its own
empty root that is harmless. Below a folder that other agents write it is not: a link that one of them puts in
the way has it make a folder outside, or mount that agent's files over the jail's system folders.

So whatever is shown inside a folder of another mode gets there first, in user and mount namespaces of this
process: each mount is cloned from a descriptor, and attached to one. bubblewrap then shows the outer folder
with all that is in it. What has its outer folder's mode is shown by that one. Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_NEW_USER, _NEW_MOUNTS = 0x1000_0000, 0x0002_0000
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442  # the same numbers on every architecture
_CLONE, _EMPTY_PATH, _RECURSIVE = 0x1, 0x1000, 0x8000
_FROM_EMPTY_PATH, _TO_EMPTY_PATH = 0x04, 0x40
_READ_ONLY = struct.pack("=QQQQ", 0x1, 0, 0, 0)


def arranged(binds: Sequence[Sequence[Any]]) -> tuple[list[Sequence[Any]], list[Sequence[Any]]]:
    """Of binds (at, root, path, writable), those around others first: what bubblewrap mounts, and what comes
    before that: each folder of another mode than the one it is in, with the outermost of those.
    """
    kept: list[Sequence[Any]] = []
    outermost: dict[str, Sequence[Any]] = {}
    inside: list[Sequence[Any]] = []
    for bind in binds:
        around = [each for each in kept if _is_below(bind[0], each[0])]
        if not around:
            kept.append(bind)
        elif bind[3] != max(around, key=lambda each: len(each[0]))[3]:
            kept.append(bind)
            inside.append(bind)
            outermost[around[0][0]] = around[0]
    shown = [bind for bind in kept if bind not in inside]
    return shown, sorted([*outermost.values(), *inside], key=lambda each: each[0])


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")


def mount(folders: Sequence[tuple[str, bool]], opened: Callable[[str], int]) -> None:
    """Moves this single-threaded process to namespaces where these (path, writable) are mounts on each other.

    Outer ones first. `opened` gives a handle of the folder that is meant, or raises. Raises OSError.
    """
    _own_namespaces()
    clones = [(at, writable, _clone(opened(at))) for at, writable in folders]
    for at, writable, clone in clones:
        if not writable:
            _call(_MOUNT_SETATTR, clone, b"", _EMPTY_PATH | _RECURSIVE, _READ_ONLY, len(_READ_ONLY))
        here = opened(at)
        _call(_MOVE_MOUNT, clone, b"", here, b"", _FROM_EMPTY_PATH | _TO_EMPTY_PATH)
        os.close(here)
        os.close(clone)


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
