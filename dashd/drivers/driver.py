"""What a driver is: how a task becomes a process, what its output says, and how its end is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from dashd.domain.attempt import Ending
from dashd.jail.launch_folder import ExitRecord


@dataclass(frozen=True, slots=True)
class ModelAccess:
    """An agent's way to a model: its own listener at the proxy, and the key that names it there."""

    url: str
    """The base address, `/v1` included."""
    key: str
    name: str
    """The model to ask for."""


@dataclass(frozen=True, slots=True)
class Work:
    """One attempt, as a driver sees it."""

    argv: tuple[str, ...]
    """The swarm's template."""
    item: str
    task: str
    cwd: str
    swarm_id: str
    agent_id: str
    task_id: str
    timeout_s: float
    asks: tuple[str, ...] = ()
    """What its program should ask about before it acts (`domain.asking`), where it can."""
    model: ModelAccess | None = None
    isolated: bool = False
    """It runs in a mount namespace, where Dash's own programs are below `jail.view.CODE`."""


@dataclass(frozen=True, slots=True)
class Command:
    """What is executed."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    stdin: bool
    """It reads numbered inputs; otherwise its standard input is empty."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an agent says it is; the newest replaces the older ones."""

    done: int | None
    total: int | None
    note: str


class OutputReader(Protocol):
    """Reads what a program prints, piece by piece; one per attempt."""

    def feed(self, stream: int, output: bytes) -> list[Progress]:
        """What the piece says; `stream` is 1 for stdout, 2 for stderr."""

    @property
    def pending(self) -> bool:
        """True inside a message whose beginning was fed already."""


class Driver(Protocol):
    """One agent program."""

    name: str
    pause: Literal["hard", "soft"]
    takes_messages: bool
    needs_model: bool
    """Its program calls a model; it is started with a way to one."""
    result_bytes_max: int

    def check(self, argv: Sequence[str] | None, cwd: str | None) -> tuple[list[str], str]:
        """(argv, cwd) as they will be used; raises InvalidParams. Looks at files: run it in a thread."""

    def remarks(self, argv: Sequence[str]) -> list[str]:
        """What looks like a mistake in a template that is taken as it is."""

    def command(self, work: Work, environ: Mapping[str, str]) -> Command:
        """What to execute; `environ` is the daemon's own environment, of which little is passed on."""

    def reader(self) -> OutputReader:
        """A reader for a new attempt."""

    def ending(self, exited: ExitRecord, output: bytes) -> Ending:
        """What an exit means; `output` is the end of stdout, `result_bytes_max` at most."""
