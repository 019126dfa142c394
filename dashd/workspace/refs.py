"""Refs in the user's repository: moved only from where they were expected, and believed only when read back.

Dash writes below `refs/dash/` and `refs/heads/dash/`, and lands on a branch when told to. A git that was
killed leaves its lock behind; a lock on a ref of ours is ours (operations on one agent are serial, and
nothing runs before recovery is through) and goes. The lock on all packed refs may be the user's, so it goes
only if nothing about it changed during a whole wait for it.
"""

import os
from pathlib import Path

import trio

from dashd.workspace import git
from dashd.workspace.erase import open_folder
from dashd.workspace.errors import GitFailed, RefMoved
from dashd.workspace.source import Source, read_ref

OURS = ("refs/dash/", "refs/heads/dash/")
OUR_LOCK_MS_MAX = 100  # nobody but us holds it, and we do one thing at a time
THEIR_LOCK_MS_MAX = 5000
_LOOKS = 50
_Seen = tuple[tuple[int, int, int] | None, ...]


async def update(source: Source, ref: str, new: str, old: str | None) -> None:
    """Moves `ref` from `old` (None: it must not exist) to `new`, and reads it back.

    A ref that is at `new` already is done: a crash came after the move. Raises RefMoved and GitFailed.
    """
    found = await read_ref(source, ref)
    if found == new:
        return
    if found != old:
        raise RefMoved(ref, old, found)
    failed: GitFailed | None = None
    try:
        await _change(source, ref, "update-ref", "--no-deref", ref, new, old or source.zero)
    except GitFailed as error:
        failed = error
    found = await read_ref(source, ref)
    if found == new:
        return
    if failed is not None and found == old:
        raise failed
    raise RefMoved(ref, new if failed is None else old, found)


async def pin(source: Source, ref: str, commit: str) -> None:
    """Has `ref`, which is ours, at the commit, wherever it was."""
    assert ref.startswith(OURS), ref
    await _change(source, ref, "update-ref", "--no-deref", ref, commit)


async def delete(source: Source, ref: str) -> None:
    """Removes `ref`, which is ours; nothing there is no error, but locks that a killed git has left go."""
    assert ref.startswith(OURS), ref
    if await read_ref(source, ref) is not None:
        await _change(source, ref, "update-ref", "--no-deref", "-d", ref)
        return
    _unlock(source.common_dir, ref)
    await _outwait(_packed(source))


def _packed(source: Source) -> list[Path]:
    return [source.common_dir / name for name in ("packed-refs.lock", "packed-refs.new")]


async def _outwait(lock: list[Path]) -> None:
    """Removes a lock, the first of these files, unless it goes or one of them changes meanwhile."""
    before = _look(lock)
    for _ in range(_LOOKS):
        if before[0] is None:
            return
        await trio.sleep(THEIR_LOCK_MS_MAX / 1000 / _LOOKS)
        if _look(lock) != before:
            return
    lock[0].unlink(missing_ok=True)


async def _change(source: Source, ref: str, *args: str) -> None:
    """Runs git; once more where what failed was a lock that a killed git had left."""
    packed = _packed(source)
    before = _look(packed)
    wait_ms = OUR_LOCK_MS_MAX if ref.startswith(OURS) else THEIR_LOCK_MS_MAX
    try:
        await git.run(source.writing, "-c", f"core.filesRefLockTimeout={wait_ms}", *args)
    except GitFailed as error:
        if ".lock': File exists" not in error.message:
            raise
        if "packed-refs.lock'" in error.message:
            if before[0] is None or _look(packed) != before:
                raise
            packed[0].unlink(missing_ok=True)
        elif not ref.startswith(OURS) or not _unlock(source.common_dir, ref):
            raise
        await git.run(source.writing, *args)


def _look(paths: list[Path]) -> _Seen:
    """What identifies each file; None for one that is not there."""
    seen: list[tuple[int, int, int] | None] = []
    for path in paths:
        try:
            found = path.lstat()
            seen.append((found.st_ino, found.st_size, found.st_mtime_ns))
        except OSError:
            seen.append(None)
    return tuple(seen)


def _unlock(common: Path, ref: str) -> bool:
    """Removes the lock file of a ref; no link is followed on the way to it."""
    *folders, name = ref.split("/")
    fd = os.open(common, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for folder in folders:
            inner = open_folder(fd, folder)
            os.close(fd)
            fd = inner
        os.unlink(f"{name}.lock", dir_fd=fd)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
