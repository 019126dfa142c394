"""The terms on which a swarm works on a repository, as its row keeps them, and the end of its workspaces."""

from typing import Literal

import msgspec

from . import folders

Cleanup = Literal["immediate", "on-success", "delayed", "manual"]
SHARED = ("node_modules", ".venv")
"""Dependency folders that agents get read-only where nothing else was said."""


class Terms(msgspec.Struct, frozen=True):
    """One swarm's; `path` is the repository's top folder, `base` a commit."""

    path: str
    base: str
    workspace: Literal["agent", "swarm"] = "agent"
    """Each agent has one of its own, or all of the swarm work in one."""
    cleanup: Cleanup = "on-success"
    cleanup_after_s: float = 0.0
    """With `delayed`: from the swarm's end."""
    shared: tuple[str, ...] = SHARED
    isolated: tuple[str, ...] = ()
    granted: tuple[str, ...] = ()
    """Folders outside that it may borrow objects from."""

    def owner(self, swarm_id: str, agent_id: str) -> str:
        """Whose the workspace is that an agent works in."""
        return agent_id if self.workspace == "agent" else swarm_id

    def inside(self, folder: str, top: str) -> str:
        """Where a folder of the repository is in a workspace with that top folder."""
        return folders.absolute(folders.relative(folder, self.path), top)


def to_json(terms: Terms) -> str:
    """For a row."""
    return msgspec.json.encode(terms).decode()


def from_json(text: str) -> Terms:
    """From a row."""
    return msgspec.json.decode(text, type=Terms)


def removal_after_s(terms: Terms, *, succeeded: bool, destroyed: bool) -> float | None:
    """When, counted from the swarm's end, a workspace is saved and removed; None where it is kept."""
    if destroyed or terms.cleanup == "immediate":
        return 0.0
    if terms.cleanup == "on-success":
        return 0.0 if succeeded else None
    return terms.cleanup_after_s if terms.cleanup == "delayed" else None


def result_branch(swarm_id: str) -> str:
    """Where a swarm's merges go."""
    return f"dash/{swarm_id}/result"


def branch_of(swarm_id: str, owner: str) -> str:
    """Where the work of one workspace comes back."""
    return f"dash/{swarm_id}/{owner}"
