"""Hard links that lead out of a folder: the same file, so whoever may write it here writes it there.

No wall sees them, because nothing is crossed. So they are looked for before a folder is given to agents, and
what cannot be looked through is not given either.
"""

import os
from dataclasses import dataclass

ENTRIES_MAX = 300_000
"""About a second."""


class CannotLook(Exception):
    """A folder cannot be looked through."""

    def __init__(self, why: str, hint: str) -> None:
        self.hint = hint
        super().__init__(why)


@dataclass(slots=True)
class _Inode:
    path: str
    left: int
    """Links that have not been met in the folder."""


def leading_out(folder: str, entries_max: int = ENTRIES_MAX) -> str:
    """What leads out of a folder, and why that matters; empty where nothing does. Follows no link.

    Raises CannotLook; blocking.
    """
    inodes: dict[tuple[int, int], _Inode] = {}
    waiting, seen = [folder], 0
    while waiting:
        looked_at = waiting.pop()
        try:
            with os.scandir(looked_at) as entries:
                for entry in entries:
                    seen += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        _meet(entry, inodes)
        except OSError as error:
            why = f"{looked_at} cannot be looked through for hard links: {error.strerror}"
            raise CannotLook(why, "name a folder that dashd may read all of") from None
        if seen > entries_max:
            why = f"{folder} has more than {entries_max} files, too many to look through for hard links"
            raise CannotLook(why, "give a narrower scope")
    outside = sorted(inode.path for inode in inodes.values() if inode.left > 0)
    return f"{outside[0]} is linked from outside {folder}: a change here is a change there" if outside else ""


def _meet(entry: os.DirEntry[str], inodes: dict[tuple[int, int], _Inode]) -> None:
    found = entry.stat(follow_symlinks=False)
    if found.st_nlink > 1:
        inodes.setdefault((found.st_dev, found.st_ino), _Inode(entry.path, found.st_nlink)).left -= 1
