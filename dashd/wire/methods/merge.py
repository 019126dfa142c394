"""`merge.*`: the queue in which what agents brought back is put together."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from .table import Argv, Id, Key, Method, Page, Params, Result, Seq
from .worktree import Ref

MergeState = Literal["queued", "running", "merged", "conflict", "failed", "cancelled"]


class EnqueueMerges(Params):
    """Puts the work of agents in the queue, one merge each, in the order they are named."""

    swarm: Id
    agents: Annotated[list[Id], Meta(min_length=1, max_length=100)] | msgspec.UnsetType = msgspec.UNSET
    """All that have brought something back, by default."""
    target: Ref | msgspec.UnsetType = msgspec.UNSET
    """A branch below dash/<swarm>/; dash/<swarm>/result by default."""
    gates: Annotated[list[Argv], Meta(max_length=20)] = field(default_factory=list)
    """Commands that must end with 0 in the merged tree, each in a jail, such as ["make", "test"]."""
    idempotency_key: Key | msgspec.UnsetType = msgspec.UNSET


class Merge(Result):
    """One merge, and how it stands."""

    id: str
    swarm: str
    worktree: str
    """Whose work it is: an agent, or the swarm where all its agents share a clone; refs/heads/… is a branch
    of the user's, on top of which `target` is put."""
    target: str
    commit: str
    state: MergeState
    gates: list[list[str]]
    before: str | None
    """Where the target was."""
    result: str | None
    """Where it was seen to be afterwards."""
    problem: str
    files: list[str]
    """Of a conflict."""
    queued_at: str
    ended_at: str | None
    ahead: int = 0
    """How many into the same target come before it."""
    suggestion: str = ""
    """Of a conflict: what can be done about it, with the calls to type."""


class MergesQueued(Result):
    """The merges exist, durably; they run one after the other."""

    items: list[Merge]
    cursor: int
    known: list[Merge] = field(default_factory=list)
    """What was asked for and is in the queue, or merged, already."""
    notes: list[str] = field(default_factory=list)
    deduplicated: bool = False


class ListMerges(Params):
    """Asks for merges, newest first."""

    swarm: Id | msgspec.UnsetType = msgspec.UNSET
    states: list[MergeState] = field(default_factory=list)
    limit: Page = 20
    before: Seq = 0
    """`next` of the page before."""


class MergeList(Result):
    """One page; `next` is 0 at the end."""

    items: list[Merge]
    next: int


class GetMerge(Params):
    """Asks how a merge stands."""

    merge: Id


class CancelMerge(Params):
    """Takes a merge out of the queue, or ends one that runs; what is merged stays."""

    merge: Id


class MergeCancelled(Result):
    """How the merge stands; `changed` is false where it had ended before."""

    id: str
    state: MergeState
    changed: bool


METHODS = (
    Method(
        "merge.enqueue",
        EnqueueMerges,
        MergesQueued,
        "Queues what agents brought back to be merged.",
        changes=True,
        idempotent=False,
    ),
    Method("merge.list", ListMerges, MergeList, "Lists merges, newest first."),
    Method("merge.status", GetMerge, Merge, "Says how a merge stands."),
    Method("merge.cancel", CancelMerge, MergeCancelled, "Takes a merge out of the queue.", changes=True),
)
