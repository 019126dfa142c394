"""How a run gets its walls: what this machine can build, asked once, and a plan for each launch.

While the walls are too weak the machine is asked again at each start, so that installing what is missing
helps at once.
"""

import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import trio

from dashd import threads
from dashd.domain import folders
from dashd.domain import scope as scopes
from dashd.domain.scope import Scope
from dashd.drivers.driver import Command
from dashd.jail import cgroup_tree, git_folders, launch, probe, view
from dashd.jail.launch import Grade, Outside, Walls
from dashd.jail.launcher import LaunchFailed
from dashd.jail.view import MIB, Bounds, Folder, View
from dashd.store.rows import SwarmRow

SCRATCH = "scratch"
"""In a launch folder: HOME and /tmp of an agent that has no mount namespace."""

_GIT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
"""Without a mount namespace git sees that /etc/gitconfig is there, may not read it, and gives up."""


class StoredBounds(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a swarm's row says an agent may use, in its units; an older row says nothing."""

    memory_mb: int | None = None
    processes: int | None = None
    disk_mb: int | None = None
    cpu_s: int | None = None

    def bounds(self) -> Bounds:
        """In bytes."""
        told = {
            "memory_bytes": self.memory_mb and self.memory_mb * MIB,
            "processes": self.processes,
            "disk_bytes": self.disk_mb and self.disk_mb * MIB,
            "cpu_s": self.cpu_s,
        }
        found = Bounds(**{name: value for name, value in told.items() if value is not None})
        # What lies in a tmpfs is memory, and in no process's account.
        return replace(found, tmp_bytes=min(found.tmp_bytes, found.memory_bytes // 4))


@dataclass(frozen=True, slots=True)
class Asked:
    """The walls that a swarm asked for."""

    required: bool
    cwd: str
    scope: Scope = scopes.DEFAULT
    bounds: Bounds = field(default_factory=Bounds)
    write_too: tuple[Folder, ...] = ()
    """Beside the scope: what a workspace needs, as its own git directory."""
    read_too: tuple[Folder, ...] = ()
    own_clone: bool = False
    """`cwd` is a workspace: its repository is nobody else's."""
    alone: bool = False
    """And no other agent runs in it."""
    git: tuple[Folder, ...] = ()
    """Git directories in what it may write, which stay read-only: set by `Jails.guarding`."""


def asked_of(swarm: SwarmRow, own: Scope | None = None) -> Asked:
    """The walls that a row asks for; `own` is an agent's scope, where it is less than its swarm's."""
    return Asked(
        required=swarm.walls == "required",
        cwd=swarm.cwd,
        scope=own or (scopes.from_json(swarm.scope) if swarm.scope else scopes.DEFAULT),
        bounds=msgspec.json.decode(swarm.bounds, type=StoredBounds).bounds(),
    )


class Jailed(msgspec.Struct, frozen=True):
    """A command as it is executed, and what is written down of it."""

    env: Mapping[str, str]
    jail: dict[str, Any] | None
    grade: Grade
    shown: str | None
    """JSON: folders, hosts, bounds and a hash of argv."""
    program: str = ""
    """The first word of the command."""

    def hidden(self) -> str:
        """Why its program is not there inside, and what shows it; empty where that is not why.

        What pipx and uv put on PATH are links into folders of the home that no jail shows. Looks at the disk.
        """
        found = shutil.which(self.program, path=self.env.get("PATH"))
        if self.shown is None or found is None:
            return ""
        told = json.loads(self.shown)
        real, shown = os.path.realpath(found), [*told["write"], *told["read"]]
        if view.is_system(real) or folders.covers(shown, real):
            return ""
        folder = os.path.dirname(real)
        if os.path.basename(folder) in ("bin", "sbin"):
            folder = os.path.dirname(folder)
        what = found if found == real else f"{found} is a link to {real}, and that"
        needed = (
            [folder] if folders.covers(shown, found) or found == real else [os.path.dirname(found), folder]
        )
        flags = " ".join(f"--read {shlex.quote(each)}" for each in needed)
        return f"{what} is in no folder that its jail shows: give it with {flags}"


class Jails:
    """The walls of this machine, and what every jail must keep out."""

    def __init__(self, grade_min: Grade, outside: Outside, environ: Mapping[str, str]) -> None:
        self.grade_min = grade_min
        self._outside = outside
        self._environ = environ
        self._walls: Walls | None = None
        self._asking = trio.Lock()

    async def walls(self) -> Walls:
        """What can be built; some tens of milliseconds the first time."""
        async with self._asking:
            if self._walls is None or not self.enough(self._walls):
                self._walls = await threads.run(lambda: probe.probe(probe.find_bwrap()))
            return self._walls

    async def strong(self) -> Walls:
        """What can be built. Raises LaunchFailed where that is less than what is required."""
        walls = await self.walls()
        if not self.enough(walls):
            raise LaunchFailed(f"walls of grade {walls.grade} are too weak: {walls.why}; {walls.fix}")
        return walls

    def doubt(self) -> None:
        """A jail did not stand: the machine is asked again before the next one."""
        self._walls = None

    def enough(self, walls: Walls) -> bool:
        """Whether agents may be started behind these."""
        return launch.WORSE_THAN[walls.grade] <= launch.WORSE_THAN[self.grade_min]

    async def guarding(self, walls: Walls, asked: Asked) -> Asked:
        """The same, with the git directories that lie in its folders now. Raises LaunchFailed."""
        if not asked.required or walls.grade not in ("A", "B"):
            return asked  # Landlock alone cannot take out a part of what it gives
        try:
            return replace(asked, git=await threads.run(_git_folders, asked))
        except git_folders.TooMany as error:
            raise LaunchFailed(f"{error}: too many to keep read-only; give a narrower scope") from None

    def jailed(
        self, walls: Walls, asked: Asked, command: Command, folder: Path, *, port: int | None, listener: bool
    ) -> Jailed:
        """A command behind walls; `folder` is its launch's, `port` its listener's if that is outside."""
        if not asked.required or walls.grade in ("M", "0"):
            return Jailed(command.env, None, "0", None)
        own = walls.grade in ("A", "B")
        scratch = "" if own else str(folder / SCRATCH)
        seen = view_of(asked, command.cwd, self._environ, command.programs)
        seen = replace(seen, reserved_bytes=command.reserved_bytes)
        plan = launch.plan(
            walls,
            replace(seen, read=(*seen.read, *asked.git)),
            python=view.python(),
            outside=self._outside,
            listener=listener,
            scratch=scratch,
            port=port,
        )
        if walls.grade == "A":
            plan["cgroup"] = cgroup_tree.of_launch(walls.cgroups, folder, asked.bounds)
        home = {"HOME": view.HOME, "TMPDIR": "/tmp"} if own else {"HOME": scratch, "TMPDIR": scratch, **_GIT}
        shown = {
            "write": [each.at for each in seen.write],
            "read": [each.at for each in seen.read],
            "hosts": list(scopes.reached_hosts(asked.scope)),
            "bounds": asdict(asked.bounds),
            "argv_sha256": hashlib.sha256(json.dumps(list(command.argv)).encode()).hexdigest(),
        }
        return Jailed({**command.env, **home}, plan, walls.grade, json.dumps(shown), command.argv[0])


def view_of(asked: Asked, cwd: str, environ: Mapping[str, str], programs: Sequence[str] = ()) -> View:
    """The folders of a scope where they are on this machine, and the programs that an agent may need;
    `programs` are the folders of its own.
    """
    write = (*_folders(asked.scope.write, asked.cwd), *asked.write_too)
    read = (*_folders(asked.scope.read, asked.cwd), *asked.read_too)
    kept_out = {folder.at for folder in (*write, *read)}
    own = (Folder(each) for each in programs if not view.is_system(each))
    found = dict.fromkeys((*own, *view.runtimes(environ)))
    runtimes = tuple(each for each in found if each.at not in kept_out)
    return View(cwd, write, (*read, *runtimes), asked.bounds, alone=asked.cwd if asked.alone else "")


def _git_folders(asked: Asked) -> tuple[Folder, ...]:
    """In what an agent may write; the clone that it works in is its own."""
    found: list[Folder] = []
    for each in _folders(asked.scope.write, asked.cwd):
        if not asked.own_clone or each.root != asked.cwd:
            inside = git_folders.inside(each.at, git_folders.FOUND_MAX - len(found))
            found += [Folder(each.root, os.path.join(each.path, path)) for path in inside]
    return tuple(found)


def written_folders(asked: Asked) -> tuple[str, ...]:
    """Where an agent may write."""
    return tuple(folder.at for folder in (*_folders(asked.scope.write, asked.cwd), *asked.write_too))


def _folders(names: tuple[str, ...] | None, root: str) -> tuple[Folder, ...]:
    assert names is not None, "a scope without a limit is nobody's"
    return tuple(
        Folder(name) if name.startswith("/") else Folder(root, "" if name == folders.ROOT else name)
        for name in names
    )
