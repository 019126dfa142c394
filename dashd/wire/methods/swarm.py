"""`swarm.*`: many agents on one goal."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from .table import (
    Argv,
    FolderPath,
    Id,
    Key,
    Limits,
    Method,
    Name,
    Outcome,
    Page,
    Params,
    Priority,
    Result,
    Strategy,
    SwarmState,
    Text,
)

Item = Annotated[str, Meta(max_length=10_000)]


class CreateSwarm(Params):
    """Starts agents on a task."""

    task: Text
    """What is wanted, for every agent; `{task}` in argv."""
    agents: Annotated[int, Meta(ge=1, le=100)] = 1
    """How many work at once."""
    items: Annotated[list[Item], Meta(min_length=1, max_length=10_000)] | msgspec.UnsetType = msgspec.UNSET
    """One task each, `{item}` in argv; more than `agents` queue up. Without it, each agent gets one task."""
    argv: Argv | msgspec.UnsetType = msgspec.UNSET
    """The command of driver `command`; `{item}`, `{task}` and `{cwd}` are filled in, no shell is involved."""
    name: Name | msgspec.UnsetType = msgspec.UNSET
    strategy: Strategy = "parallel"
    """pipeline: items in order, each after the one before; map-reduce: the last item after all others."""
    driver: Name | msgspec.UnsetType = msgspec.UNSET
    cwd: FolderPath | msgspec.UnsetType = msgspec.UNSET
    """Where the agents work."""
    priority: Priority = "medium"
    limits: Limits = Limits()
    lease_s: Annotated[float, Meta(ge=0, le=86_400)] = 120.0
    """How long agents live on while dashd is away; 0 ends them with it."""
    idempotency_key: Key | msgspec.UnsetType = msgspec.UNSET


class SwarmCreated(Result):
    """The swarm exists, durably; its agents start now."""

    id: str
    name: str
    state: SwarmState
    agents: int
    tasks: int
    strategy: Strategy
    driver: str
    why_driver: str
    cursor: int
    """Wait for events from here: `event.wait {since: cursor, swarm: id}`."""
    notes: list[str] = field(default_factory=list)
    deduplicated: bool = False
    """True where the call was a repetition and this is the swarm that it had created."""


class ListSwarms(Params):
    """Asks for swarms, newest first."""

    states: list[SwarmState] = field(default_factory=list)
    limit: Page = 20
    cursor: Annotated[str, Meta(max_length=64)] = ""


class SwarmBrief(Result):
    """A swarm in a list."""

    id: str
    name: str
    state: SwarmState
    outcome: Outcome | None
    agents: int
    tasks: int
    tasks_ended: int
    created_at: str


class SwarmList(Result):
    """One page; `next_cursor` is empty at the end."""

    items: list[SwarmBrief]
    next_cursor: str
    total: int


class GetSwarm(Params):
    """Asks how a swarm stands."""

    swarm: Id


class Swarm(Result):
    """How a swarm stands at one instant. Tasks and agents are counted apart, by state."""

    id: str
    name: str
    state: SwarmState
    outcome: Outcome | None
    ending: bool
    """It is being destroyed; its last processes are still ending."""
    task: str
    strategy: Strategy
    driver: str
    why_driver: str
    argv: list[str]
    cwd: str
    priority: Priority
    limits: Limits
    lease_s: float
    agents_max: int
    agents: dict[str, int]
    tasks: dict[str, int]
    created_at: str
    ended_at: str | None
    duration_s: float
    cursor: int
    output_kept: bool = True
    """What its agents printed can still be read; results and causes always can."""


class PauseSwarm(Params):
    """Holds a swarm: nothing new starts, what runs is stopped in place."""

    swarm: Id


class ResumeSwarm(Params):
    """Lets a paused swarm go on."""

    swarm: Id


class SwarmChanged(Result):
    """How the swarm stands after the call; `changed` is false where it stood so already."""

    id: str
    state: SwarmState
    changed: bool


class ScaleSwarm(Params):
    """Sets how many agents work at once; those above it finish what they run."""

    swarm: Id
    agents: Annotated[int, Meta(ge=1, le=100)]


class SwarmScaled(Result):
    """How many seats there are now; `leaving` seats end after their task."""

    id: str
    agents: int
    added: int
    removed: int
    leaving: int


class DestroySwarm(Params):
    """Ends a swarm and every process of it; open tasks are cancelled. What its agents printed is removed.

    For a swarm that has ended already `changed` says that its output was still kept, and goes now.
    """

    swarm: Id


class ReportSwarm(Params):
    """Asks for the account of a swarm, ended or not."""

    swarm: Id
    detail: Literal["concise", "full"] = "concise"
    """concise: results cut to 400 characters and the first 20 of them; full: 4,000 and 200."""


class Failure(Result):
    """A task that did not end well."""

    task: str
    agent: str | None
    item: str
    state: str
    cause: str
    attempts: int
    last_lines: str


class TaskResult(Result):
    """What a completed task returned."""

    task: str
    agent: str
    item: str
    result: str
    truncated: bool
    output_dropped: int = 0
    """Bytes of the agent's output that were not kept, so that the result may lack its end."""


class Report(Result):
    """The account of a swarm. `final` is false while tasks are open: then it is an interim report."""

    id: str
    name: str
    state: SwarmState
    outcome: Outcome | None
    final: bool
    summary: str
    """One sentence with the counts."""
    tasks: dict[str, int]
    agents: dict[str, int]
    attempts: dict[str, int]
    """total, retried, lost, late, and cut: those whose output was not kept whole."""
    duration_s: float
    cpu_s: float
    failures: list[Failure]
    results: list[TaskResult]
    left_out: int
    """Failures and results that did not fit."""
    follow_ups: list[str]
    """What to do next, as calls."""


METHODS = (
    Method(
        "swarm.create",
        CreateSwarm,
        SwarmCreated,
        "Creates a swarm of agents and starts it.",
        changes=True,
        idempotent=False,
    ),
    Method("swarm.list", ListSwarms, SwarmList, "Lists swarms, newest first."),
    Method("swarm.get", GetSwarm, Swarm, "Says how a swarm stands."),
    Method("swarm.pause", PauseSwarm, SwarmChanged, "Stops a swarm in place.", changes=True),
    Method("swarm.resume", ResumeSwarm, SwarmChanged, "Lets a paused swarm go on.", changes=True),
    Method("swarm.scale", ScaleSwarm, SwarmScaled, "Sets how many agents work at once.", changes=True),
    Method(
        "swarm.destroy",
        DestroySwarm,
        SwarmChanged,
        "Ends a swarm and all its processes, and removes what its agents printed.",
        changes=True,
        destructive=True,
    ),
    Method("swarm.report", ReportSwarm, Report, "Gives the account of a swarm: counts, failures, results."),
)
