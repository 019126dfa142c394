"""Hard links that lead out of a folder: the same file, so whoever may write it here writes it there.

No wall sees them, because nothing is crossed. So they are looked for before a folder is given to agents: what
a package manager has linked from its store is shown read-only, anything else is a reason to refuse.
"""

import os
from dataclasses import dataclass, field

ENTRIES_MAX = 300_000
"""About a second; a larger tree is looked through so far, and that is said."""
PROTECTED = frozenset({"node_modules", ".venv", "venv", ".git", ".tox", ".direnv"})
"""Folders whose files tools link from elsewhere: uv, pnpm, a local `git clone`."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a look through a folder found."""

    refused: str | None
    """The first file that is linked from outside and lies in none of the folders below."""
    protect: tuple[str, ...]
    """Folders with such files that can be shown read-only instead."""
    complete: bool


@dataclass(slots=True)
class _Inode:
    left: int
    """Links that have not been met in the folder."""
    paths: list[str] = field(default_factory=list)


def leading_out(folder: str, entries_max: int = ENTRIES_MAX) -> Found:
    """Looks through a folder, following no link. Blocking. What cannot be read is passed over."""
    inodes: dict[tuple[int, int], _Inode] = {}
    complete = _walk(folder, inodes, entries_max)
    outside = sorted(path for inode in inodes.values() if inode.left > 0 for path in inode.paths)
    protect: set[str] = set()
    refused = None
    for path in outside:
        around = _protected(path, folder)
        if around is not None:
            protect.add(around)
        elif refused is None:
            refused = path
    return Found(refused, tuple(sorted(protect)), complete)


def _walk(folder: str, inodes: dict[tuple[int, int], _Inode], entries_max: int) -> bool:
    waiting, seen = [folder], 0
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    seen += 1
                    if seen > entries_max:
                        return False
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        _meet(entry, inodes)
        except OSError:
            continue
    return True


def _meet(entry: os.DirEntry[str], inodes: dict[tuple[int, int], _Inode]) -> None:
    found = entry.stat(follow_symlinks=False)
    if found.st_nlink > 1:
        inode = inodes.setdefault((found.st_dev, found.st_ino), _Inode(found.st_nlink))
        inode.left -= 1
        inode.paths.append(entry.path)


def _protected(path: str, folder: str) -> str | None:
    """The outermost folder around a path that is shown read-only instead."""
    parts = os.path.relpath(path, folder).split(os.sep)
    for count, part in enumerate(parts[:-1], 1):
        if part in PROTECTED:
            return os.path.join(folder, *parts[:count])
    return None
