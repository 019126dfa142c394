"""Workspaces without disk or git: what the runtime asks of them is written down, or refused."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from dashd.domain.repository import Terms
from dashd.runtime.workspaces import TakenIn
from dashd.workspace.diff import FileChange
from dashd.workspace.errors import GitFailed, WorkspaceError
from dashd.workspace.merge import Merged
from dashd.workspace.place import Shared, Workspace
from dashd.workspace.salvage import Salvaged
from dashd.workspace.source import Source

if TYPE_CHECKING:
    from dashd.workspace.adding import Left

BASE = "b" * 40
COMMIT = "c" * 40
TERMS = Terms("/repo", BASE)


class FakeWorkspaces:
    """See runtime.workspaces.Workspaces. `refusals` has an error for a verb, raised until it is taken out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[tuple[str, str]] = []
        self.more: list[dict[str, Any]] = []
        self.refusals: dict[str, WorkspaceError] = {}
        self.there: dict[str, Workspace] = {}
        self.imported = True
        """`save` finds all of it in the repository already."""
        self.unsaved: tuple[Any, ...] = ()
        """What `save` can only list."""
        self.nested: tuple[str, ...] = ()
        self.left: tuple[Left, ...] = ()
        """What `take_in` finds of repositories that the agent made."""
        self.gate: trio.Event | None = None
        """`make` waits for it."""
        self.tips: dict[str, str] = {}
        """Branches of the repository."""
        self.merging: trio.Event | None = None
        """`merge` waits for it."""
        self.moved: trio.Event | None = None
        """`merge` waits for it once it has moved its target."""
        self._locks: dict[str, trio.Lock] = {}

    def lock(self, owner: str) -> trio.Lock:
        return self._locks.setdefault(owner, trio.Lock())

    async def find(self, owner: str) -> Workspace | None:
        await trio.lowlevel.checkpoint()
        return self.there.get(owner)

    async def make(self, owner: str, swarm_id: str, terms: Terms, base: str, *, alone: bool) -> Workspace:
        self._ask("make", owner, base=base, alone=alone)
        if self.gate is not None:
            await self.gate.wait()
        source = Source(Path(terms.path), Path(terms.path, ".git"), Path(terms.path, ".git"))
        shared = (Shared(Path("/repo/node_modules"), self.root / f"repo-dash-{owner}/node_modules"),)
        made = Workspace(self.root, f"repo-dash-{owner}", swarm_id, owner, source, base, shared)
        return self.there.setdefault(owner, made)

    async def take_in(self, workspace: Workspace, message: str, *, within: Any, all_of_it: bool) -> TakenIn:
        self._ask("take_in", workspace.agent, message=message, within=within, all_of_it=all_of_it)
        await trio.lowlevel.checkpoint()
        made = FileChange("Makefile", "added", "100644", 1, 0, "", ("build script",))
        return TakenIn(COMMIT, [made], self.nested, self.left)

    async def save(self, workspace: Workspace, at_ms: int) -> Salvaged | None:
        self._ask("save", workspace.agent)
        await trio.lowlevel.checkpoint()
        return None if self.imported else Salvaged("refs/dash/salvage/x", COMMIT, "t", 3, 9, self.unsaved, ())

    async def remove(self, workspace: Workspace, *, give_up: bool) -> str:
        self._ask("remove", workspace.agent, give_up=give_up)
        await trio.lowlevel.checkpoint()
        del self.there[workspace.agent]
        return ""

    async def tip(self, terms: Terms, branch: str) -> str | None:
        await trio.lowlevel.checkpoint()
        if "tip" in self.refusals:
            raise self.refusals["tip"]
        return self.tips.get(branch)

    async def merge(self, terms: Terms, *, key: str, commit: str, target: str, **more: Any) -> Merged:
        self._ask("merge", key, commit=commit, **more)
        if self.merging is not None:
            await self.merging.wait()
        await trio.lowlevel.checkpoint()
        before = self.tips.get(target)
        await more["intend"](commit)
        self.tips[target] = commit
        if self.moved is not None:
            await self.moved.wait()
        return Merged(target, commit, before)

    async def rebase(self, terms: Terms, *, key: str, target: str, onto: str, **more: Any) -> Merged:
        self._ask("rebase", key, onto=onto, **more)
        await trio.lowlevel.checkpoint()
        await more["intend"](f"{self.tips[target]} on {onto}")
        before, self.tips[target] = self.tips[target], f"{self.tips[target]} on {onto}"
        return Merged(target, self.tips[target], before)

    async def land(self, terms: Terms, *, onto: str, commit: str) -> None:
        self._ask("land", onto)
        await trio.lowlevel.checkpoint()
        self.tips[onto] = commit

    def refuse(self, verb: str, why: str) -> None:
        self.refusals[verb] = GitFailed(why)

    def _ask(self, verb: str, owner: str, **more: Any) -> None:
        self.asked.append((verb, owner))
        self.more.append(more)
        if verb in self.refusals:
            raise self.refusals[verb]
