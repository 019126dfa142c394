"""A session's file, as its program writes it in a jail: read with care.

It is opened without following links, must be a plain file, and is read up to a bound.
"""

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from dashd.domain.session_tree import BYTES_MAX, NothingThere

NAMES_MAX = 1_000


def read_newest(folder: Path, newest: Callable[[Iterable[str]], str | None]) -> bytes:
    """The one of its files that `newest` names; a byte more than BYTES_MAX of one that is larger.

    Raises NothingThere where there is none, OSError. For a thread.
    """
    opened = _open(folder)
    try:
        with os.scandir(opened) as entries:
            names = [entry.name for entry, _ in zip(entries, range(NAMES_MAX), strict=False)]
        name = newest(names)
        if name is None:
            raise NothingThere
        return _read(name, opened)
    finally:
        os.close(opened)


def check_folder(folder: Path) -> None:
    """Raises NothingThere where it is not there, and OSError where it is a link, or no folder."""
    os.close(_open(folder))


def _open(folder: Path) -> int:
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NothingThere from None


def _read(name: str, folder: int) -> bytes:
    # NONBLOCK: a pipe in its place would wait for a writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(name, flags, dir_fd=folder), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{name!a} is no plain file")
        return file.read(BYTES_MAX + 1)
