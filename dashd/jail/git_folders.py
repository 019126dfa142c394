"""Git directories in folders that agents may write: who writes one says what git runs for its user, outside
all walls (hooks, filters, fsmonitor).

A `.git` of any kind is one, and so is a folder that looks like one to git (a bare repository). Links are not
followed. What lies in a folder that cannot be looked into is not known, so that folder counts as one too.
"""

import errno
import os

FOUND_MAX = 64
"""In all of an agent's folders: each is a mount of its own."""
ENTRIES_MAX = 2_000_000
"""Some seconds."""
_NAME = ".git"
_LOOKS = frozenset({"HEAD", "objects", "refs"})


class TooMany(Exception):
    """More than can be found, or kept read-only."""


def around(folder: str) -> str:
    """The git directory that a folder is, or lies in; empty where there is none. Blocking."""
    parts = folder.split("/")
    for count in range(2, len(parts) + 1):
        path = "/".join(parts[:count])
        if parts[count - 1] == _NAME or all(os.path.lexists(os.path.join(path, name)) for name in _LOOKS):
            return path
    return ""


def inside(folder: str, found_max: int = FOUND_MAX, entries_max: int = ENTRIES_MAX) -> list[str]:
    """The paths, seen from `folder`, of those below it. Raises TooMany; blocking."""
    found: list[str] = []
    waiting, seen = [""], 0
    while waiting:
        path = waiting.pop()
        try:
            with os.scandir(os.path.join(folder, path)) as listed:
                entries = {entry.name: entry for entry in listed}
        except OSError as error:
            found += [path] if path and error.errno == errno.EACCES else []
            continue  # gone by now, or nothing that anybody could name
        seen += len(entries)
        if path and (entries.keys() >= _LOOKS or not os.access(os.path.join(folder, path), os.X_OK)):
            found.append(path)
        else:
            found += [os.path.join(path, _NAME)] if _is_one(entries.pop(_NAME, None)) else []
            within = (entry.name for entry in entries.values() if entry.is_dir(follow_symlinks=False))
            waiting += [os.path.join(path, name) for name in within]
        if seen > entries_max:
            raise TooMany(f"{folder} has more than {entries_max} files, too many to look for git directories")
        if len(found) > found_max:
            named = ", ".join(ascii(each)[1:-1] for each in sorted(found)[:3])
            raise TooMany(f"{folder} holds more than {found_max} git directories, such as {named}")
    return sorted(found)


def _is_one(entry: os.DirEntry[str] | None) -> bool:
    return entry is not None and not entry.is_symlink()
