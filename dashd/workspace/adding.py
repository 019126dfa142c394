"""All of a folder's files go into an index, and what git does not take is named.

Over one file that it cannot read, or whose name it refuses (`sub/.Git/x`), git gives up the whole; told to go
on, it ends as it does after any error, and says of folders that it cannot read nothing at all. So those are
looked for first, and afterwards git is asked what is not in the index as it is in the folder.
"""

import os
import stat
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from dashd.workspace import git, names, tree

_STATUS: dict[bytes, Literal["added", "modified"]] = {b"?": "added", b"C": "modified"}
_REFUSED, _SHUT = "git takes no file of that name", "it cannot be read"


class Left(msgspec.Struct, frozen=True):
    """What is not in the index as it is in the folder; `why` is empty where nothing in it says why."""

    path: bytes
    status: Literal["added", "modified"]
    why: str


class Aside(msgspec.Struct, frozen=True):
    """Folders that are not entered: repositories of their own, and those that cannot be read."""

    nested: tuple[bytes, ...]
    shut: tuple[bytes, ...]


class Added(msgspec.Struct, frozen=True):
    """What was left out, and what git said of it."""

    left: tuple[Left, ...]
    said: str


def aside(folder: Path) -> Aside:
    """Looks for them. Blocking."""
    shut: list[bytes] = []
    return Aside(tuple(tree.repositories(folder, shut=shut)), tuple(shut))


async def everything(place: git.Place, apart: Aside, *, deadline_s: float = git.DEADLINE_S) -> Added:
    """Adds all but those folders and ignored files. Raises GitFailed where git could not go on."""
    assert place.work_tree is not None
    passed_over = (*apart.nested, *apart.shut)
    spec = b"\0".join([b":/", *(b":(top,exclude,literal)" + path for path in passed_over)])
    add = ("add", "--all", "--ignore-errors", "--pathspec-from-file=-", "--pathspec-file-nul")
    done = await git.run(place, *add, stdin=spec, ok=(0, 1), deadline_s=deadline_s)
    left = [Left(path + b"/", "added", _SHUT) for path in apart.shut]
    if done.code:
        differ = ("ls-files", "-t", "-z", "--others", "--modified", "--exclude-standard")
        left += _left(place.work_tree, await git.lines(place, *differ), frozenset(passed_over))
    return Added(tuple(left), git.reason(done))


def _left(folder: Path, words: Sequence[bytes], passed_over: Collection[bytes]) -> list[Left]:
    found = {word[2:]: word[:1] for word in words}
    return [
        Left(path, _STATUS[tag], _why(os.fsencode(folder), path))
        for path, tag in sorted(found.items())
        if not any(each in passed_over for each in _around(path.rstrip(b"/")))
    ]


def _around(path: bytes) -> list[bytes]:
    parts = path.split(b"/")
    return [b"/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _why(folder: bytes, path: bytes) -> str:
    try:
        mode = os.lstat(os.path.join(folder, path)).st_mode
    except OSError:
        return ""
    *above, name = path.split(b"/")
    if any(map(_is_refused, above)) or _is_refused(name, link=stat.S_ISLNK(mode)):
        return _REFUSED
    return _SHUT if stat.S_ISREG(mode) and not mode & stat.S_IRUSR else ""


def _is_refused(name: bytes, *, link: bool = False) -> bool:
    return not name.startswith(names.PREFIX) and names.encode(name, link=link) != name
