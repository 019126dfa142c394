"""Composition of service and places where Pis run: `place_ports.Instances` over probes and programs."""

import os

import trio

from dashd import threads
from dashd.drivers.programs import Found, Programs, named
from dashd.runtime.instance_probes import PI, InstanceProbes
from dashd.runtime.instance_seats import Division, InstanceSeats
from dashd.runtime.rounds import Seen
from dashd.runtime.world import World
from dashd.service.place_ports import PlaceSeen
from dashd.service.ports import Walls
from dashd.store.instances import InstanceRow
from dashd.store.registry import Look
from dashd.wire import errors


class InstancePort:
    """See the port."""

    def __init__(self, world: World, programs: Programs, walls: Walls, division: Division) -> None:
        """`walls` say where no agent may look; `division` is of this machine's own seats."""
        self.changing = trio.Lock()
        self.probes = InstanceProbes(world, programs)
        self._programs = programs
        self._seats = InstanceSeats(world, division)
        self._walls = walls

    async def settle(self) -> tuple[str, ...]:
        """Before anything is claimed: the rows are what the settings say. Gives what could not be so."""
        return await self._seats.settle()

    async def run(self) -> None:
        """Looks at all of them, and follows the load of this machine's own, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.probes.run)
            nursery.start_soon(self._seats.run)

    async def place(self, program: str) -> str:
        """See the port."""
        if not os.path.isabs(program):
            raise errors.InvalidParams(
                f"{program!r} is not an absolute path", hint="the path of its cli.js, from /", path="program"
            )
        found = await threads.run(_at, program)
        if found is None:
            raise errors.InvalidParams(
                f"{program} is not there, or is no file",
                hint="the path of its cli.js, from /",
                path="program",
            )
        if not self._is_ours(found):
            await self._check(found)
        return found.path

    async def here(self) -> str | None:
        """See the port."""
        found = await threads.run(self._programs.find, PI)
        return None if found is None else found.path

    async def follow(self) -> None:
        """See the port."""
        await self.probes.follow()

    def seen(self) -> dict[str, PlaceSeen]:
        """See the port."""
        return {name: _shown(each) for name, each in self.probes.seen.items()}

    def looks(self) -> dict[str, Look]:
        """See the port."""
        return self.probes.looks()

    def added(self, program: str) -> list[str]:
        """Those that were added and run a program of their own of that name, but for dead ones."""
        if program != PI:
            return []
        seen = list(self.probes.seen.values())
        return [each.row.name for each in seen if each.row.is_static and each.health != "dead"]

    async def look(self, name: str) -> PlaceSeen:
        """See the port."""
        found = await self.probes.ask(name)
        return PlaceSeen("unknown", "it was removed meanwhile") if found is None else _shown(found)

    async def look_here(self) -> str:
        """See the port."""
        return await self.probes.look_here()

    def _is_ours(self, found: Found) -> bool:
        """It is a version that Dash has installed: each lies in a folder of its own, which jails may show."""
        folder = self._programs.folder
        return folder is not None and found.folder.startswith(f"{os.path.realpath(folder)}{os.sep}")

    async def _check(self, found: Found) -> None:
        """Jails will show its folder."""
        try:
            await self._walls.check((), (found.folder,))
        except errors.DashError as refused:
            raise errors.InvalidParams(
                f"what {found.path} needs is in {found.folder}: {refused.message}",
                hint="install it in a folder of its own: npm install --prefix FOLDER …",
                path="program",
            ) from None


def _at(program: str) -> Found | None:
    found = named(PI, program, "configured", program)
    return found if isinstance(found, Found) else None


def _shown(seen: Seen[InstanceRow]) -> PlaceSeen:
    return PlaceSeen(seen.health, seen.why, seen.latency_ms, seen.version)
