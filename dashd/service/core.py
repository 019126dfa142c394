"""What every service function is given: the store, the clock, the outside questions, and who calls."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from dashd.clock import Clock
from dashd.store.opening import Store
from dashd.store.registry import Look

from .place_ports import Gateways, Instances
from .ports import (
    Drivers,
    Keys,
    Models,
    Outside,
    Programs,
    Providers,
    Repositories,
    Sessions,
    Spools,
    Walls,
)

REFUSALS_PER_MINUTE_MAX: Final = 60
State = Literal["starting", "ready", "degraded", "stopping"]


@dataclass
class Daemon:
    """What the daemon knows about itself; written by `app`, read by `daemon.status`."""

    version: str
    pid: int
    epoch: int
    started_at_ms: int
    socket: str
    state: State = "starting"
    warnings: list[str] = field(default_factory=list)
    """What an operator should know and that lasts."""
    troubles: list[str] = field(default_factory=list)
    """What is wrong right now; while there is any, a ready daemon is degraded."""
    adopted: int = 0

    @property
    def shown_state(self) -> State:
        """The state as `daemon.status` gives it."""
        return "degraded" if self.state == "ready" and self.troubles else self.state


@dataclass
class Refusals:
    """How many refusals this minute's record has: a caller that is refused in a loop fills no disk."""

    until: float = 0.0
    recorded: int = 0
    dropped: int = 0

    def admit(self, now: float) -> dict[str, int] | None:
        """What to note with this refusal; None where it is not recorded."""
        if now >= self.until:
            self.until, self.recorded = now + 60.0, 0
        if self.recorded >= REFUSALS_PER_MINUTE_MAX:
            self.dropped += 1
            return None
        self.recorded += 1
        before, self.dropped = self.dropped, 0
        return {"not_recorded_before": before} if before else {}


@dataclass(frozen=True)
class Core:
    """Everything a service function may use; there is nothing global."""

    store: Store
    clock: Clock
    daemon: Daemon
    drivers: Drivers
    spools: Spools
    agents_max: int
    """Agents that may work at once, over all swarms."""
    stop: Callable[[Literal["detach", "stop"]], None]
    """Asks `app` to end the daemon; returns at once."""
    models: Models
    providers: Providers
    gateways: Gateways
    instances: Instances
    programs: Programs
    walls: Walls
    outside: Outside
    bodies: Literal["off", "meta", "full"]
    """What is kept of what is said in model calls."""
    repositories: Repositories
    cleanup_after_s: float
    """How long workspaces stay after their swarm's end, where cleanup is delayed."""
    sessions: Sessions
    checkpoints_bytes_max: int
    """Of all copies of conversations together."""
    useful_tokens: int
    """The output tokens that a model call must have room for, to be worth making."""
    keys: Keys
    refusals: Refusals = field(default_factory=Refusals)

    def looks(self) -> dict[str, Look]:
        """What was last seen of added gateways and of instances, by name: what work is placed by."""
        return {**self.gateways.looks(), **self.instances.looks()}


@dataclass(frozen=True)
class Caller:
    """Who makes a call."""

    actor: Literal["operator", "orchestrator"]
    uid: int
    client: str = ""
    key: str = ""
    """The name of the key it has shown."""
    proof: str = field(default="", repr=False)
    """What tells whether that key still stands."""
    within: tuple[str, ...] | None = None
    """The folders, below which all lies that it may give to agents; None: any. See reach.py."""
    unsafe_no_jail: bool = False
    """It may start agents without walls, where it is an orchestrator."""

    @property
    def who(self) -> str:
        """One name for the record and for votes: two programs of one uid are one, two keys are two."""
        return f"{self.actor}:{self.key or f'uid-{self.uid}'}"
