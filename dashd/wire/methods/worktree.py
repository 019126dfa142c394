"""`worktree.*`: the clones that agents work in; also what `swarm.*` and `agent.*` say of them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from .table import Id, Method, Name, Page, Params, Result

Names = Annotated[list[Name], Meta(max_length=100)]
Ref = Annotated[
    str, Meta(min_length=1, max_length=250, pattern=r"^(?![\s\S]*\s)[^\-\x00-\x20\x7f][^\x00-\x20\x7f]*$")
]
"""A branch, tag or commit."""
Cleanup = Literal["immediate", "on-success", "delayed", "manual"]
WorktreeState = Literal["creating", "ready", "saving", "removing", "removed"]


class ChangedFile(Result):
    """A file of what an agent brought back; `flags` say why to look at it before running anything."""

    path: str
    status: str
    flags: list[str] = field(default_factory=list)


class AgentFiles(Result):
    """What came back of one workspace."""

    worktree: str
    """Its agent, or the swarm where all share one."""
    branch: str
    commit: str | None
    """None: nothing has come back."""
    state: str
    files: list[ChangedFile]
    """Flagged ones first."""
    more_files: int
    salvage: str | None = None
    """The commit in which the folder was saved; `problem` says what is not in there."""
    problem: str = ""


class LandSwarm(Params):
    """Lands what a swarm's merges have come to; it waits for the end, unless somebody must say yes first."""

    swarm: Id
    onto: Ref | msgspec.UnsetType = msgspec.UNSET
    """A branch of the repository; by default the one that its checkout is on."""
    rebase: bool = False
    """Where that branch has moved on: puts the result on top of it first, behind the gates of its merges."""


class SwarmLanded(Result):
    """How the landing stands; a refused one is an error instead, with the paths that stood in the way."""

    id: str
    """Of the swarm."""
    state: Literal["waiting", "queued", "running", "landed"]
    onto: str
    commit: str
    before: str | None
    """Where the branch was; the same as `commit` where nothing was to be done."""
    approval: str = ""
    """What it waits for, where a gate wants a yes first."""


class ListWorktrees(Params):
    """Asks for worktrees, in order of creation."""

    swarm: Id | msgspec.UnsetType = msgspec.UNSET
    states: list[WorktreeState] = field(default_factory=list)
    limit: Page = 20
    cursor: Annotated[str, Meta(max_length=64)] = ""


class Worktree(Result):
    """One clone, and what is known of it."""

    id: str
    """Its agent's id, or the swarm's where all its agents share it."""
    swarm: str
    state: WorktreeState
    path: str
    branch: str
    """In the user's repository, once something has come back."""
    base: str
    commit: str | None
    """What has come back last."""
    files: int
    """In which that differs from the base."""
    flagged: list[str]
    """Those of them to look at before anything is run."""
    salvage: str | None
    """The commit in which the folder was saved last, as refs/dash/salvage/<id>."""
    problem: str
    """Why what was wanted last did not come about, or what was not saved or given up with it."""
    created_at: str
    removed_at: str | None
    due_at: str | None
    """When it will be saved and removed."""


class WorktreeList(Result):
    """One page; `next_cursor` is empty at the end."""

    items: list[Worktree]
    next_cursor: str


class CreateWorktree(Params):
    """Makes an agent's clone before its first task does."""

    agent: Id


class CleanupWorktree(Params):
    """Saves and removes clones in which nobody works any more."""

    worktree: Id | msgspec.UnsetType = msgspec.UNSET
    swarm: Id | msgspec.UnsetType = msgspec.UNSET
    """Instead: all of a swarm."""
    give_up: bool = False
    """Also what is too large to be saved, and is lost then."""


class SalvageWorktree(Params):
    """Saves a clone, all files and its .git, as a commit in the user's repository; it stays."""

    worktree: Id


class Worktrees(Result):
    """What the call has come to, one by one; `problem` says where something stayed as it was."""

    items: list[Worktree]
    cursor: int


class DiffAgent(Params):
    """Asks what an agent has changed, committed or not."""

    agent: Id
    patch_bytes: Annotated[int, Meta(ge=0, le=1_000_000)] = 65_536
    """The patch is cut there."""
    files: Annotated[int, Meta(ge=1, le=1_000)] = 200


class FileDiff(Result):
    """One changed file; lines are None for binary content."""

    path: str
    status: str
    lines_added: int | None
    lines_removed: int | None
    from_path: str = ""
    flags: list[str] = field(default_factory=list)
    """Why to look at it before running anything."""


class AgentDiff(Result):
    """What the agent's clone differs from its base in, as it is now."""

    agent: str
    worktree: str
    base: str
    files: list[FileDiff]
    more_files: int
    nested: list[str]
    """Repositories inside, which are not looked into."""
    patch: str
    patch_cut: bool


METHODS = (
    Method("worktree.list", ListWorktrees, WorktreeList, "Lists the clones that agents work in."),
    Method(
        "worktree.create",
        CreateWorktree,
        Worktrees,
        "Makes an agent's clone ahead of its task.",
        changes=True,
    ),
    Method(
        "worktree.cleanup",
        CleanupWorktree,
        Worktrees,
        "Saves and removes clones in which nobody works.",
        changes=True,
    ),
    Method(
        "worktree.salvage",
        SalvageWorktree,
        Worktrees,
        "Saves a clone in the user's repository.",
        changes=True,
    ),
)
