"""`swarm.*`: many agents on one goal."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from .budget import Overrun, Usd
from .table import (
    Argv,
    FolderPath,
    Id,
    Key,
    Limits,
    Method,
    Model,
    Name,
    Outcome,
    Page,
    Params,
    Placement,
    Priority,
    Result,
    Strategy,
    SwarmState,
    Text,
)
from .worktree import AgentFiles, Cleanup, LandSwarm, Names, Ref, SwarmLanded

Item = Annotated[str, Meta(max_length=10_000)]
Patterns = Annotated[list[Annotated[str, Meta(max_length=1_000)]], Meta(max_length=256)]
Folders = Annotated[list[FolderPath], Meta(max_length=256)]


class PlanSwarm(Params):
    """Asks what a swarm would cost; nothing is created."""

    task: Text
    """What is wanted, for every agent; `{task}` in argv."""
    agents: Annotated[int, Meta(ge=1, le=100)] = 1
    """How many work at once."""
    items: Annotated[list[Item], Meta(min_length=1, max_length=10_000)] | msgspec.UnsetType = msgspec.UNSET
    """One task each, `{item}` in argv; more than `agents` queue up. Without it, each agent gets one task."""
    argv: Argv | msgspec.UnsetType = msgspec.UNSET
    """For driver `command`: `{item}`, `{task}` and `{cwd}` are filled in, no shell."""
    name: Name | msgspec.UnsetType = msgspec.UNSET
    strategy: Strategy = "parallel"
    """pipeline: items in order, each after the one before; map-reduce: the last item after all others."""
    driver: Name | msgspec.UnsetType = msgspec.UNSET
    mode: Literal["jailed", "gateway"] | msgspec.UnsetType = msgspec.UNSET
    """Of driver openclaw. jailed: a jail for each agent (the default); gateway: one for all of them, quicker
    from task to task, but agents that run commands can reach each other. With unsafe_no_jail, they run in the
    gateways that were added, without walls of Dash's."""
    placement: Placement | msgspec.UnsetType = msgspec.UNSET
    """Which of the added gateways, or with driver pi of the instances."""
    cwd: FolderPath | msgspec.UnsetType = msgspec.UNSET
    """Where the agents work; with `repo` it is left out, or a folder in it."""
    repo: FolderPath | msgspec.UnsetType = msgspec.UNSET
    """A git repository: each agent works in a clone of its own, and its commits come back as a branch."""
    base: Ref | msgspec.UnsetType = msgspec.UNSET
    """The branch, tag or commit that work starts from; HEAD by default."""
    begin_from: Id | msgspec.UnsetType = msgspec.UNSET
    """A checkpoint of a session: each agent goes on from a copy of that conversation."""
    workspace: Literal["agent", "swarm"] | msgspec.UnsetType = msgspec.UNSET
    """agent: a clone each (the default); swarm: all work in one."""
    cleanup: Cleanup | msgspec.UnsetType = msgspec.UNSET
    """When clones are saved and removed, at the swarm's end; on-success keeps those of agents that failed."""
    shared: Names | msgspec.UnsetType = msgspec.UNSET
    """Dependency folders of the repository that agents get read-only; node_modules and .venv by default."""
    isolated: Names | msgspec.UnsetType = msgspec.UNSET
    """Those of them that each agent makes for itself."""
    priority: Priority = "medium"
    limits: Limits = Limits()
    lease_s: Annotated[float, Meta(ge=0, le=86_400)] = 120.0
    """How long agents live on while dashd is away; 0 ends them with it."""
    model: Model | msgspec.UnsetType = msgspec.UNSET
    """What the agents call: a name, an alias, a chain `a -> b`, or what it must be."""
    budget: Usd | msgspec.UnsetType = msgspec.UNSET
    """Dollars the swarm may spend in all; never passed."""
    agent_budget: Usd | Literal["even"] | msgspec.UnsetType = msgspec.UNSET
    """Each agent's cap in dollars, or `even`: its part of the budget (else only shown)."""
    agent_budgets: Annotated[dict[Name, Usd], Meta(max_length=100)] | msgspec.UnsetType = msgspec.UNSET
    """Caps of their own, by agent name or number; a name that no agent has is given to one."""
    reserve: Annotated[float, Meta(ge=0, le=100)] | msgspec.UnsetType = msgspec.UNSET
    """Percent of the budget that is kept for agents added later."""
    scope: Folders | msgspec.UnsetType = msgspec.UNSET
    """Folders that agents may write, relative to `cwd` or `repo`; all by default. All of it can be read."""
    read: Folders | msgspec.UnsetType = msgspec.UNSET
    """Folders outside `cwd` that can be read as well."""
    hosts: Annotated[list[Name], Meta(max_length=100)] | msgspec.UnsetType = msgspec.UNSET
    """Hosts of the internet in reach: exact names, `name:port`, or a preset such as npm; none by default."""
    allow_commands: Patterns | msgspec.UnsetType = msgspec.UNSET
    """Commands that agents run unasked, like `git *`; others wait for a yes. Guidance: no wall keeps them."""
    deny_commands: Patterns | msgspec.UnsetType = msgspec.UNSET
    """Commands that agents are refused, where their program asks first. Guidance: no wall keeps them."""
    unsafe_no_jail: bool = False
    """Starts agents with all rights of their user; it is recorded, and shown."""
    label: Name | msgspec.UnsetType = msgspec.UNSET
    """What its costs are counted under, with those of all swarms that say the same: a build, a branch."""


