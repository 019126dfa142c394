"""The workspaces of this daemon on disk: `dashd.workspace`, one operation at a time for each.

Nothing here reads or writes rows. A workspace is known by its owner, an agent or a swarm; whoever works on
one holds `lock(owner)`. An agent's run in its tree needs no lock: it is the rows that keep everything else
away from a tree that is run in.
"""

import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import trio

from dashd import threads
from dashd.domain.repository import Terms
from dashd.workspace import bundle, clone, commit, diff, land, merge, place, removal, salvage, source, tree
from dashd.workspace.adding import Left
from dashd.workspace.diff import Diff, FileChange
from dashd.workspace.errors import GitFailed, WorkspaceError
from dashd.workspace.merge import Gate, Intend, Merged
from dashd.workspace.place import Workspace
from dashd.workspace.salvage import Salvaged
from dashd.workspace.source import Source

MAKE_S_MAX = 300.0
"""For a clone; a repository whose files take longer to write is no place for a hundred agents."""
TAKE_S_MAX = 900.0
"""For a commit of what was left, a bundle and its import."""
SAVE_S_MAX = 1_800.0
T = TypeVar("T")


class TooSlow(WorkspaceError):
    """It took longer than it may."""


class DiskFailed(WorkspaceError):
    """The disk, or what is left of descriptors, did not allow it."""


class TakenIn(msgspec.Struct, frozen=True):
    """What has come back of a workspace: where its branch is now, and what differs from the base."""

    commit: str
    changes: list[FileChange]
    nested: tuple[str, ...] = ()
    """Folders that are repositories of their own: in no commit, only in the clone and in its salvage."""
    left: tuple[Left, ...] = ()
    """What git could not take: the same is true of it."""


