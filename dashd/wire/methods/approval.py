"""`approval.*`: what waits for somebody's yes."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from .table import Data, Id, Method, Page, Params, Result, Seq

State = Literal["open", "allowed", "denied", "withdrawn"]
Kind = Literal["command", "path", "tool", "money", "landing", "depth"]
Note = Annotated[str, Meta(max_length=500)]


class ListApprovals(Params):
    """Asks for what waits, newest first."""

    state: State | Literal["any"] = "open"
    swarm: Id | msgspec.UnsetType = msgspec.UNSET
    before: Seq = 0
    """From `next`; 0 begins with the newest."""
    limit: Page = 20


class Approval(Result):
    """A request, and what became of it."""

    id: str
    gate: str
    kind: Kind
    what: str
    swarm: str | None
    agent: str | None
    asked_by: str
    context: Data
    state: State
    who: Literal["operator", "orchestrator"]
    """Who may decide: `orchestrator` where the operator has delegated the gate to its key."""
    two_person: bool
    votes: list[str]
    """Who has said yes."""
    asked_at: str
    deadline: str
    at_deadline: Literal["allow", "deny"]
    """What is decided where nobody does in time."""
    decided_by: str
    decided_at: str | None
    note: str


class ApprovalList(Result):
    """Requests, newest first; `next` is 0 at the end."""

    items: list[Approval] = field(default_factory=list)
    next: int = 0


class ResolveApprovals(Params):
    """Decides about requests, one or many at once: all of them, or none where one cannot be decided."""

    approvals: Annotated[list[Id], Meta(min_length=1, max_length=100)]
    decision: Literal["allow", "deny"]
    note: Note = ""
    """Why; who asked reads it."""


class Resolved(Result):
    """What one request came to."""

    id: str
    state: State
    changed: bool
    """False where it was decided before; that decision stands."""
    votes: list[str]
    waits_for: str = ""
    """What is still missing, such as a second person's yes."""


class ApprovalsResolved(Result):
    """What the requests came to, in the order of the call."""

    items: list[Resolved]
    cursor: int


METHODS = (
    Method("approval.list", ListApprovals, ApprovalList, "Lists what waits for somebody's yes."),
    Method(
        "approval.resolve",
        ResolveApprovals,
        ApprovalsResolved,
        "Allows or denies what waits, one or many at once.",
        changes=True,
    ),
)
