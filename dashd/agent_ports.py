"""Composition of service and agents: `service.ports.Drivers`, `Spools` and `Walls` over drivers and jails."""

import json
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import trio

from dashd import drivers, threads
from dashd.drivers import Programs
from dashd.drivers.command import check_folder
from dashd.drivers.driver import Work
from dashd.drivers.programs import refuse_argv
from dashd.drivers.strangers import Strangers
from dashd.jail import git_folders, launch, links, spool, view
from dashd.jail.view import Bounds
from dashd.runtime.bounds import OUTPUT_BYTES_MAX
from dashd.runtime.jails import Jails, StoredBounds
from dashd.runtime.world import World
from dashd.service.ports import Chunk, DriverAbilities, WallsState
from dashd.wire import errors

PREFERRED = ("openclaw", "pi")
"""Where nobody names a driver and there is no command: the first of these that can run."""

CGROUPS = "/sys/fs/cgroup"
"""No agent's in grade A: the user dashd runs as may change its limits there."""


class DriverPort:
    """`service.ports.Drivers` over the drivers of this build."""

    def __init__(self, programs: Programs, at_once: Mapping[str, int]) -> None:
        """`programs` says which of them could run, `at_once` how many agents of some may."""
        self.drivers = drivers.over(programs)
        self.at_once = at_once
        self.programs = programs
        self.strangers = Strangers(programs)
        self.gateways: Callable[[], Sequence[str]] = list
        """Those that were added, each with an OpenClaw of its own."""

    async def choose(self, name: str | None, *, has_argv: bool) -> tuple[str, str]:
        """The driver asked for; `command` where there is a command; else the first program that is here or in
        an added place, or Dash's own agent. One of PATH counts in the tested version alone.
        """
        known = ", ".join(sorted(self.drivers))
        if name is None:
            return await self._usual(has_argv=has_argv)
        if name not in self.drivers:
            raise errors.Unsupported(
                f"there is no driver {name!r} in this build", hint=f"drivers: {known}", path="driver"
            )
        return name, "it was asked for"

    async def _usual(self, *, has_argv: bool) -> tuple[str, str]:
        if has_argv:
            return "command", "no driver was named; command runs what argv says"
        before: list[str] = []
        absent: list[str] = []
        for name in PREFERRED:
            if (lack := self.programs.lack(name)) is not None:
                absent.append(lack.text)
                before += [f"{lack.text}, so it is not taken"] if lack.here else []
            elif (other := await self.strangers.ask(name)) and not other.usable:
                why = f"{other.text}, so it is not taken: dashctl program install {name}, or name the driver"
                absent.append(why)
                before.append(why)
            else:
                return name, "; ".join([f"no driver was named, and {self._whence(name)}", *before])
        return "embedded", f"no driver was named; {'; '.join(absent)}"

    def _whence(self, name: str) -> str:
        found = self.programs.find(name)
        if found is not None:
            return f"{name} is {found.origin}"
        return f"places that run {name} were added: {', '.join(self.programs.added(name))}"

    def abilities(self, name: str) -> DriverAbilities:
        """What the driver can do."""
        driver = self.drivers[name]
        return DriverAbilities(
            pause=driver.pause,
            message=driver.takes_messages,
            needs_model=driver.needs_model,
            breaks_off=driver.breaks_off,
            keeps_session=driver.keeps_session,
            compacts=driver.compacts,
            at_once=self.at_once.get(name),
            asks=driver.can_ask,
            first_bytes=driver.first_bytes,
            formats=driver.formats,
        )

    def remarks(self, name: str, argv: Sequence[str]) -> list[str]:
        """Asks the driver; and what `check` has found of a program of PATH."""
        return [*self.drivers[name].remarks(argv), *self.strangers.said(name)]

    def told(self, name: str, task: str, item: str, folder: str, write: Sequence[str] | None) -> str:
        """Asks the driver, about such an attempt."""
        writes = None if write is None else tuple(write)
        work = Work((), item, task, folder, "", "", "", timeout_s=0.0, write=writes)
        return self.drivers[name].told(work)

    async def check(
        self, name: str, argv: Sequence[str] | None, cwd: str | None, *, away: bool = False
    ) -> tuple[list[str], str]:
        """Asks the driver, in a thread because it looks at the file system."""
        if away and self.gateways():
            refuse_argv(name, argv)
            return [], await threads.run(check_folder, cwd)
        found = await threads.run(self.drivers[name].check, argv, cwd)
        await self.strangers.ask(name)
        return found


