"""`program.*`: agent programs on this machine, in pinned versions, or named by the operator."""

from typing import Literal

from msgspec import field

from .table import Id, Method, Params, Result

ProgramState = Literal["installed", "configured", "on PATH", "installing", "unusable", "missing"]


class InstallProgram(Params):
    """Fetches a program in its pinned version, and what it needs; it can take a minute."""

    name: Id


class GetPrograms(Params):
    """Asks for the programs."""


class CheckProgram(Params):
    """Has a program looked at, file by file, and run once."""

    name: Id


class Program(Result):
    """A program that drivers use."""

    name: str
    version: str
    """Of an installed one, or of one that can be installed; empty where nobody knows without running it."""
    state: ProgramState
    """unusable: configured or on PATH, and not to be run; the note says why."""
    path: str
    """What is run, where there is something."""
    note: str
    """How far an installation is, or what to do."""


class ProgramList(Result):
    """The programs."""

    programs: list[Program] = field(default_factory=list)


class ProgramInstalled(Result):
    """It is there."""

    name: str
    version: str
    path: str
    changed: bool
    took_s: float


class ProgramChecked(Result):
    """Whether it is what it should be, and runs."""

    name: str
    ok: bool
    version: str
    """What it says of itself."""
    path: str
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What is no fault, and may explain one."""


METHODS = (
    Method("program.install", InstallProgram, ProgramInstalled, "Installs an agent program.", changes=True),
    Method("program.list", GetPrograms, ProgramList, "Lists the agent programs."),
    Method("program.check", CheckProgram, ProgramChecked, "Checks an agent program."),
)
