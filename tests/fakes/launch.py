"""A launcher that starts no process: each launch gets a FakeHolder, which the test steers."""

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from dashd.jail import holder_link
from dashd.jail.launcher import LaunchSpec
from tests.fakes.holders import FOR_EVER_S, FakeHolder

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeLauncher:
    """Stands for `dashd.jail.launcher.Launcher`.

    `refusal` is raised by every launch as long as it is set, before anything has begun; `gone` is raised
    after the holder has begun, whose answer was lost then. `script` is called with each new holder.
    """

    def __init__(self, launches: Path, nursery: trio.Nursery) -> None:
        self.launches = launches
        self.refusal: Exception | None = None
        self.gone: Exception | None = None
        self.script: Callable[[FakeHolder], None] = lambda holder: None
        self.specs: list[LaunchSpec] = []
        self.listeners: list[int | None] = []
        self.at: list[float] = []
        """When each was asked for, on trio's clock."""
        self.holders: dict[str, FakeHolder] = {}
        self._nursery = nursery
        self.stirred = trio.Event()

    async def launch(self, spec: LaunchSpec) -> int:
        self.specs.append(spec)
        self.at.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise self.refusal
        holder = FakeHolder(self.launches / spec.launch_id, self._nursery, lease_s=spec.lease_s)
        self.holders[spec.launch_id] = holder
        self.script(holder)
        self.stirred.set()
        self.stirred = trio.Event()
        if self.gone is not None:
            raise self.gone
        return 1

    async def launch_adopted(
        self, spec: LaunchSpec, epoch: int, listener: socket.socket | None = None
    ) -> holder_link.HolderLink:
        """Keeps a number for the listener, not a dup: nobody connects."""
        self.listeners.append(listener.fileno() if listener else None)
        await self.launch(spec)
        return await holder_link.adopt(self.launches / spec.launch_id, epoch)

    async def launched(self, launch_id: str) -> FakeHolder:
        """Returns once this launch has begun: its holder."""
        with trio.fail_after(FOR_EVER_S):
            while launch_id not in self.holders:
                await self.stirred.wait()
        return self.holders[launch_id]

    @property
    def ids(self) -> list[str]:
        """What was launched, in order."""
        return [spec.launch_id for spec in self.specs]

    def close(self) -> None:
        """For the end of a test."""
        for holder in self.holders.values():
            holder.close()
