"""What every service function is given: the store, the clock, the outside questions, and who calls."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from dashd.clock import Clock
from dashd.domain.budget import USEFUL_OUTPUT_TOKENS
from dashd.store.opening import Store

from .ports import Drivers, Models, NoModels, NoProviders, NoWalls, Providers, Spools, Walls

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
    models: Models = field(default_factory=NoModels)
    providers: Providers = field(default_factory=NoProviders)
    walls: Walls = field(default_factory=NoWalls)
    useful_tokens: int = USEFUL_OUTPUT_TOKENS
    """The output tokens that a model call must have room for, to be worth making."""


@dataclass(frozen=True)
class Caller:
    """Who makes a call."""

    actor: Literal["operator", "orchestrator"]
    uid: int
    client: str = ""
