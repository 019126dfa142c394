"""What every part of the runtime is given."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import trio

from dashd.clock import Clock
from dashd.drivers import Driver
from dashd.jail.launcher import Launcher
from dashd.jail.watchdog import Watchdog
from dashd.store import insist
from dashd.store.opening import Store
from dashd.store.transaction import Tx

from .added_gateways import AddedGateways
from .doors import Doors, GatewayDoors
from .gateways import Gateways
from .growth import Growth
from .jails import Jails
from .transcripts import Transcripts
from .trouble import Trouble
from .workspaces import Workspaces

T = TypeVar("T")
STARTS_PER_CORE_MAX = 2
"""Of programs that need a core for half a second each: more at once are all slower, and none is sooner."""


class Points(Protocol):
    """Where tests have the daemon killed; does nothing otherwise."""

    def at(self, point: str) -> None:
        """Passing a named point."""

    def of_launch(self) -> str | None:
        """The crash point that the next launch carries."""


@dataclass(frozen=True)
class World:
    """The store on one side, processes on the other."""

    store: Store
    clock: Clock
    launcher: Launcher
    launches: Path
    """The folder that holds one folder a launch."""
    drivers: Mapping[str, Driver]
    epoch: int
    environ: Mapping[str, str]
    """The daemon's own environment; a driver passes little of it on."""
    agents_max: int
    points: Points
    doors: Doors
    gateway_doors: GatewayDoors
    jails: Jails
    watchdog: Watchdog
    workspaces: Workspaces
    transcripts: Transcripts
    checkpoints_bytes_max: int
    """Of all copies of conversations together."""
    gateways: Gateways = field(default_factory=Gateways)
    added: AddedGateways = field(default_factory=AddedGateways)
    growth: Growth = field(default_factory=Growth)
    starts: trio.Semaphore = field(default_factory=lambda: trio.Semaphore(STARTS_PER_CORE_MAX * cores()))
    """Held by programs that take long to get ready, until they are."""
    trouble: Trouble = field(default_factory=Trouble)

    async def commit(self, operation: Callable[[Tx], T]) -> T:
        """Applies an operation that must not be dropped; a full disk, or a lock, delays it and is shown.

        Raises StoreBroken and StoreClosed, after which this daemon must not go on.
        """
        found = await insist.apply(self.store.writer, operation, self._say_full)
        self.trouble.clear()
        return found

    def _say_full(self, message: str) -> None:
        self.trouble.say(f"{message.rstrip('.')}. Agents run on, but what they did waits to be written down.")

    def folder(self, launch_id: str) -> Path:
        """Where a launch keeps its socket, spool and exit record."""
        return self.launches / launch_id

    def jitter(self) -> float:
        """A random number in [0, 1) for delays."""
        return self.clock.token(32) / 2**32


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
