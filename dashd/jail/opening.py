"""Folders opened by inode: no link is followed anywhere, and what was opened can be known again.

What lies below a folder that agents write may be exchanged between any two looks at a name. Standard library
only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_OPENAT2 = 437
_BENEATH, _NO_SYMLINKS, _NO_MAGICLINKS = 0x08, 0x04, 0x02


class BadFolder(OSError):
    """A folder to be shown is not there, or not where it was."""


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


def reopened(path: str, device: int, inode: int) -> int:
    """A handle on that very folder, by its name as it is now. Raises BadFolder where it is another one."""
    fd = open_folder(path, "", path)
    found = os.fstat(fd)
    if (found.st_dev, found.st_ino) != (device, inode):
        os.close(fd)
        raise BadFolder(errno.ESTALE, f"somebody put another folder in its place: opening {path}")
    return fd


def made(path: str) -> int:
    """A handle on the folder, or file, of that name, or on a new folder. Raises OSError."""
    try:
        return open_folder(path, "", path)
    except BadFolder as error:
        if error.errno != errno.ENOENT:
            raise
    above = open_folder(os.path.dirname(path), "", path)
    try:
        os.mkdir(os.path.basename(path), dir_fd=above)
    finally:
        os.close(above)
    return open_folder(path, "", path)


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
