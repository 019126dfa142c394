"""A shared clone of the user's repository for one agent, and what is left of one when dashd was killed.

`create` in order: the record, the pin (`refs/dash/base/<agent>`: no gc takes the base), the clone
under another name, the rename. What a crash leaves half-made, `recover` takes back. The clone has
a git directory of its own and borrows the user's objects; nothing in it can write to the user's repository.
"""

import dataclasses
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

import msgspec
import trio

from dashd import threads
from dashd.workspace import erase, git, place, refs, skeleton
from dashd.workspace.errors import GitFailed, WorkspaceError, WorkspaceExists
from dashd.workspace.place import Shared, Workspace
from dashd.workspace.source import Source

SHARED_FOLDERS = ("node_modules", ".venv")
_GLOB, _ESCAPED = re.compile(r"([\\*?\[\]!# ])"), r"\\\1"


class Recovered(msgspec.Struct, frozen=True):
    """What `recover` found: a creation taken back, a removal finished, or a tree that somebody took away."""

    workspace: Workspace
    found: Literal["half-made", "half-removed", "gone"]
    problem: str = ""
    """Why a ref in the user's repository could not be cleaned up; empty if it was."""


async def create(
    root: Path,
    source: Source,
    *,
    swarm: str,
    agent: str,
    base: str,
    shared: tuple[str, ...] = SHARED_FOLDERS,
    isolated: tuple[str, ...] = (),
) -> Workspace:
    """Makes the agent's workspace below `root`, on its branch at the commit `base`.

    `shared` names folders of the user's tree that the agent gets read-only, except those in `isolated`.
    Raises WorkspaceExists and GitFailed; after any failure nothing is left.
    """
    workspace = Workspace(
        root, place.name_for(source, agent), place.check_id(swarm), place.check_id(agent), source, base
    )
    if any(known.agent == agent for known in place.read_records(root)) or workspace.path.exists():
        raise WorkspaceExists(f"{agent} has a workspace already: {workspace.path}.")
    place.write_record(workspace)
    try:
        await refs.pin(source, workspace.base_ref, base)
        _lay_out(workspace)
        workspace = await _share(workspace, tuple(name for name in shared if name not in isolated))
        place.write_record(workspace)
        await _fill(workspace)
        workspace.making.rename(workspace.path)
        place.sync_folder(root)
    except BaseException:
        if workspace.path.is_dir():  # and perhaps not durably: nobody was told of it yet
            workspace.path.rename(workspace.making)
        with trio.CancelScope(deadline=trio.current_time() + git.DEADLINE_S, shield=True):
            await take_back(workspace)
        raise
    return workspace


async def recover(root: Path) -> list[Recovered]:
    """Takes back every half-made workspace and finishes every removal; to be run before agents are."""
    found = [await _recover(workspace) for workspace in place.read_records(root)]
    return [each for each in found if each is not None]


async def recover_one(root: Path, agent: str) -> Recovered | None:
    """The same for one agent, whose creation or removal has failed or whose tree was taken away."""
    known = [workspace for workspace in place.read_records(root) if workspace.agent == agent]
    return await _recover(known[0]) if known else None


async def _recover(workspace: Workspace) -> Recovered | None:
    if workspace.path.is_dir():
        return None
    state: Literal["half-made", "half-removed", "gone"] = "gone"
    if workspace.removing.is_dir():
        state = "half-removed"
    elif workspace.making.is_dir():
        state = "half-made"
    return Recovered(workspace, state, await take_back(workspace))


async def take_back(workspace: Workspace) -> str:
    """Removes all that stands for a workspace without a tree, the record last.

    Returns what kept the pin in the user's repository from going; a repository that is gone has none.
    """
    assert not workspace.path.exists()
    for folder, name in (
        (workspace.root, workspace.making.name),
        (workspace.root, workspace.removing.name),
        (workspace.spool.parent, workspace.agent),
    ):
        await threads.run(erase.remove_tree, folder, name)
    problem = ""
    if workspace.source.common_dir.is_dir():
        try:
            await refs.delete(workspace.source, workspace.base_ref)
        except GitFailed as error:
            problem = error.message
    place.remove_record(workspace)
    return problem


async def _share(workspace: Workspace, names: tuple[str, ...]) -> Workspace:
    """The workspace with the user's folders that it is given."""
    reading = workspace.source.reading
    tops = await git.lines(reading, "ls-tree", "-z", "--name-only", "--full-tree", workspace.base)
    return dataclasses.replace(workspace, shared=tuple(_shared(workspace, names, tops)))


def _shared(workspace: Workspace, names: tuple[str, ...], tops: Collection[bytes]) -> Iterator[Shared]:
    """The user's real folders among `names` of which the base has nothing; `tops` is what it has on top."""
    for name in names:
        if "/" in name or name in ("", ".", "..", ".git"):
            raise WorkspaceError(f"{name!r} cannot be shared: it is not the name of a top folder.")
        folder = workspace.source.tree / name if workspace.source.tree else None
        if folder and folder.is_dir() and not folder.is_symlink() and os.fsencode(name) not in tops:
            yield Shared(folder, workspace.path / name)


def _place(workspace: Workspace, folder: Path) -> git.Place:
    return git.Place(folder / ".git", read=workspace.source.objects, write=(folder,), work_tree=folder)


def _lay_out(workspace: Workspace) -> None:
    """The folder of a clone on its way, with a git directory that is ours in every byte."""
    workspace.making.mkdir(mode=0o700)
    skeleton.write(
        workspace.making / ".git",
        workspace.source,
        branch=workspace.branch,
        commit=workspace.base,
        name=f"Dash agent {workspace.agent}",
    )


async def _fill(workspace: Workspace) -> None:
    """Writes the base's files, and a place to mount each shared folder at."""
    await git.run(_place(workspace, workspace.making), "reset", "--quiet", "--hard", workspace.base, "--")
    exclude = workspace.making / ".git/info/exclude"
    exclude.write_text(
        "".join(f"/{_GLOB.sub(_ESCAPED, shared.target.name)}\n" for shared in workspace.shared)
    )
    for shared in workspace.shared:
        (workspace.making / shared.target.name).mkdir()
