"""Looks every 30 s, and after a failure, whether instances can still start a Pi: are its file and Node there?

Its version is asked in a jail, and only where one of these files is another one than when it was asked last;
what it said then is in its row. So a look costs two `stat`. What becomes of one is told once: `system.config`
where it can start a Pi, `system.alert` where it cannot any longer.

The Pi that Dash finds by itself is asked for its version when somebody wants to know, and from then on.
"""

from functools import partial

import trio

from dashd import threads
from dashd.drivers import program_version
from dashd.drivers.program_version import NoVersion
from dashd.drivers.programs import Found, Lack, Programs, named, pinned
from dashd.store import instances
from dashd.store.instances import InstanceRow

from .rounds import Rounds, Seen
from .world import World

PI = "pi"


class InstanceProbes(Rounds[InstanceRow, Seen[InstanceRow]]):
    """See the module."""

    def __init__(self, world: World, programs: Programs) -> None:
        super().__init__(world.store.bells.instances)
        self._world = world
        self._programs = programs
        self._asking = trio.Lock()
        """Where several have changed at once, they are asked one after the other."""

    async def run(self) -> None:
        """Looks at whoever is due, and at all that are alive where an attempt in a place has failed."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(super().run)
            nursery.start_soon(self._doubt)

    async def _doubt(self) -> None:
        bell = self._world.store.bells.failures
        ticket = bell.ticket()
        while True:
            await ticket.wait()
            ticket = bell.ticket()
            for each in [each for each in self.seen.values() if each.health == "alive"]:
                await self._in_turn(each)
            self._sooner.ring()  # some may be due sooner now

    async def rows(self) -> list[InstanceRow]:
        """All of them."""
        return await self._world.store.own.read(instances.every)

    def fresh(self, row: InstanceRow) -> Seen[InstanceRow]:
        """Its version is what it said last."""
        return Seen(row, trio.current_time(), row.version, why="it has not been looked at yet")

    async def probe(self, seen: Seen[InstanceRow]) -> None:
        """See the module."""
        began, before = trio.current_time(), seen.health
        try:
            stamp, version = await self._look(seen.row)
        except NoVersion as error:
            self.failed(seen, str(error))
            if seen.health == "dead":
                reason = seen.why
                await self._world.commit(lambda tx: instances.set_down(tx, seen.row, reason))
        else:
            self.answered(seen, version, trio.current_time() - began)
            if (stamp, version) != (seen.row.stamp, seen.row.version) or before != "alive":
                await self._world.commit(
                    partial(instances.set_up, looked_at=seen.row, stamp=stamp, version=version)
                )
                await self._know(seen)
        if seen.health != before:
            self._world.store.bells.queue.ring()  # what waited for a place is looked at again

    async def look_here(self) -> str:
        """Has the version known of the Pi that Dash finds; why it does not say it."""
        rows = await self._world.store.own.read(instances.seats)
        pi = await threads.run(self._programs.look, PI)
        if isinstance(pi, Lack):
            return pi.text
        try:
            stamp, version = await self._ask(pi, rows[0] if rows else None)
        except NoVersion as error:
            return str(error)
        if any((row.stamp, row.version) != (stamp, version) for row in rows):
            await self._world.commit(lambda tx: instances.set_version(tx, stamp, version))
            await self.follow()
            for each in [each for each in self.seen.values() if not each.row.is_static]:
                await self._in_turn(each)
        return ""

    async def _know(self, seen: Seen[InstanceRow]) -> None:
        row = await self._world.store.own.read(lambda db: instances.find(db, seen.row.name))
        if row is not None and row.added_at_ms == seen.row.added_at_ms:
            seen.row = row

    async def _look(self, row: InstanceRow) -> tuple[str, str | None]:
        if row.is_static:
            assert row.program is not None, row.name
            found = await threads.run(named, PI, row.program, "configured", row.program)
        else:
            now = await self._world.store.own.read(lambda db: instances.find(db, row.name))
            row = now or row  # whoever wanted to know its version has written it down
            found = await threads.run(self._programs.look, PI)
        if isinstance(found, Lack):
            raise NoVersion(found.text)
        return await self._ask(found, row, wanted=row.is_static or row.version is not None)

    async def _ask(
        self, pi: Found, row: InstanceRow | None, *, wanted: bool = True
    ) -> tuple[str, str | None]:
        """(stamp, version) as they are now; the program itself is run only where that is wanted."""
        node = await threads.run(self._programs.look, "node")
        if isinstance(node, Lack):
            raise NoVersion(f"pi needs node: {node.text}")
        try:
            stamp = await threads.run(program_version.stamp, node, pi)
            if row is not None and row.version is not None and stamp == row.stamp:
                return stamp, row.version
            if pi.origin == "installed":
                return stamp, pinned()[PI].version
            if not wanted:
                return stamp, None
            async with self._asking:
                return stamp, await program_version.version(node, pi)
        except OSError as error:
            raise NoVersion(f"{error.filename} cannot be looked at: {error.strerror}") from None
