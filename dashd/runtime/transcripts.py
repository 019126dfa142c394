"""Files of conversations: where agents write them, and the copies that are kept of them.

A copy is there, whole and durable, before its row is; one without a row is removed at the next start. How
what an agent writes is read, with care, is a matter of its driver's.
"""

import contextlib
import os
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from pathlib import Path

from dashd import threads
from dashd.drivers.driver import SessionFormat

NAME = "session"
"""Of the folder inside that of a launch."""
SUFFIX = ".jsonl"


class Transcripts:
    """See the module. Every method that waits does so for a thread, and is bounded by BYTES_MAX."""

    def __init__(self, folder: Path, launches: Path) -> None:
        """`folder` is Dash's own, for the copies; `launches` has a folder a launch."""
        self._folder = folder
        self._launches = launches

    async def live(self, form: SessionFormat, launch_id: str) -> bytes:
        """See SessionFormat."""
        return await form.live(self._launches / launch_id / NAME)

    async def kept(self, checkpoint_id: str) -> bytes:
        """A copy. Raises OSError."""
        return await threads.run(self._path(checkpoint_id).read_bytes)

    async def keep(self, checkpoint_id: str, data: bytes) -> None:
        """Durable when it returns. Raises OSError."""
        await threads.run(_write, self._path(checkpoint_id), data)

    def forget(self, checkpoint_ids: Iterable[str]) -> None:
        """Removes copies whose rows are gone; unlinking a few files is no work for a thread."""
        for each in checkpoint_ids:
            with contextlib.suppress(OSError):
                self._path(each).unlink(missing_ok=True)

    async def remove(self, checkpoint_ids: Sequence[str]) -> None:
        """The same for many."""
        await threads.run(self.forget, checkpoint_ids)

    async def recover(self, kept: Collection[str]) -> None:
        """Removes what has no row: a copy made just before a death."""
        await threads.run(partial(_sweep, self._folder, frozenset(kept)))

    def _path(self, checkpoint_id: str) -> Path:
        return self._folder / f"{checkpoint_id}{SUFFIX}"


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    partly = path.with_suffix(".tmp")
    try:
        with open(os.open(partly, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partly.rename(path)
    except OSError:
        partly.unlink(missing_ok=True)  # half of it takes room on a disk that is full
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _sweep(folder: Path, kept: frozenset[str]) -> None:
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            if path.suffix != SUFFIX or path.stem not in kept:
                path.unlink(missing_ok=True)
