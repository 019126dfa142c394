"""Composition of service and agents: `service.ports.Drivers`, `Spools` and `Walls` over drivers and jails."""

import os
from collections.abc import Sequence
from pathlib import Path

import trio

from dashd import drivers
from dashd.jail import launch, links, spool
from dashd.runtime.jails import Jails
from dashd.runtime.world import World
from dashd.service.ports import Checked, Chunk, DriverAbilities, WallsState
from dashd.wire import errors


class DriverPort:
    """`service.ports.Drivers` over the drivers of this build."""

    def choose(self, name: str | None) -> tuple[str, str]:
        """The driver asked for, or `command`."""
        known = ", ".join(sorted(drivers.DRIVERS))
        if name is None:
            return "command", "no driver was named; command runs what argv says"
        if name not in drivers.DRIVERS:
            raise errors.Unsupported(
                f"there is no driver {name!r} in this build", hint=f"drivers: {known}", path="driver"
            )
        return name, "it was asked for"

    def abilities(self, name: str) -> DriverAbilities:
        """What the driver can do."""
        driver = drivers.DRIVERS[name]
        return DriverAbilities(driver.pause, driver.takes_messages, driver.needs_model)

    def remarks(self, name: str, argv: Sequence[str]) -> list[str]:
        """Asks the driver."""
        return drivers.DRIVERS[name].remarks(argv)

    async def check(self, name: str, argv: Sequence[str] | None, cwd: str | None) -> tuple[list[str], str]:
        """Asks the driver, in a thread because it looks at the file system."""
        return await trio.to_thread.run_sync(drivers.DRIVERS[name].check, argv, cwd)


class SpoolPort:
    """`service.ports.Spools` over launch folders."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def read(self, launch_id: str, offset: int | None, bytes_max: int, stream: int | None) -> Chunk:
        """Reads in a thread; a launch that has printed nothing yet reads as empty."""
        return await trio.to_thread.run_sync(self._read, launch_id, offset, bytes_max, stream)

    def ticket(self, launch_id: str) -> trio.Event:
        """Rung by the run that reads this spool."""
        return self._world.growth.ticket(launch_id)

    def _read(self, launch_id: str, offset: int | None, bytes_max: int, stream: int | None) -> Chunk:
        folder = self._world.folder(launch_id)
        try:
            if offset is None:
                return Chunk(*spool.tail(folder, bytes_max, stream))
            return self._read_on(folder, offset, bytes_max, stream)
        except (spool.SpoolCorrupt, OverflowError):
            raise errors.InvalidParams(
                f"{offset} is not an offset of this attempt's output"
                if offset is not None
                else f"the output of launch {launch_id} cannot be read: its file is damaged",
                hint="go on from next_offset of the answer before, and name the attempt it was of",
                path="offset",
            ) from None

    def _read_on(self, folder: Path, offset: int, bytes_max: int, stream: int | None) -> Chunk:
        """The next piece of the stream; what the other stream printed before it is passed over."""
        while True:
            records, next_offset = spool.read(folder, offset, bytes_max)
            output = b"".join(payload for found, payload in records if stream in (None, found))
            if output or next_offset == offset:
                return Chunk(output, next_offset)
            offset = next_offset


class WallsPort:
    """`service.ports.Walls`."""

    def __init__(self, jails: Jails, *, required: bool, own: Sequence[Path]) -> None:
        """`own` are folders and files of dashd's that no agent may have."""
        self._jails = jails
        self._required = required
        self._own = [os.path.realpath(path) for path in own]

    async def state(self) -> WallsState:
        """See the port."""
        if not self._required:
            return WallsState("0")
        found = await self._jails.walls()
        return WallsState(found.grade, self._jails.grade_min, True, found.why, found.fix)

    async def check(self, write: Sequence[str], cwd: str) -> Checked:
        """See the port."""
        walls = await self._jails.walls()
        return await trio.to_thread.run_sync(self._check, write, cwd, walls.grade)

    def enforcers(self, grade: str) -> dict[str, str]:
        """See the port."""
        return launch.enforcers(grade) if grade != "0" else {}  # type: ignore[arg-type]

    def _check(self, write: Sequence[str], cwd: str, grade: str) -> Checked:
        self._refuse([cwd, *write])
        protect: list[str] = []
        notes: list[str] = []
        for folder in write:
            found = links.leading_out(folder)
            if found.refused or (found.protect and grade == "C"):
                linked = found.refused or found.protect[0]
                raise errors.InvalidParams(
                    f"{linked} is linked from outside {folder} (hard link): a change here is a change there",
                    hint="give a fresh clone (git clone --no-hardlinks) or a copy, or a narrower scope",
                    path="scope",
                )
            protect += found.protect
            notes += [f"{each} stays read-only: its files are linked from outside" for each in found.protect]
            if not found.complete:
                notes.append(f"{folder} is too large to look through for hard links from outside")
        return Checked(tuple(protect), tuple(notes))

    def _refuse(self, folders: Sequence[str]) -> None:
        home = os.path.realpath(os.path.expanduser("~"))
        for folder in folders:
            real = os.path.realpath(folder)
            if not os.path.exists(real):
                hint = "create it, or name another; a folder that agents make is part of the one around it"
                raise errors.InvalidParams(f"there is no {folder} to give to agents", hint=hint, path="scope")
            if _holds(real, home):
                where = "is your home" if real == home else "is around your home"
                raise errors.InvalidParams(
                    f"{folder} {where}: its agents could read your keys and change what runs as you",
                    hint="name a folder in it as cwd, or unsafe_no_jail: true",
                    path="cwd",
                )
            for own in self._own:
                if _holds(real, own) or _holds(own, real):
                    raise errors.InvalidParams(
                        f"{folder} holds {own}, which is dashd's own, or lies in it",
                        hint="name another folder as cwd, or another DASH_STATE_DIR",
                        path="cwd",
                    )


def _holds(folder: str, path: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
