"""`budget.*`: who may spend how much, and what was spent. Dollars here, integer nano-dollars inside."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from .table import Id, Key, Method, Params, Result, Seq

Usd = Annotated[float, Meta(ge=0, le=10_000, description="US dollars")]
Tokens = Annotated[int, Meta(ge=0, le=10**12)]
Action = Literal["notify", "pause", "kill", "none"]
Kind = Literal["project", "swarm", "agent", "task", "key"]


class Actions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """What happens when a share of a limit is spent."""

    at_75: Action = "notify"
    at_90: Action = "notify"
    at_100: Action = "pause"


class SetActions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """What is to happen from now on; what is left out stays as it is."""

    at_75: Action | msgspec.UnsetType = msgspec.UNSET
    at_90: Action | msgspec.UnsetType = msgspec.UNSET
    at_100: Action | msgspec.UnsetType = msgspec.UNSET


class GetBudget(Params):
    """Asks how a budget stands: `project`, or the id of a swarm, an agent, a task or a key."""

    budget: Id = "project"
    children: bool = False
    """With the nodes right under it."""


class BudgetNode(Result):
    """One budget as it stands."""

    id: str
    kind: Kind
    parent: str | None
    limit_usd: float | None
    allotment_usd: float | None
    """Shown and warned about, not a cap."""
    reserve_usd: float
    spent_usd: float
    unconfirmed_usd: float
    """The part of spent that no provider's usage has confirmed; it was charged in full."""
    held_usd: float
    left_usd: float | None
    overrun_usd: float
    limit_tokens: int | None
    spent_tokens: int
    held_tokens: int
    live: int
    frozen: str | None
    actions: Actions
    reached: int
    """The highest threshold told: 0, 75, 90 or 100."""
    blocked: str = ""
    """Why the next call waits or is refused, by this budget or one above it; empty where it may go."""


class Forecast(Result):
    """What a swarm will have cost in the end, if it goes on as it does."""

    spent_usd: float
    projected_usd: float | None
    low_usd: float | None
    high_usd: float | None
    burn_usd_per_min: float
    passes_limit_in_s: float | None
    text: str
    suggestions: list[str]


class BudgetStatus(Result):
    """A budget, what is under it, and where it is going."""

    budget: BudgetNode
    children: list[BudgetNode]
    forecast: Forecast | None
    options: list[str]
    """What can be done where it has stopped, as calls."""
    prices_date: str


class SetBudget(Params):
    """Sets what is given, at least one thing; lowering a limit below what is spent only blocks new calls."""

    budget: Id
    """A task's id too: its budget is made by this, and counts what it has spent before."""
    limit_usd: Usd | msgspec.UnsetType | None = msgspec.UNSET
    """null takes the limit away."""
    limit_tokens: Tokens | msgspec.UnsetType | None = msgspec.UNSET
    actions: SetActions | msgspec.UnsetType = msgspec.UNSET
    thaw: bool = False
    """Lets calls go again after an overrun has frozen it; set the model's price right first."""
    why: Annotated[str, Meta(max_length=500)] = ""


class ExtendBudget(Params):
    """Adds to a limit; what had stopped for it goes on. No limit comes to more than budget.set takes."""

    budget: Id
    usd: Annotated[float, Meta(gt=0, le=10_000, description="Dollars.")] | msgspec.UnsetType = msgspec.UNSET
    tokens: Annotated[int, Meta(gt=0, le=10**12)] | msgspec.UnsetType = msgspec.UNSET
    """Instead of usd, or with it."""
    why: Annotated[str, Meta(max_length=500)] = ""
    idempotency_key: Key | msgspec.UnsetType = msgspec.UNSET


class BudgetChanged(Result):
    """The budget after the call."""

    budget: BudgetNode
    resumed: int
    """Swarms and agents that had stopped and go on."""
    cursor: int
    deduplicated: bool = False
    """True where the call was a repetition; then nothing was added again."""
    approval: str = ""
    """What it waits for, where a gate wants a yes first; nothing was added yet then."""


class GetHistory(Params):
    """Asks for the changes of a budget, newest first."""

    budget: Id = "project"
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


class Change(Result):
    """One change of a budget."""

    at: str
    kind: str
    from_usd: float | None
    to_usd: float | None
    why: str
    from_tokens: int | None = None
    """The limit in tokens before and after, where there is one."""
    to_tokens: int | None = None
    actions: str = ""
    """Actions that were changed: `at_100 pause -> kill`."""


class History(Result):
    """The changes of a budget."""

    budget: str
    changes: list[Change]


class ExportBudget(Params):
    """Asks for every settled call, for billing."""

    swarm: Id | msgspec.UnsetType = msgspec.UNSET
    since: Seq = 0
    """Rows after this one; from `next`."""
    limit: Annotated[int, Meta(ge=1, le=5_000)] = 1_000


class CallRow(Result):
    """One settled try of a model call."""

    id: int
    at: str
    swarm: str | None
    agent: str | None
    task: str | None
    model: str
    provider: str
    input_tokens: int | None
    output_tokens: int | None
    usd: float
    basis: str
    confirmed: bool


class Overrun(Result):
    """One call that was billed above its worst case: its price, or what is known of its model, is wrong."""

    call: int
    """Its id, as `budget.export` and `model.calls` have it."""
    at: str
    budget: str
    """The node that paid and was frozen."""
    agent: str | None
    task: str | None
    model: str
    """As provider/model."""
    held_usd: float
    cost_usd: float
    over_usd: float


class Exported(Result):
    """Rows in order; `next` is 0 at the end."""

    rows: list[CallRow] = field(default_factory=list)
    next: int = 0


METHODS = (
    Method("budget.status", GetBudget, BudgetStatus, "Says how a budget stands and where it is going."),
    Method("budget.set", SetBudget, BudgetChanged, "Sets a budget's limits and actions.", changes=True),
    Method("budget.extend", ExtendBudget, BudgetChanged, "Adds to a budget.", changes=True, idempotent=False),
    Method("budget.history", GetHistory, History, "Lists a budget's changes."),
    Method("budget.export", ExportBudget, Exported, "Lists settled model calls, for billing."),
)
