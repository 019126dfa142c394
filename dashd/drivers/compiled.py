"""Node's compile cache of agent programs: filled once in a jail, shown to agents read-only.

    STATE/compiled/pi-3f2c…      one folder a program where it is now, made whole or not at all
                   .new-…        one that is being filled, or was interrupted

What one agent could write and another one executes would be a hole in the walls. So a program fills its cache
in a jail of its own (`compile_warmup.py`), with a scripted model and no key, and no agent writes it. From a
folder that it cannot write, Node takes what fits its version and the very bytes of a file, and says nothing.
A cache that is missing costs time alone: whatever goes wrong in making one is said, once, and no more.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from dashd import threads
from dashd.jail import tool, view
from dashd.jail.launcher import LaunchFailed
from dashd.jail.tool import Tool, ToolFailed, ToolTimeout
from dashd.jail.view import LISTENER_PORT, MIB

from .driver import Driver, ModelAccess, Work

if TYPE_CHECKING:
    from .programs import Found

log = logging.getLogger(__name__)

WARMUP = Path(__file__).with_name("compile_warmup.py")
UNFINISHED = ".new-"
SCRIPTS = (".js", ".mjs", ".cjs")
FILL_S_MAX = 1_800.0
"""Fifteen seconds of a core, of which it gets little while others want it."""
CACHE_BYTES_MAX = 512 * MIB
WORDS_BYTES_MAX = 4_096
WORDS_CHARACTERS_MAX = 300
SAID = {
    "pi": ({"id": "warm", "type": "prompt", "message": "warm up"}, '"agent_settled"'),
    "openclaw": ({"id": "warm", "message": "warm up"}, '"turned"'),
}
"""What has a program work once, and what it says when it has."""
ENVIRON = {"OPENCLAW_PACKAGED_COMPILE_CACHE_RESPAWNED": "1"}
"""OpenClaw would start itself anew, to have a folder of its own inside this one."""


class CannotFill(Exception):
    """Why there is no cache."""


class Compiled:
    """The caches of this daemon."""

    def __init__(self, folder: Path | None = None) -> None:
        """None: there are none, and nobody makes any."""
        self._folder = folder
        self._wanted: dict[str, tuple[str, str, tuple[str, ...]]] = {}
        """By the folder's name: (program, its path, folders that it is in)."""
        self._used: dict[str, str] = {}
        """By the path of each installation: the folder's name."""
        self._tried: set[str] = set()
        self._bell = trio.Event()

    def find(self, node: "Found | None", program: "Found | None") -> str | None:
        """The folder of the program's cache; where it has none yet, one is wanted from now on."""
        if self._folder is None or node is None or program is None or program.name not in SAID:
            return None
        if os.path.basename(node.path) != "node" or not program.path.endswith(SCRIPTS):
            return None
        name = _name(node, program)
        place = self._folder / name
        self._used[program.path] = name
        if os.path.isdir(place):  # not Path's, which raises where the folder cannot be entered
            return str(place)
        if name not in self._tried:
            self._wanted[name] = program.name, program.path, (node.folder, program.folder)
            self._bell.set()
        return None

    async def run(self, drivers: Mapping[str, Driver]) -> None:
        """Fills those that are wanted, one after the other, until cancelled."""
        if self._folder is None:
            return
        await threads.run(_sweep, self._folder)
        while True:
            await self._bell.wait()
            self._bell = trio.Event()
            while self._wanted:
                name, (program, path, folders) = self._wanted.popitem()
                self._tried.add(name)
                try:
                    await self._fill(drivers[program], name, path, folders)
                except (CannotFill, LaunchFailed, ToolFailed, ToolTimeout, OSError) as error:
                    log.warning("%s starts without a compile cache: %s", program, error)

    async def _fill(self, driver: Driver, name: str, path: str, folders: tuple[str, ...]) -> None:
        assert self._folder is not None
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self._folder))
        try:
            done = await tool.run(_job(driver, path, fresh, folders))
            if done.code:
                said = done.stderr.decode("utf-8", "replace").strip()[-WORDS_CHARACTERS_MAX:]
                raise CannotFill(f"it ended with exit code {done.code}: {said}")
            await threads.run(_check, fresh)
            await threads.run(_put, fresh, self._folder / name, driver.name, set(self._used.values()))
        finally:
            # Bounded: a few thousand small files. Where there is no thread for it, the next start sweeps.
            with trio.CancelScope(shield=True), contextlib.suppress(threads.NoThread):
                await threads.at_once(lambda: shutil.rmtree(fresh, ignore_errors=True))


def environ(cache: str) -> dict[str, str]:
    """What a program is told of its cache."""
    return {"NODE_COMPILE_CACHE": cache, **ENVIRON}


def _name(node: "Found", program: "Found") -> str:
    """Of where both are and which files stand there; Node itself looks at their content."""
    found = hashlib.sha256()
    for path in (node.path, program.path):
        with contextlib.suppress(OSError):
            about = os.stat(path)
            found.update(f"{path}\0{about.st_size}\0{about.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    return f"{program.name}-{found.hexdigest()[:16]}"


def _work(program: str = "") -> Work:
    """What an agent's would be, behind walls, for nobody."""
    return Work(
        argv=(),
        item="",
        task="warm up",
        cwd="/tmp",
        swarm_id="",
        agent_id="",
        task_id="",
        timeout_s=FILL_S_MAX,
        model=ModelAccess(f"http://127.0.0.1:{LISTENER_PORT}/v1", "none", "warmup"),
        isolated=True,
        write=(),
        program=program,
    )


def _job(driver: Driver, program: str, cache: Path, folders: tuple[str, ...]) -> Tool:
    """The driver's own command, as an agent has it, at work once on a scripted model."""
    command = driver.command(_work(program), {"PATH": "/usr/bin:/bin"})
    said, until = SAID[driver.name]
    told = {"argv": list(command.argv), "said": said, "until": until, "port": LISTENER_PORT}
    env = {**command.env, **environ(str(cache)), "HOME": view.HOME, "TMPDIR": "/tmp"}
    return Tool(
        argv=(view.python(), "-I", "-S", f"{view.CODE}/dashd/drivers/{WARMUP.name}"),
        cwd=Path("/tmp"),
        env=env,
        read=tuple(Path(each) for each in folders if not view.is_system(each)),
        write=(cache,),
        stdin=json.dumps(told).encode(),
        deadline_s=FILL_S_MAX,
        output_bytes_max=WORDS_BYTES_MAX,
    )


def _check(folder: Path) -> None:
    """Plain files alone, and not without end."""
    total = files = 0
    for path in folder.rglob("*"):
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
            raise CannotFill(f"it left {path.name}, which is no plain file")
        total += about.st_size
        files += stat.S_ISREG(about.st_mode)
    if not files:
        raise CannotFill("its Node.js wrote none")
    if total > CACHE_BYTES_MAX:
        raise CannotFill(f"it is {total >> 20} MiB, and {CACHE_BYTES_MAX >> 20} MiB is the most")


def _put(fresh: Path, place: Path, program: str, used: set[str]) -> None:
    """In its place, whole; those of the same program that are used no more go. A jail that still shows one
    loses time.
    """
    fresh.rename(place)
    for old in place.parent.glob(f"{program}-*"):
        if old != place and old.name not in used:
            shutil.rmtree(old, ignore_errors=True)


def _sweep(folder: Path) -> None:
    for left in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)