class CreateSwarm(PlanSwarm):
    """Starts agents on a task."""

    dry_run: bool = False
    """Prices it, creates nothing; the answer's `plan` is that of swarm.plan."""
    idempotency_key: Key | msgspec.UnsetType = msgspec.UNSET


class SwarmPlan(Result):
    """What a swarm would need. Money is an estimate by the assumptions that are listed; limits are exact."""

    agents: int
    tasks: int
    driver: str
    model: str | None
    """None where the driver calls no model that Dash knows of."""
    calls: int
    input_tokens: int
    output_tokens: int
    usd: float
    """All tasks."""
    task_usd: float
    start_usd: float
    """The least that lets every agent make its first call."""
    budget_usd: float | None
    reserve_usd: float
    agent_usd: float | None
    """What each agent gets that has no cap of its own; None where all have one."""
    agent_cap: bool
    """Whether that is a limit, or only shown; true where all have a cap of their own."""
    enough: bool
    """Whether the estimate fits the budget."""
    assumptions: list[str]
    brief: str
    """What one agent would be told."""
    notes: list[str]
    prices_date: str
    agent_caps_usd: dict[str, float] = field(default_factory=dict)
    """Agents with a cap of their own, by name."""


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
    plan: SwarmPlan | None = None
    """With `dry_run`: then `id` is empty and nothing was created."""
    approval: str = ""
    """What it waits for, where a gate wants a yes first; its state is `creating` then."""


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
    model: str | None = None
    budget_usd: float | None = None
    spent_usd: float = 0.0
    walls: Literal["required", "none"] = "none"
    """none: its agents have all rights of their user, which somebody asked for."""
    write: list[str] = field(default_factory=list)
    """Folders that its agents may write; relative ones to `cwd`."""
    read: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    repo: str | None = None
    base: str | None = None
    """The commit that work started from."""
    workspace: Literal["agent", "swarm"] | None = None
    cleanup: Cleanup | None = None
    mode: str = ""
    """Of its driver, where that has several: jailed or gateway."""
    placement: Placement | None = None
    """Where its agents run in added gateways, or it asked for some of the instances: in which."""
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
    money: str = ""
    """What was spent, of how much, and while it runs where that is going; empty where no model was called."""
    files: list[AgentFiles] = field(default_factory=list)
    """Where the swarm has a repository."""
    overruns: list[Overrun] = field(default_factory=list)
    """Calls that cost more than they held, the first of them."""
    overrun_usd: float = 0.0
    """What all of them cost more than they held."""


class GetCosts(Params):
    """Asks what a swarm has cost."""

    swarm: Id


class CostLine(Result):
    """Settled calls of one agent, model or day."""

    key: str
    """Empty where no agent made the call."""
    usd: float
    unconfirmed_usd: float
    """The part of it that no provider's usage has confirmed; it was charged in full."""
    calls: int
    input_tokens: int
    output_tokens: int
    share: float
    """Of the total, 0 to 1."""
    top: bool
    """The top consumer of its list."""


class QueueWait(Result):
    """How long tasks of one priority waited for their first run."""

    priority: Priority
    tasks: int
    mean_s: float
    longest_s: float


class SwarmCosts(Result):
    """What a swarm has cost so far. Sums are made of whole nano-dollars, so parts and total agree."""

    swarm: str
    usd: float
    unconfirmed_usd: float
    held_usd: float
    """For calls under way, at their worst."""
    calls: int
    input_tokens: int
    output_tokens: int
    agents: list[CostLine]
    models: list[CostLine]
    days: list[CostLine]
    compute_s: float
    """Processor time of all attempts."""
    active_s: float
    """Run time of all attempts, pauses left out."""
    queue_waits: list[QueueWait]
    prices_date: str
    labels: list[CostLine] = field(default_factory=list)
    """Its label, with what all swarms of that label have cost; empty without one."""


METHODS = (
    Method(
        "swarm.create",
        CreateSwarm,
        SwarmCreated,
        "Creates a swarm of agents and starts it.",
        changes=True,
        idempotent=False,
    ),
    Method("swarm.plan", PlanSwarm, SwarmPlan, "Prices a swarm before it is created."),
    Method("swarm.costs", GetCosts, SwarmCosts, "Says what a swarm has cost, by agent, model and day."),
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
    Method(
        "swarm.land",
        LandSwarm,
        SwarmLanded,
        "Moves a branch of the user's, and the files of its checkout, to what a swarm's merges have come to.",
        changes=True,
    ),
    Method("swarm.report", ReportSwarm, Report, "Gives the account of a swarm: counts, failures, results."),
)
