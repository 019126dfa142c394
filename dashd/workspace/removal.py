"""Removes a workspace, once it is proven that nothing in it would be lost.

Proof is the id of the folder's tree, computed by reading all of it again: it must be that of the salvage in
the user's repository, or that of a commit there which has been imported. Then one rename takes the workspace
away, and what follows can be interrupted at any point: `clone.recover` finishes it.
"""

import os
import stat

from dashd.workspace import bundle, clone, git, place, salvage
from dashd.workspace.errors import GitFailed, NotSaved, OutsideRoot
from dashd.workspace.place import Workspace
from dashd.workspace.source import read_ref
from dashd.workspace.tree import Limits


async def remove(
    workspace: Workspace, *, accept_unsaved: bool = False, limits: Limits = salvage.LIMITS
) -> str:
    """Removes the workspace; its agent must have ended. Returns what could not be cleaned up, or nothing.

    `accept_unsaved` gives up what a salvage has only listed. `limits` are those that the salvage had.
    Raises OutsideRoot and NotSaved, after which nothing has changed.
    """
    _must_be_ours(workspace)
    if not await is_imported(workspace, limits=limits):
        await _must_be_salvaged(workspace, limits, accept_unsaved=accept_unsaved)
    workspace.path.rename(workspace.removing)
    place.sync_folder(workspace.root)
    return await clone.take_back(workspace)


def _must_be_ours(workspace: Workspace) -> None:
    """The workspace is a real folder in its root, and the root knows it."""
    known = [found for found in place.read_records(workspace.root) if found.agent == workspace.agent]
    if (
        not known
        or known[0].name != workspace.name
        or "/" in workspace.name
        or workspace.name.startswith(".")
    ):
        raise OutsideRoot(f"{workspace.path} is not a workspace of {workspace.root}; nothing was removed.")
    try:
        found, root = os.lstat(workspace.path), os.lstat(workspace.root)
    except FileNotFoundError:
        raise OutsideRoot(f"{workspace.path} is not there.") from None
    if not stat.S_ISDIR(found.st_mode) or not stat.S_ISDIR(root.st_mode) or found.st_dev != root.st_dev:
        raise OutsideRoot(f"{workspace.path} is not a plain folder of {workspace.root}; nothing was removed.")


async def _must_be_salvaged(workspace: Workspace, limits: Limits, *, accept_unsaved: bool) -> None:
    source, ref = workspace.source, workspace.salvage_ref
    commit = await read_ref(source, ref)
    if commit is None:
        raise NotSaved(f"{workspace.path} has not been saved; nothing was removed.", hint="Salvage it first.")
    saved = await git.text(source.reading, "rev-parse", "--verify", f"{commit}^{{tree}}")
    now = await salvage.current(workspace, limits=limits)
    if now.tree != saved:
        raise NotSaved(
            f"{workspace.path} has changed since it was saved as {ref}; nothing was removed.",
            hint="Salvage it again.",
        )
    lost = [unsaved for unsaved in now.unsaved if unsaved.is_content]
    if lost and not accept_unsaved:
        raise NotSaved(
            f"{len(lost)} entries of {workspace.path} are not in its salvage, the first is "
            f"{lost[0].path!a}: {lost[0].why}; nothing was removed.",
            hint="Copy what you need, then remove it with these given up.",
        )


async def is_imported(workspace: Workspace, *, limits: Limits = salvage.LIMITS) -> bool:
    """Whether all there is in the workspace is the commit that its branch in the user's repository is at.

    Only then nothing is lost without a salvage: no other file, commit, stash or staged content.
    """
    source = workspace.source
    commit = await read_ref(source, workspace.branch)
    if commit is None:
        return False
    agents = bundle.inside(workspace)
    try:
        refs = ("--objects", "--all", "--reflog", "HEAD", "--not", commit, "--")
        if await git.text(agents, "rev-list", "--max-count=1", *refs):
            return False
        if await git.text(agents, "diff-index", "--cached", "--name-only", commit, "--"):
            return False
    except GitFailed:
        return False
    now = await salvage.current(workspace, git_too=False, limits=limits)
    committed = await git.text(source.reading, "rev-parse", "--verify", f"{commit}^{{tree}}")
    return not now.unsaved and not now.nested and now.content == committed
