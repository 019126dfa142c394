"""The stage of a demonstration: the stand-in's own bill on disk, and its outages, in a folder of somebody's.

`dashd run --stage FOLDER` sets it, and no variable, no settings file and no row does. Only the built-in
stand-in stands on it: a dashd that has a real provider refuses it. `daemon.status` and `model.list` say that
it is there.

    FOLDER/bill.jsonl   one line an answer, written before its first byte is sent; a kill takes none back
    FOLDER/down/NAME    while this is there, whoever calls provider NAME finds nobody
"""

import os
from collections.abc import Collection
from pathlib import Path

import msgspec

from dashd.wire import errors

from .offline import Billed
from .upstream import UpstreamBroken

THINK_S = 0.3
"""How long the stand-in thinks on a stage, so that there is something to see, and to interrupt."""


class Stage:
    """What `OfflineModel` asks and tells on a stage. Its writes are small and not synced: they survive a
    kill, but no power loss.
    """

    def __init__(self, folder: Path) -> None:
        """Raises InvalidParams where there is no such folder: whoever stages something has made it."""
        self.folder = folder
        try:
            self._bill = os.open(
                folder / "bill.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise errors.InvalidParams(
                f"--stage {folder}: {error.strerror}",
                hint="it is for demonstrations and names a folder that is there; leave it out",
                path="stage",
            ) from None

    @property
    def warning(self) -> str:
        """For whoever asks how dashd is."""
        return f"on a stage, {self.folder}: the stand-in's pace and its outages are made (dashd run --stage)"

    def refuse_real(self, providers: Collection[str]) -> None:
        """Raises Conflict where there are real providers."""
        if providers:
            raise errors.Conflict(
                f"--stage is for the stand-in alone, and here are real providers: {', '.join(providers)}",
                hint="leave --stage out, or name an empty folder with --state-dir",
            )

    def bill(self, line: Billed) -> None:
        """Writes a line. Raises UpstreamBroken where the disk does not take it: what is not billed is not
        answered.
        """
        try:
            os.write(self._bill, msgspec.json.encode(line) + b"\n")
        except OSError as error:
            raise UpstreamBroken(f"provider {line.provider}, billing: {error.strerror}") from None

    def is_down(self, provider: str) -> bool:
        """Whether nobody is there."""
        return (self.folder / "down" / provider).exists()

    def close(self) -> None:
        """The bill stays."""
        os.close(self._bill)
