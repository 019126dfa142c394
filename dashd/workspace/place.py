"""Where a workspace lies and what stands about it on disk, so that a crash leaves nothing unknown.

    ROOT/.dash/<agent>.json       the record: written before anything else is made, removed after all is gone
    ROOT/.making-<agent>/         a clone on its way; it becomes the next by one rename
    ROOT/<repo>-dash-<agent>/     the workspace; all that an agent may write
    ROOT/.removing-<agent>/       on its way out: what was in it is saved
    ROOT/.spool/<agent>/          bundles and scratch of one operation, emptied before each

The state is not in the record but in which of the folders is there. Agents see their own tree alone.
"""

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dashd.workspace.errors import OutsideRoot
from dashd.workspace.source import Source

# Ids become parts of refs and file names.
_ID = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*", re.ASCII)
ID_CHARACTERS_MAX = 64


class Shared(msgspec.Struct, frozen=True):
    """A dependency folder of the user's, to be mounted read-only at `target` in the agent's jail."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Workspace:
    """One agent's own clone. `base` is the commit it started from, pinned by `base_ref`."""

    root: Path
    name: str
    swarm: str
    agent: str
    source: Source
    base: str
    shared: tuple[Shared, ...] = ()

    @property
    def path(self) -> Path:
        """The tree; the only folder in which the agent's jail may write."""
        return self.root / self.name

    @property
    def git_dir(self) -> Path:
        return self.path / ".git"

    @property
    def making(self) -> Path:
        return self.root / f".making-{self.agent}"

    @property
    def removing(self) -> Path:
        return self.root / f".removing-{self.agent}"

    @property
    def spool(self) -> Path:
        return self.root / ".spool" / self.agent

    @property
    def branch(self) -> str:
        """The agent's branch, in its clone and, once imported, in the user's repository."""
        return f"refs/heads/dash/{self.swarm}/{self.agent}"

    @property
    def base_ref(self) -> str:
        return f"refs/dash/base/{self.agent}"

    @property
    def salvage_ref(self) -> str:
        return f"refs/dash/salvage/{self.agent}"


def name_for(source: Source, agent: str) -> str:
    """`<repo>-dash-<agent>`."""
    repository = source.tree or source.common_dir
    return f"{repository.name.removesuffix('.git') or 'repository'}-dash-{agent}"


def check_id(word: str) -> str:
    """The id itself. Raises OutsideRoot for what cannot be a file name and a part of a ref."""
    if not _ID.fullmatch(word) or word.endswith(".lock") or len(word) > ID_CHARACTERS_MAX:
        raise OutsideRoot(f"{word!r} cannot name a workspace: letters, digits, single dots and dashes only.")
    return word


def _record(root: Path, agent: str) -> Path:
    return root / ".dash" / f"{agent}.json"


def encode(workspace: Workspace) -> bytes:
    """The workspace as JSON."""
    return msgspec.json.encode(workspace, enc_hook=str)


def decode(data: bytes) -> Workspace:
    """What `encode` was given; older records say more, which nobody reads."""
    return msgspec.json.decode(data, type=Workspace, dec_hook=lambda kind, value: kind(value))


def write_record(workspace: Workspace) -> None:
    """Makes the record durable, whole or not at all."""
    path = _record(workspace.root, workspace.agent)
    workspace.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_durably(path, encode(workspace))


def read_records(root: Path) -> list[Workspace]:
    """All workspaces of `root`, whatever state they are in; one that goes meanwhile is left out."""
    folder = root / ".dash"
    found = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        with contextlib.suppress(FileNotFoundError):
            found.append(decode(path.read_bytes()))
    return found


def remove_record(workspace: Workspace) -> None:
    """Forgets the workspace."""
    path = _record(workspace.root, workspace.agent)
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_durably(path: Path, data: bytes) -> None:
    """Replaces the file at `path`; a crash leaves the old one or the new one."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in the folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
