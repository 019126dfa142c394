"""The row type of the method table and the field types that several nouns share."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta


class Params(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The root of every request: parameters by name, unknown names refused."""


class Result(msgspec.Struct, kw_only=True):
    """The root of every answer; a client ignores fields that it does not know."""


class Method(msgspec.Struct, frozen=True):
    """One row of the table."""

    name: str
    params: type[Params]
    result: type[Result]
    summary: str
    changes: bool = False
    """It changes state; such a method may carry an idempotency key."""
    destructive: bool = False
    """It can end work that runs, or what was kept for good."""
    idempotent: bool = True
    """Calling it twice with the same parameters leaves the same state as calling it once."""


Id = Annotated[str, Meta(min_length=1, max_length=64)]
Name = Annotated[str, Meta(min_length=1, max_length=100)]
Text = Annotated[str, Meta(min_length=1, max_length=10_000)]
Argument = Annotated[str, Meta(max_length=100_000)]
Argv = Annotated[list[Argument], Meta(min_length=1, max_length=1_000)]
FolderPath = Annotated[str, Meta(min_length=1, max_length=4_096, description="an absolute path")]
Key = Annotated[str, Meta(min_length=1, max_length=200, description="the same key never does the work twice")]
Page = Annotated[int, Meta(ge=1, le=100)]
Seq = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A place in a list that only grows; the store compares with no larger one."""
Priority = Literal["critical", "high", "medium", "low"]
PRIORITIES: tuple[Priority, ...] = ("critical", "high", "medium", "low")
"""By level: index 0 is served first."""
Strategy = Literal["parallel", "pipeline", "map-reduce"]
SwarmState = Literal["creating", "active", "paused", "completed", "failed", "destroyed"]
AgentState = Literal["idle", "spawning", "running", "paused", "completed", "failed", "killed"]
TaskState = Literal["waiting", "ready", "running", "retrying", "completed", "dead", "cancelled"]
Outcome = Literal["complete", "partial", "none"]
Liveness = Literal["alive", "dead", "unknown"]
Data = dict[str, Any]


class ModelWish(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """A model by what it must be."""

    capabilities: Annotated[list[Name], Meta(max_length=20)] = msgspec.field(default_factory=list)
    prefer: Literal["cost", "latency", "quality"] = "quality"
    cost_limit: Annotated[float, Meta(ge=0, le=10_000)] | None = None
    """The most that a million output tokens may cost, in dollars, in the tier that the call can reach."""
    fallback_allowed: bool = True
    """Whether the next best may be called where the best does not answer."""


Model = Annotated[str, Meta(min_length=1, max_length=500)] | ModelWish
"""A name, an alias, a chain `a -> b`, or what it must be. Answers show a wish as its JSON text."""


class Placement(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """What an added gateway must have to be given a swarm's work, and which of those with it is taken."""

    policy: Literal["least-loaded", "round-robin"] = "least-loaded"
    """least-loaded: a swarm stays together while there is room; round-robin: its agents are spread."""
    capabilities: Annotated[list[Name], Meta(max_length=20)] = msgspec.field(default_factory=list)
    """All of them, as `gateway.add` or `instance.add` was told."""
    region: Name | None = None
    version: Annotated[str, Meta(max_length=100)] | None = None
    """At least, as `2026.9`."""


class Limits(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """What one attempt of a task may use."""

    timeout_s: Annotated[float, Meta(ge=1, le=3_600)] = 300.0
    """Run time of one attempt; paused time does not count."""
    retries: Annotated[int, Meta(ge=0, le=10)] = 3
    grace_s: Annotated[float, Meta(ge=0, le=60)] = 5.0
    """Between the polite and the hard end of a process tree."""
    memory_mb: Annotated[int, Meta(ge=64, le=1_000_000)] = 4_096
    """Of all processes of an agent together."""
    processes: Annotated[int, Meta(ge=4, le=100_000)] = 512
    disk_mb: Annotated[int, Meta(ge=1, le=10_000_000)] = 10_240
    """By which the folders that an agent may write can grow."""
    cpu_s: Annotated[int, Meta(ge=1, le=86_400)] | msgspec.UnsetType = msgspec.UNSET
    """Processor time of each process; no bound of its own by default."""
