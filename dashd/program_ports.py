"""Composition of service and programs: `service.ports.Programs` over a worker process and its folder.

An installation is a process of its own: however it ends, the folder is there whole or not at all, and the
worker's own lock keeps two daemons' workers apart.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping

import trio

from dashd import threads
from dashd.config import Config
from dashd.drivers import program_record, program_version
from dashd.drivers.program_version import NotAsked, NoVersion
from dashd.drivers.programs import Found, Lack, Programs, pinned
from dashd.wire import errors
from dashd.wire.methods.program import Program, ProgramChecked, ProgramInstalled, ProgramState

INSTALLER = "dashd.drivers.program_install"
INSTALL_S_MAX = 900.0
END_S_MAX = 5.0
LINE_BYTES_MAX = 65_536
KNOWN = ("node", "pi", "openclaw")
"""Those that can be configured; `programs.pinned` says which of them can be installed here."""


def here(config: Config, path: str) -> Programs:
    """Where Dash's own copies are, and what the configuration names instead; `path` is a PATH."""
    told = config.programs
    configured = {"node": told.node, "pi": told.pi, "openclaw": told.openclaw}
    state_dir = config.daemon.state_dir
    return Programs(state_dir / "programs", configured, path, state_dir / "compiled")


def seen(programs: Programs) -> list[Found]:
    """Those that are here; one whose place cannot even be looked at is not."""
    return [found for name in KNOWN if (found := programs.find(name)) is not None]


class ProgramPort:
    """See the port."""

    def __init__(
        self,
        programs: Programs,
        environ: Mapping[str, str],
        installed: Callable[[], None] = lambda: None,
    ) -> None:
        """`environ` is the daemon's own; npm gets little of it. `installed` is called when there is more."""
        self._installed = installed
        self._programs = programs
        self._environ = environ
        self._installing = trio.Lock()
        self._stages: dict[str, str] = {}

    async def listed(self) -> list[Program]:
        """See the port."""
        return await threads.run(lambda: [self._shown(name) for name in KNOWN])

    async def install(self, name: str) -> ProgramInstalled:
        """See the port."""
        program = pinned().get(_known(name))
        if program is None:
            raise errors.Unsupported(
                f"this version of Dash cannot install {name} on this machine",
                hint=f"install it yourself and set programs.{name} to it",
                path="name",
            )
        began = trio.current_time()
        wanted = [each for each in (*program.needs, name) if not self._is_its_own(each)]
        for each in wanted:
            if each in self._programs.configured and isinstance(lack := self._programs.look(each), Lack):
                raise errors.Conflict(
                    lack.text, hint=f"correct programs.{each}, or take it out, and try again"
                )
        if wanted:
            await self._install(wanted)
            self._installed()
        found = self._programs.find(name)
        if found is None:
            raise errors.Unavailable(f"{name} was installed and is not there", hint="dashctl program check")
        self._programs.cache(name)  # has it made, in the background
        return ProgramInstalled(
            name=name,
            version=program.version if found.origin == "installed" else "",
            path=found.path,
            changed=bool(wanted),
            took_s=round(trio.current_time() - began, 1),
        )

    def _is_its_own(self, name: str) -> bool:
        """Installed, or configured: what PATH happens to have is nobody's choice."""
        found = self._programs.find(name)
        return found is not None and found.origin != "on PATH"

    async def check(self, name: str) -> ProgramChecked:
        """See the port."""
        found = self._programs.look(_known(name))
        if isinstance(found, Lack):
            missing = [f"{found.text}; {found.hint}"]
            return ProgramChecked(name=name, ok=False, version="", path="", faults=missing)
        program, faults = pinned().get(name), []
        if program is not None and found.origin == "installed" and self._programs.folder is not None:
            place = self._programs.folder / program.folder
            faults = await threads.run(program_record.faults, place, program)
        version = ""
        try:
            version = await program_version.version(self._programs.find("node"), found)
        except NotAsked as error:
            faults.append(f"it could not be asked for its version: {error}")
        except NoVersion as error:
            faults.append(str(error))
        if program and version and found.origin == "installed" and version != program.version:
            faults.append(f"it says that it is {version}, and {program.version} was installed")
        notes = []
        if program and version and found.origin != "installed" and version != program.version:
            notes = [f"Dash was tested with {program.version}; dashctl program install {name} fetches that"]
        return ProgramChecked(
            name=name, ok=not faults, version=version, path=found.path, faults=faults, notes=notes
        )

    async def _install(self, names: list[str]) -> None:
        assert self._programs.folder is not None, "a daemon has a folder for programs"
        argv = [sys.executable, "-P", "-m", INSTALLER, str(self._programs.folder), *names]
        async with self._installing:
            try:
                with trio.fail_after(INSTALL_S_MAX):
                    for name in names:
                        self._stages[name] = "waiting"
                    await self._follow(argv)
            except trio.TooSlowError:
                raise errors.DeadlinePassed(
                    f"installing {' and '.join(names)} took longer than {INSTALL_S_MAX:g} s and was given up",
                    hint="look at the network, then install again",
                ) from None
            finally:
                self._stages.clear()

    async def _follow(self, argv: list[str]) -> None:
        """Until the worker has ended; cancelled, it is ended with all that it started."""
        process = await self._start(argv)
        last: dict[str, object] = {}
        rest = b""
        assert process.stdout is not None, "it was asked for"
        try:
            while piece := await process.stdout.receive_some(LINE_BYTES_MAX):
                *lines, rest = (rest[-LINE_BYTES_MAX:] + piece).split(b"\n")
                for line in lines:
                    last = self._heard(line)
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(END_S_MAX):  # bounded, after a KILL
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
                await process.stdout.aclose()
        if "done" not in last:
            raise errors.Unavailable(
                str(last.get("error") or "the installation ended without a word"),
                hint=str(last.get("hint") or "install again; dashd's log may say more"),
            )

    async def _start(self, argv: list[str]) -> trio.Process:
        try:
            with threads.scarce():
                return await trio.lowlevel.open_process(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=dict(self._environ),
                    cwd="/",
                    start_new_session=True,
                )
        except (OSError, threads.NoThread) as error:
            raise errors.Unavailable(
                f"starting the installation: {error}",
                hint=f"the processes of uid {os.geteuid()} are used up, by agents perhaps; try again",
            ) from None

    def _heard(self, line: bytes) -> dict[str, object]:
        try:
            told: dict[str, object] = json.loads(line)
        except ValueError:
            return {}
        name, _, stage = str(told.get("progress") or "").partition(": ")
        if stage:
            self._stages[name] = stage
        return told

    def _shown(self, name: str) -> Program:
        program, found = pinned().get(name), self._programs.look(name)
        path = "" if isinstance(found, Lack) else found.path
        state: ProgramState
        if stage := self._stages.get(name):
            state, note = "installing", stage
        elif not isinstance(found, Lack):
            state, note = found.origin, ""
        elif found.here:
            state, note = "unusable", found.text
        else:
            state, note = "missing", f"dashctl program install {name}" if program else f"set programs.{name}"
        known = program is not None and state not in ("configured", "on PATH", "unusable")
        return Program(
            name=name, version=program.version if program and known else "", state=state, path=path, note=note
        )


def _known(name: str) -> str:
    if name not in KNOWN:
        raise errors.NotFound(
            f"there is no program {name!r}", hint=f"programs: {', '.join(KNOWN)}", path="name"
        )
    return name
