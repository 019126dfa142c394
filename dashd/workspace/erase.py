"""Removes a folder tree by descriptors: it never follows a link and never leaves the tree, whatever is in it.

An agent may have left folders without rights, or nested ten thousand deep; both go. What cannot go (a mount
point, a file of another user) raises OSError and leaves the rest where it is.
"""

import contextlib
import errno
import os
import stat
from pathlib import Path

from dashd.workspace.errors import OutsideRoot

DEPTH_MAX = 100
"""Folders deeper than this are moved up first, so that descriptors stay few."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(root: Path, name: str) -> None:
    """Removes `name`, an entry of the folder `root`; nothing there is no error."""
    if name in ("", ".", "..") or "/" in name:
        raise OutsideRoot(f"{name!r} is not the name of an entry of {root}.")
    try:
        top = os.open(root, _FOLDER)
    except FileNotFoundError:
        return
    try:
        _remove(top, name)
    finally:
        os.close(top)


def _remove(parent: int, name: str | bytes) -> None:
    try:
        os.unlink(name, dir_fd=parent)
        return
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM, errno.EACCES) or not _is_folder(parent, name):
            raise
    fd = open_folder(parent, name)
    try:
        while entries := os.listdir(fd):
            for entry in entries:
                _empty(fd, os.fsencode(entry), fd, 1)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)


def _empty(parent: int, name: bytes, top: int, depth: int) -> None:
    """Removes one entry; a folder at the limit becomes an entry of `top`, which is looked at again."""
    if not _is_folder(parent, name):
        os.unlink(name, dir_fd=parent)
        return
    if depth >= DEPTH_MAX:
        with contextlib.closing(_Folder(parent, name)):  # a folder without rights could not be moved
            pass
        os.rename(name, _free_name(top), src_dir_fd=parent, dst_dir_fd=top)
        return
    with contextlib.closing(_Folder(parent, name)) as folder:
        for entry in os.listdir(folder.fd):
            _empty(folder.fd, os.fsencode(entry), top, depth + 1)
    os.rmdir(name, dir_fd=parent)


class _Folder:
    """An open folder of which the owner may do everything."""

    def __init__(self, parent: int, name: bytes) -> None:
        self.fd = open_folder(parent, name)

    def close(self) -> None:
        os.close(self.fd)


def _free_name(top: int) -> bytes:
    taken = set(os.listdir(top))
    return next(name for n in range(len(taken) + 1) if (name := f"deep-{n}") not in taken).encode()


def _is_folder(parent: int, name: str | bytes) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def open_folder(parent: int, name: str | bytes) -> int:
    """A descriptor of the folder, to which its owner gets all rights first where they are missing."""
    path_fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        mode = stat.S_IMODE(os.fstat(path_fd).st_mode)
        if mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{path_fd}", mode | 0o700)
        return os.open(f"/proc/self/fd/{path_fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(path_fd)
