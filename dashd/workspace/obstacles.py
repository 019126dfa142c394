"""What lies in a checkout where a landing writes, and git does not track.

git takes an ignored file for something that may be overwritten, and clears a folder of ignored files away
where a file goes; to whoever wrote them they are files like any other. So the paths are looked at here, one
by one with lstat, no link followed, instead of being left to git's own check.
"""

import os
import stat
from collections.abc import Collection, Iterator

FOUND_MAX = 200


def find(tree: bytes, paths: Collection[bytes], known: Collection[bytes]) -> list[bytes]:
    """What would be lost when these paths are written or removed below `tree`; at most FOUND_MAX of them.

    `known` are the paths that git has, or that the caller judges itself. Found are other files where a path
    or a folder on the way to it must go, and whatever else a folder holds that lies where a file must go.
    """
    found: dict[bytes, None] = {}
    free: set[bytes] = set()  # folders that are there, or whose place nothing holds
    for path in paths:
        for blocking in _at(tree, path, known, free):
            found[blocking] = None
            if len(found) == FOUND_MAX:
                return list(found)
    return list(found)


def _at(tree: bytes, path: bytes, known: Collection[bytes], free: set[bytes]) -> Iterator[bytes]:
    for folder in _above(path):
        if folder in free:
            continue
        kind = _kind(os.path.join(tree, folder))
        if kind == stat.S_IFDIR:
            free.add(folder)
            continue
        if kind and folder not in known:
            yield folder
        return
    kind = _kind(os.path.join(tree, path))
    if kind == stat.S_IFDIR:
        yield from _within(tree, path, known)
    elif kind and path not in known:
        yield path


def _above(path: bytes) -> Iterator[bytes]:
    """The folders on the way to it, the outermost first."""
    at = path.find(b"/")
    while at > 0:
        yield path[:at]
        at = path.find(b"/", at + 1)


def _within(tree: bytes, folder: bytes, known: Collection[bytes]) -> Iterator[bytes]:
    """Everything in it but folders; a folder that cannot be read stands for what it may hold."""
    left = [folder]
    while left:
        at = left.pop()
        try:
            entries = sorted(os.scandir(os.path.join(tree, at)), key=lambda entry: entry.name)
        except OSError:
            yield at
            continue
        for entry in entries:
            path = os.path.join(at, entry.name)
            if entry.is_dir(follow_symlinks=False):
                left.append(path)
            elif path not in known:
                yield path


def _kind(target: bytes) -> int:
    """The kind of file; 0 for nothing. Raises OSError where that cannot be seen."""
    try:
        return stat.S_IFMT(os.lstat(target).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return 0
