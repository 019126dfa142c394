"""Saves a workspace as a commit in the user's repository, before anything of it is removed.

`refs/dash/salvage/<agent>` is a commit on top of the base whose tree is the folder, byte for byte, with the
agent's own `.git` (as `dash-kept.git`) and a manifest of what a git tree cannot say. An earlier salvage of
the same agent stays its second parent, so nothing that was saved once goes. `restore` is the way back.
"""

from collections.abc import Set as AbstractSet
from pathlib import Path

import msgspec

from dashd import threads
from dashd.workspace import bundle, git, refs
from dashd.workspace.pack import Bundle, Objects
from dashd.workspace.place import Workspace
from dashd.workspace.source import read_ref
from dashd.workspace.tree import Limits, Snapshot, Unsaved, paths_of, snapshot

LIMITS = Limits()
_TIP = "refs/heads/salvage"


class Salvaged(msgspec.Struct, frozen=True):
    """What was saved, where; `bytes_stored` is what was new to the repository, uncompressed."""

    ref: str
    commit: str
    tree: str
    files: int
    bytes_stored: int
    unsaved: tuple[Unsaved, ...]
    nested: tuple[str, ...]


async def salvage(workspace: Workspace, *, at_ms: int, limits: Limits = LIMITS) -> Salvaged:
    """Saves the workspace as it is now; the agent must not be running.

    Nothing changes if its content is what was saved last. Raises TreeChanged, TreeTooLarge, GitFailed and
    RefMoved.
    """
    tracked, known = await base_content(workspace)
    ref, source = workspace.salvage_ref, workspace.source
    old = await read_ref(source, ref)
    old_tree = await git.text(source.reading, "rev-parse", f"{old}^{{tree}}") if old else ""
    file = await bundle.fresh_spool(workspace) / "salvage.bundle"
    found, commit, stored = await threads.run(_write, workspace, file, tracked, known, limits, old, at_ms)
    if found.tree == old_tree and old:
        commit, stored = old, 0
    else:
        await bundle.fetch(source, file, _TIP, fsck=False)
        await refs.update(source, ref, commit, old)
    await bundle.drop_spool(workspace)
    return Salvaged(ref, commit, found.tree, found.files, stored, found.unsaved, found.nested)


async def current(workspace: Workspace, *, git_too: bool = True, limits: Limits = LIMITS) -> Snapshot:
    """What the workspace is now, storing nothing; its `tree` is comparable with that of a salvage."""
    tracked, _ = await base_content(workspace)
    objects = Objects(workspace.source.object_format)
    return await threads.run(_look, workspace.path, objects, tracked, limits, git_too)


async def base_content(workspace: Workspace) -> tuple[AbstractSet[bytes], AbstractSet[str]]:
    """The paths of the base, and the ids of all that it consists of."""
    return paths_of(
        await git.lines(workspace.source.reading, "ls-tree", "-r", "-t", "-z", "--full-tree", workspace.base)
    )


def _look(
    folder: Path, objects: Objects, tracked: AbstractSet[bytes], limits: Limits, git_too: bool
) -> Snapshot:
    return snapshot(folder, objects, tracked, limits, git=git_too)


def _write(
    workspace: Workspace,
    file: Path,
    tracked: AbstractSet[bytes],
    known: AbstractSet[str],
    limits: Limits,
    old: str | None,
    at_ms: int,
) -> tuple[Snapshot, str, int]:
    """Reads the tree into a bundle, in a thread."""
    objects = Bundle(file, workspace.source.object_format, workspace.base, _TIP, known)
    try:
        found = snapshot(workspace.path, objects, tracked, limits)
        commit = objects.finish(_commit(workspace, found, old, at_ms))
        return found, commit, objects.bytes_stored
    finally:
        objects.close()


def _commit(workspace: Workspace, found: Snapshot, old: str | None, at_ms: int) -> bytes:
    parents = "".join(f"parent {parent}\n" for parent in (workspace.base, old) if parent)
    who = f"Dash <dash@localhost> {at_ms // 1000} +0000"
    return (
        f"tree {found.tree}\n{parents}author {who}\ncommitter {who}\n\n"
        f"salvage of {workspace.agent}: {found.files} files, {len(found.unsaved)} left out\n"
    ).encode()
