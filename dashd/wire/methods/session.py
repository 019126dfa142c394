"""`session.*`: the conversations of agents, as trees that can be copied, cut and gone on with."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from .table import FolderPath, Id, Key, Method, Name, Page, Params, Result, Seq, Text

Step = Annotated[str, Meta(min_length=1, max_length=100)]
"""A step of a conversation, or the beginning of one's id."""
SessionState = Literal["new", "open", "paused", "waiting", "closed", "gone"]
"""new: nobody has begun it. waiting: its program was killed, and its task's next attempt goes on in it. gone:
only its checkpoints are left.
"""
Role = Literal["system", "user", "assistant", "tool", "summary", "note"]


class ListSessions(Params):
    """Asks for sessions, in order of creation."""

    swarm: Id | msgspec.UnsetType = msgspec.UNSET
    agent: Id | msgspec.UnsetType = msgspec.UNSET
    new: bool = False
    """Instead: all that were made and that nobody has begun."""
    limit: Page = 20
    cursor: Annotated[str, Meta(max_length=64)] = ""


class CreateSession(Params):
    """Makes a session before there is work: a task that begins from it is its own, and its name finds it."""

    name: Name
    cwd: FolderPath
    """The folder of the agents that may begin in it."""
    driver: Name | msgspec.UnsetType = msgspec.UNSET
    """One that keeps sessions; that which a swarm would have, if none is named."""


class NameSession(Params):
    """Names a session: by its id, that of an agent (its latest), or the name that it was made with."""

    session: Id


class Checkpoint(Result):
    """A copy of a conversation up to one step; it outlives dashd, its agent and the agent's output."""

    id: str
    kind: Literal["named", "automatic", "fork", "archive"]
    name: str
    step: str
    """After which goes on what goes on from it. It may hold more: later ones, and other branches."""
    steps: int
    bytes: int
    at: str


class Session(Result):
    """One conversation."""

    id: str
    swarm: str
    agent: str
    """Who has it now, or had it last."""
    task: str
    driver: str
    state: SessionState
    begun_from: str | None
    """The checkpoint that it is a copy of; None where it began with its task alone."""
    head: str | None
    """The checkpoint from which `session.resume` goes on; None: from where it has come to."""
    opened_at: str
    name: str = ""
    """As it was called by `session.create`."""
    cwd: str = ""
    """The folder that one is of which was made so."""
    checkpoints: list[Checkpoint] = field(default_factory=list)
    """Oldest first; in `session.get` alone."""


class SessionList(Result):
    """One page; `next_cursor` is empty at the end."""

    items: list[Session]
    next_cursor: str
    total: int


class TreeOfSession(Params):
    """Asks for the steps of a session."""

    session: Id
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 200
    """The latest ones."""
    checkpoint: Name | msgspec.UnsetType = msgspec.UNSET
    """Instead of the session as it is now: as it was in this checkpoint, by id or name."""


class StepSeen(Result):
    """One step."""

    id: str
    depth: int
    """It grows where a branch was left."""
    role: Role
    text: str
    """Its beginning, as it was written: whoever shows it makes it safe."""
    at: str | None
    parent: str | None


class SessionTree(Result):
    """What was said, parents before children; every branch in full."""

    session: str
    steps: list[StepSeen]
    more: int
    """Earlier ones that are not shown."""
    leaf: str | None
    """Where it goes on."""
    checkpoints: dict[str, list[str]]
    """Checkpoints by the step after which goes on what goes on from them."""


class ShowSession(Params):
    """Asks for what was said, in full, on the way to one step."""

    session: Id
    step: Step | msgspec.UnsetType = msgspec.UNSET
    """The leaf, where none is named."""
    limit: Annotated[int, Meta(ge=1, le=200)] = 20
    """The latest ones."""


class Said(Result):
    """A step and its text."""

    id: str
    role: Role
    text: str
    cut: bool = False


class SessionShown(Result):
    """Oldest first."""

    session: str
    steps: list[Said]
    more: int


class ExportSession(Params):
    """Asks for a whole conversation."""

    session: Id
    format: Literal["jsonl", "markdown"] = "markdown"
    offset: Seq = 0


class SessionExported(Result):
    """A piece of it; `next_offset` is None at the end. JSON lines come as the agent's program wrote them."""

    session: str
    text: str
    next_offset: int | None


class SessionPrimed(Result):
    """What a fresh session may begin with to know what this one knew; no model was asked."""

    session: str
    text: str


class CheckpointSession(Params):
    """Keeps a copy of a session as it is now, or as it was at a step."""

    session: Id
    name: Name | msgspec.UnsetType = msgspec.UNSET
    at: Step | msgspec.UnsetType = msgspec.UNSET
    idempotency_key: Key | msgspec.UnsetType = msgspec.UNSET


class CheckpointMade(Result):
    """The copy."""

    id: str
    session: str
    name: str
    step: str
    steps: int
    deduplicated: bool = False


class BranchSession(Params):
    """Keeps a copy up to a step, under a name, to switch to."""

    session: Id
    at: Step
    name: Name
    idempotency_key: Key | msgspec.UnsetType = msgspec.UNSET


class MoveSession(Params):
    """Says where a session that does not run goes on."""

    session: Id
    to: Step
    """A step, a checkpoint's id or its name."""


class SessionMoved(Result):
    """Where it goes on now."""

    session: str
    head: str
    step: str


