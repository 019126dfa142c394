"""What every part of the runtime is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import trio

from dashd.clock import Clock
from dashd.drivers import Driver
from dashd.jail.launcher import Launcher
from dashd.store.opening import Store
from dashd.store.transaction import Tx
from dashd.wire import errors

from .growth import Growth
from .trouble import Trouble

FULL_RETRY_S = 1.0
T = TypeVar("T")


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
    growth: Growth = field(default_factory=Growth)
    trouble: Trouble = field(default_factory=Trouble)

    async def commit(self, operation: Callable[[Tx], T]) -> T:
        """Applies an operation that must not be dropped: while the disk is full it is tried again.

        Raises StoreBroken and StoreClosed, after which this daemon must not go on.
        """
        while True:
            try:
                found = await self.store.writer.apply(operation)
            except errors.StoreFull as error:
                self.trouble.say(
                    f"{error.message} Agents run on, but what they did waits to be written down."
                )
                await trio.sleep(FULL_RETRY_S)
            else:
                self.trouble.clear()
                return found

    def folder(self, launch_id: str) -> Path:
        """Where a launch keeps its socket, spool and exit record."""
        return self.launches / launch_id

    def jitter(self) -> float:
        """A random number in [0, 1) for delays."""
        return self.clock.token(32) / 2**32