class SpoolPort:
    """`service.ports.Spools` over launch folders."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def read(self, launch_id: str, offset: int | None, bytes_max: int, stream: int | None) -> Chunk:
        """Reads in a thread; a launch that has printed nothing yet reads as empty."""
        return await threads.run(self._read, launch_id, offset, bytes_max, stream)

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

    async def check(self, write: Sequence[str], read: Sequence[str]) -> None:
        """See the port."""
        grade = (await self._jails.walls()).grade if self._required else "0"
        own = [*self._own, CGROUPS] if grade == "A" else self._own
        await threads.run(_check, own, write, read)
        if grade in ("A", "B"):  # else none of them is kept read-only
            await threads.run(_refuse_many, write)

    def enforcers(self, grade: str, bounds: str, shown: str | None) -> dict[str, tuple[str, str]]:
        """See the port."""
        if grade == "0":
            return {}
        told = json.loads(shown or "{}").get("bounds")  # an older launch says nothing of them
        found = Bounds(**told) if told else msgspec.json.decode(bounds, type=StoredBounds).bounds()
        held = launch.enforcers(grade, found)  # type: ignore[arg-type]
        return {**held, "output": (f"{OUTPUT_BYTES_MAX >> 20} MiB", held["output"][1])}


def _check(own: Sequence[str], write: Sequence[str], read: Sequence[str]) -> None:
    for folder in (*read, *write):
        _refuse(own, folder)
    for folder in write:
        if around := git_folders.around(folder):
            what = "a git directory" if around == folder else f"in the git directory {around}"
            why = f"is {what}, from which git runs what is written there, for you"
            hint = "name a folder beside it; agents commit in clones of their own (repo: …)"
            raise _not_to_give(folder, why, hint)
        _refuse_linked(folder)


def _refuse_linked(folder: str) -> None:
    try:
        linked = links.leading_out(folder)
    except links.CannotLook as error:
        raise errors.InvalidParams(str(error), hint=error.hint, path="scope") from None
    if linked:
        raise errors.InvalidParams(
            linked,
            hint=f"{_break_links(folder)}   # makes each a file of its own, in place; or give a "
            "fresh clone (git clone --no-hardlinks), a copy, or a narrower scope",
            path="scope",
        )


def _refuse_many(write: Sequence[str]) -> None:
    """Each start keeps those that it finds read-only, and finds no more than so many."""
    count = 0
    for folder in write:
        try:
            count += len(git_folders.inside(folder, git_folders.FOUND_MAX - count))
        except git_folders.TooMany as error:
            raise errors.InvalidParams(
                f"{error}: too many to keep read-only",
                hint="give a narrower scope, or clones of a repository (repo: …)",
                path="scope",
            ) from None


def _refuse(own: Sequence[str], folder: str) -> None:
    home = os.path.realpath(os.path.expanduser("~"))
    try:
        real = os.path.realpath(folder)
    except OSError as error:  # readlink of what is no link any more
        why = f"changed while it was looked at: {error.strerror}"
        raise _not_to_give(folder, why, "try again when nobody moves it") from None
    if not os.path.exists(real):
        raise _not_to_give(folder, "is not there", "create it, or name the one around it")
    if real != folder:
        raise _not_to_give(folder, f"leads through a link to {real}", f"name {real}")
    if _holds(real, home):
        why = "is your home, or around it: agents could read your keys and change what runs as you"
        raise _not_to_give(folder, why, "name a folder in it, or unsafe_no_jail: true")
    for each in (*own, view.CODE, view.HOME):
        if _holds(real, each) or _holds(each, real):
            whose = "where agents' limits are kept" if each == CGROUPS else "which is Dash's own"
            raise _not_to_give(folder, f"holds {each}, {whose}, or lies in it", "name another")


def _not_to_give(folder: str, why: str, hint: str) -> errors.InvalidParams:
    return errors.InvalidParams(f"{folder} cannot be given to agents: it {why}", hint=hint, path="scope")


def _break_links(folder: str) -> str:
    """The command, for a shell, that copies each file with further links and puts the copy in its place."""
    each = 'for f; do cp -p -- "$f" "$f.dash-copy" && mv -f -- "$f.dash-copy" "$f"; done'
    return f"find {shlex.quote(folder)} -type f -links +1 -exec sh -c {shlex.quote(each)} sh {{}} +"


def _holds(folder: str, path: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