class ForkSession(Params):
    """Begins a new agent with a copy of a conversation."""

    session: Id
    task: Text
    at: Step | msgspec.UnsetType = msgspec.UNSET
    """A step or a checkpoint; where it has come to, if none is named."""
    swarm: Id | msgspec.UnsetType = msgspec.UNSET
    """Where the new agent works; else in the session's own, or if that has ended, in a new swarm of one."""
    name: Name | msgspec.UnsetType = msgspec.UNSET
    idempotency_key: Key | msgspec.UnsetType = msgspec.UNSET


class SessionForked(Result):
    """The new agent, and from where it goes on."""

    agent: str
    swarm: str
    task: str
    checkpoint: str
    step: str
    """An earlier one than was asked for, where that one had tool calls open. Both are empty where what is
    migrated has not ended yet.
    """
    cursor: int
    deduplicated: bool = False
    approval: str = ""
    """What a new swarm waits for, where a gate asks about its budget."""
    notes: list[str] = field(default_factory=list)
    """On which files it works, where those are others than were spoken of."""


class MigrateSession(Params):
    """Goes on with a session in another swarm, once, when it has ended where it was."""

    session: Id
    swarm: Id
    task: Text | msgspec.UnsetType = msgspec.UNSET
    idempotency_key: Key | msgspec.UnsetType = msgspec.UNSET


class ResumeSession(Params):
    """Goes on with a session: lets a paused one run, or gives a closed one more to do."""

    session: Id
    task: Text | msgspec.UnsetType = msgspec.UNSET
    idempotency_key: Key | msgspec.UnsetType = msgspec.UNSET


class CompactSession(Params):
    """Has what was said in a session summed up, so that it goes on with less to read."""

    session: Id
    keep: Text | msgspec.UnsetType = msgspec.UNSET
    """What the summary should not leave out."""
    idempotency_key: Key | msgspec.UnsetType = msgspec.UNSET


class SessionChanged(Result):
    """What became of it; `task` is the one that goes on with it, where that is a new one.

    `state` is as it was when this was answered: what its agent was told is so once the world has followed,
    and an event after `cursor` says when it has.
    """

    session: str
    state: SessionState
    changed: bool
    agent: str
    task: str = ""
    swarm: str = ""
    """Where that one works."""
    approval: str = ""
    notes: list[str] = field(default_factory=list)
    """As `session.fork` gives them."""
    deduplicated: bool = False
    cursor: int = 0


class ForgetCheckpoint(Params):
    """Removes a copy that nothing goes on from, for good."""

    checkpoint: Id
    """Its id, as `session.get` shows it."""


class CheckpointForgotten(Result):
    """What is gone, and what is left."""

    id: str
    session: str
    name: str
    bytes: int
    kept_bytes: int
    """Of all checkpoints that there are still."""
    bytes_max: int
    """Of all that there may be."""


METHODS = (
    Method(
        "session.create",
        CreateSession,
        Session,
        "Makes a session for a task that comes later.",
        changes=True,
        idempotent=False,
    ),
    Method("session.list", ListSessions, SessionList, "Lists the conversations of agents."),
    Method("session.get", NameSession, Session, "Shows one conversation and its checkpoints."),
    Method("session.tree", TreeOfSession, SessionTree, "Shows a conversation as a tree of steps."),
    Method("session.show", ShowSession, SessionShown, "Shows what was said on the way to a step."),
    Method("session.export", ExportSession, SessionExported, "Hands out a whole conversation."),
    Method(
        "session.prime", NameSession, SessionPrimed, "Sums a session up for a fresh one, without a model."
    ),
    Method(
        "session.checkpoint",
        CheckpointSession,
        CheckpointMade,
        "Keeps a copy of a conversation.",
        changes=True,
        idempotent=False,
    ),
    Method(
        "session.branch",
        BranchSession,
        CheckpointMade,
        "Keeps a copy up to a step, under a name.",
        changes=True,
        idempotent=False,
    ),
    Method(
        "session.archive", NameSession, CheckpointMade, "Keeps a whole conversation for good.", changes=True
    ),
    Method(
        "session.forget",
        ForgetCheckpoint,
        CheckpointForgotten,
        "Removes a copy that nothing goes on from, for good.",
        changes=True,
        destructive=True,
    ),
    Method(
        "session.rewind", MoveSession, SessionMoved, "Has a session go on from an earlier step.", changes=True
    ),
    Method(
        "session.switch", MoveSession, SessionMoved, "Has a session go on in another branch.", changes=True
    ),
    Method(
        "session.restore", MoveSession, SessionMoved, "Has a session go on from a checkpoint.", changes=True
    ),
    Method(
        "session.fork",
        ForkSession,
        SessionForked,
        "Begins a new agent with a copy of a conversation.",
        changes=True,
        idempotent=False,
    ),
    Method(
        "session.migrate",
        MigrateSession,
        SessionForked,
        "Goes on with a session in another swarm.",
        changes=True,
        destructive=True,
        idempotent=False,
    ),
    Method("session.pause", NameSession, SessionChanged, "Holds the agent of a session.", changes=True),
    Method(
        "session.resume",
        ResumeSession,
        SessionChanged,
        "Lets a paused session run, or gives a closed one more to do.",
        changes=True,
        idempotent=False,
    ),
    Method(
        "session.compact",
        CompactSession,
        SessionChanged,
        "Has what was said in a session summed up.",
        changes=True,
        idempotent=False,
    ),
    Method(
        "session.terminate",
        NameSession,
        SessionChanged,
        "Ends the agent of a session; its checkpoints stay.",
        changes=True,
        destructive=True,
    ),
)