class Workspaces:
    """All below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))  # a jail is given paths without links in them
        self._locks: dict[str, trio.Lock] = {}

    def lock(self, owner: str) -> trio.Lock:
        """Held around every operation on that workspace."""
        return self._locks.setdefault(owner, trio.Lock())

    async def recover(self) -> list[str]:
        """Takes back or finishes what a death has left half-done; gives what could not be, in words."""
        if not self.root.is_dir():
            return []
        found = await clone.recover(self.root)
        await merge.recover(self.root)
        landings = await land.recover(self.root)
        return [
            *(f"{each.workspace.name} ({each.found}): {each.problem}" for each in found if each.problem),
            *(f"landing on {each.landing.branch}: {each.problem}" for each in landings if each.problem),
        ]

    async def find(self, owner: str) -> Workspace | None:
        """The workspace, if it is there as a whole; what else is left of it goes. Raises WorkspaceError."""
        with _disk("looking for its workspace"):
            known = await threads.run(self._known, owner)
            if known is None:
                await clone.recover_one(self.root, owner)
            return known

    def _known(self, owner: str) -> Workspace | None:
        for each in place.read_records(self.root):
            if each.agent == owner and each.path.is_dir():
                return each
        return None

    async def source(self, terms: Terms) -> Source:
        """The repository as it is now. Raises WorkspaceError."""
        with _disk(f"looking at {terms.path}"):
            return await source.inspect(Path(terms.path), tuple(map(Path, terms.granted)))

    async def make(self, owner: str, swarm_id: str, terms: Terms, base: str, *, alone: bool) -> Workspace:
        """The workspace, made where it is not there; nobody else runs in it if `alone`: locks are stale then.

        Raises WorkspaceError.
        """
        known = await self.find(owner)
        if known is not None:
            if alone:
                await _within(MAKE_S_MAX, "clearing its locks", lambda: commit.clear_locks(known))
            return known

        async def create() -> Workspace:
            found = await self.source(terms)
            names = {"shared": terms.shared, "isolated": terms.isolated}
            return await clone.create(self.root, found, swarm=swarm_id, agent=owner, base=base, **names)

        return await _within(MAKE_S_MAX, "making its workspace", create)

    async def take_in(
        self, workspace: Workspace, message: str, *, within: Sequence[str] | None, all_of_it: bool
    ) -> TakenIn:
        """Brings back what was committed, with `all_of_it` also what was not, by a commit of Dash's.

        May be repeated after a death at any point. Raises WorkspaceError.
        """

        async def take() -> TakenIn:
            left: tuple[Left, ...] = ()
            if all_of_it:
                await commit.clear_locks(workspace)
                left = await commit.commit_rest(workspace, message)
            imported = await bundle.bring_back(workspace, within=within)
            await bundle.drop_spool(workspace)
            changes = await diff.between(workspace.source, workspace.base, imported.commit)
            nested = await threads.run(tree.repositories, workspace.path)
            return TakenIn(
                imported.commit,
                changes,
                tuple(os.fsdecode(path) for path in nested),
                left,
            )

        return await _within(TAKE_S_MAX, "bringing its work back", take)

    async def save(self, workspace: Workspace, at_ms: int) -> Salvaged | None:
        """Saves all of it; None where it is provably in the repository already. Raises WorkspaceError."""

        async def save() -> Salvaged | None:
            if await removal.is_imported(workspace):
                return None
            return await salvage.salvage(workspace, at_ms=at_ms)

        return await _within(SAVE_S_MAX, "saving it", save)

    async def remove(self, workspace: Workspace, *, give_up: bool) -> str:
        """Removes what is proven to be saved; gives what could not be cleaned up. Raises WorkspaceError."""
        return await _within(
            SAVE_S_MAX, "removing it", lambda: removal.remove(workspace, accept_unsaved=give_up)
        )

    async def tip(self, terms: Terms, branch: str) -> str | None:
        """Where a branch of the repository is. Raises WorkspaceError."""
        return await source.read_ref(await self.source(terms), f"refs/heads/{branch}")

    async def merge(
        self,
        terms: Terms,
        *,
        key: str,
        commit: str,
        target: str,
        at_ms: int,
        gates: Sequence[Gate],
        intend: Intend,
    ) -> Merged:
        """Puts a commit on top of a branch, or changes nothing. Raises WorkspaceError."""
        found = await self.source(terms)
        with _disk("merging"):
            return await merge.merge(
                self.root,
                found,
                key=key,
                commit=commit,
                target=f"refs/heads/{target}",
                start=terms.base,
                at_ms=at_ms,
                gates=gates,
                intend=intend,
            )

    async def rebase(
        self,
        terms: Terms,
        *,
        key: str,
        target: str,
        onto: str,
        at_ms: int,
        gates: Sequence[Gate],
        intend: Intend,
    ) -> Merged:
        """Puts a branch of Dash's on top of a commit, or changes nothing. Raises WorkspaceError."""
        found = await self.source(terms)
        with _disk("rebasing"):
            return await merge.rebase(
                self.root,
                found,
                key=key,
                target=f"refs/heads/{target}",
                onto=onto,
                at_ms=at_ms,
                gates=gates,
                intend=intend,
            )

    async def land(self, terms: Terms, *, onto: str, commit: str) -> None:
        """Moves the user's branch, files and all, or changes nothing. Raises WorkspaceError."""
        found, branch = await self.source(terms), f"refs/heads/{onto}"
        try:
            with _disk("landing"):
                await land.land(self.root, found, branch=branch, commit=commit)
        except (GitFailed, DiskFailed) as error:
            failed = error
        else:
            return
        # It may have ended half-way; going on, or finding that it had not begun, are both right.
        with _disk("landing"):
            for landed in await land.recover(self.root, found):
                if landed.outcome == "landed" and landed.landing.new == commit:
                    return
        raise failed

    async def look(self, workspace: Workspace, *, patch_bytes_max: int, files_max: int) -> Diff:
        """What has changed in it, committed or not. Raises WorkspaceError."""
        return await _within(
            MAKE_S_MAX,
            "comparing it",
            lambda: diff.diff(workspace, patch_bytes_max=patch_bytes_max, files_max=files_max),
        )


async def _within(limit_s: float, what: str, work: Callable[[], Awaitable[T]]) -> T:
    """Raises TooSlow past the limit, and DiskFailed."""
    try:
        with trio.fail_after(limit_s), _disk(what):
            return await work()
    except trio.TooSlowError:
        raise TooSlow(f"{what} took longer than {limit_s:g} s.") from None


@contextlib.contextmanager
def _disk(what: str) -> Iterator[None]:
    """Raises DiskFailed for what the disk refused."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise DiskFailed(f"{what}: {error.strerror or error}{where}.") from error


def spoken(path: str) -> str:
    """A file's name as text that can be encoded, whatever bytes it has."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
