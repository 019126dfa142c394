"""What a driver is: how a task becomes a process, what its output says, and how its end is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from dashd.domain.asking import Ask
from dashd.domain.attempt import Ending
from dashd.domain.brief import Earlier, compose
from dashd.domain.session_tree import Transcript
from dashd.domain.speech import USUAL, FormatName
from dashd.jail.launch_folder import ExitRecord

CONTEXT_TOKENS = 128_000
"""Of a model of which nobody knows."""
OUTPUT_PART = 4
"""The most of a model's context that an answer may take."""
SPARED_BYTES = 2 << 30
"""Of a machine's memory: no agent's."""
OVER_BUDGET = "its budget did not cover the next call"
"""How an attempt ends, whatever its program, whose call was refused for that."""


class ModelAccess(msgspec.Struct, frozen=True):
    """An agent's way to a model: its own listener at the proxy, and the key that names it there."""

    url: str
    """The base address, `/v1` included."""
    key: str
    name: str
    """The model to ask for."""
    context_tokens: int | None = None
    """What it takes, where that is known."""
    format: FormatName = USUAL
    """In which it is to be called; one of the driver's."""

    @property
    def context(self) -> int:
        """What its program is told that it takes, in tokens."""
        return self.context_tokens or CONTEXT_TOKENS

    def output(self, most: int) -> int:
        """The longest answer that its program asks for, `most` where the context has room for that."""
        return min(most, self.context // OUTPUT_PART)


@dataclass(frozen=True, slots=True)
class Session:
    """Where a program keeps its conversation, and what is there already."""

    folder: str
    """By absolute path; there when it starts."""
    forked: bool = False
    """It began as a copy of another one, made before this task was known."""
    resumed: bool = False
    """An attempt before this one was killed in it."""
    compacts: bool = False
    """It is to be summed up, and nothing else is to be done."""
    keep: str = ""
    """What that summary is not to leave out."""
    broken_off: bool = False
    """The other one was stopped at its work: its last tool call may have done anything."""


class SessionFormat(Protocol):
    """How the program of a driver writes its conversations down."""

    session_id: str
    """Of the one session that is in a folder."""

    def file_name(self, at_ms: int) -> str:
        """Where a new one's file is, below a session's folder, so that the program finds it."""

    async def live(self, folder: Path) -> bytes:
        """All that stands in a session's folder now, which may end inside a line.

        Raises NothingThere, NotASession, and OSError where it cannot be read.
        """

    def read(self, data: bytes) -> Transcript:
        """Raises NotASession. Takes a moment for a long one: run it in a thread."""


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
    write: tuple[str, ...] | None = None
    """The folders that it may write in, by absolute path; None where nothing limits it."""
    earlier: tuple[Earlier, ...] = ()
    """What the tasks returned that this one had to wait for."""
    session: Session | None = None
    """Of a driver that keeps sessions."""
    program: str = ""
    """What the place that it was given to runs, where that is not what is found here."""

    @property
    def brief(self) -> str:
        """What an agent that is talked with is told first."""
        return compose(
            task=self.task, item=self.item, folder=self.cwd, write=self.write, earlier=self.earlier
        )


@dataclass(frozen=True, slots=True)
class Command:
    """What is executed."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    stdin: bool
    """It reads numbered inputs; otherwise its standard input is empty."""
    programs: tuple[str, ...] = ()
    """Folders outside its scope that hold its program; its jail shows them, read-only."""
    reserved_bytes: int = 0
    """Address space that each of its processes reserves and does not use: no part of its memory."""


class Progress(msgspec.Struct, frozen=True):
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


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a program takes of a machine for each agent."""

    per_core_max: int
    each_bytes: int

    def at_once(self, cores: int, memory_bytes: int) -> int:
        """How many of them a machine can run at once."""
        return max(1, min(cores * self.per_core_max, (memory_bytes - SPARED_BYTES) // self.each_bytes))


@dataclass(frozen=True, slots=True)
class Printed:
    """How a program is read that nothing is said to."""

    reader: Callable[[], OutputReader]
    """A reader for a new attempt."""
    exit: Callable[[int | None, bytes], Ending]
    """What an exit code means, by the end of stdout, `result_bytes_max` at most."""
    result_bytes_max: int

    def ending(self, exited: ExitRecord, output: bytes) -> Ending:
        """What an end means; `output` as above."""
        if exited.reason == "start":
            ending = Ending("failed", f"could not start: {exited.error}")
        elif exited.signal is not None:
            ending = Ending("failed", f"ended by signal {exited.signal}", exit_signal=exited.signal)
        else:
            ending = self.exit(exited.code, output)
        return replace(ending, cpu_ms=exited.cpu_ms, rss_max_kib=exited.max_rss_kib)


class Input(msgspec.Struct, frozen=True):
    """Something for a program's standard input."""

    key: str
    """What it is for, once in a conversation: said again after a crash, it is known by this and not sent."""
    data: bytes
    eof: bool = False
    """Nothing comes after it; the program ends when it has read that."""


ToldKind = Literal["message", "after", "now", "compact", "leave", "expire", "answer"]


class Asks(msgspec.Struct, frozen=True):
    """Something that a program is about to do, and waits for a word about."""

    key: str
    asks: tuple[Ask, ...]
    """All of them must be allowed."""


class Told(msgspec.Struct, frozen=True):
    """Something from outside that a conversation hears of.

    message: somebody says `text` to the agent, to be heard between two steps of its work; after: once it has
    done what it is at; now: what it is at is broken off first. compact: what was said so far is summed up
    between two steps, with `text` in mind. leave: the attempt was told to stop, and ends in an orderly way,
    soon. expire: the stage has taken longer than it may, and the attempt fails. answer: to the Asks of that
    key, `allow` or `deny`.
    """

    kind: ToldKind
    key: str
    text: str = ""


History = Mapping[str, Sequence[Told]]
"""What was told right after each input, by that input's key; under "" what came before the first."""


class Stage(msgspec.Struct, frozen=True):
    """How far a conversation is, and how long that may take."""

    name: str
    limit_s: float | None
    """None: only the attempt's own limit counts."""


class Conversation(OutputReader, Protocol):
    """What is said to a program that runs, made of what it prints and of nothing else: no I/O, no clock.

    After a crash a new one is fed everything printed from the first byte on, and comes to the same inputs
    under the same keys; those that were given already are not given again.
    """

    inputs: list[Input]
    """All so far, in order; only ever added to."""
    asks: list[Asks]
    """The same of what it wants a word about."""
    stage: Stage

    @property
    def starting(self) -> bool:
        """The program is not ready yet; few may be so at once."""

    def tell(self, told: Told) -> None:
        """Something happened outside; where it leads to inputs, the first one has its key."""

    def ending(self, exited: ExitRecord) -> Ending:
        """What its end means, all output having been fed."""


class Driver(Protocol):
    """One agent program."""

    name: str
    pause: Literal["hard", "soft"]
    takes_messages: bool
    breaks_off: bool
    """It can be told something now (see Told)."""
    compacts: bool
    """It can be told to sum up what was said."""
    needs_model: bool
    """Its program calls a model; it is started with a way to one."""
    formats: tuple[FormatName, ...]
    """In which its program can call one, preferred first; none where it is anybody's program."""
    first_bytes: int
    """Of its program's first call, beside what the agent is told: its own instructions and tools, and folders
    by name. With room to spare, since a budget is refused by it that could never start the agent.
    """
    can_ask: bool
    """Its program asks before it acts, about what `Work.asks` names."""
    keeps_session: bool
    """Its program writes its conversation down as it goes, in a folder, and goes on there after a kill."""
    sessions: SessionFormat | None
    """How that is read and copied; None where it keeps none."""
    refusals: Literal["embedded", "pi", "openclaw"]
    """How the proxy puts a refusal so that the program does the right thing."""
    printed: Printed | None
    """How its program is read; None where it is talked with, and its conversation reads it."""

    def check(self, argv: Sequence[str] | None, cwd: str | None) -> tuple[list[str], str]:
        """(argv, cwd) as they will be used; raises InvalidParams. Looks at files: run it in a thread."""

    def remarks(self, argv: Sequence[str]) -> list[str]:
        """What looks like a mistake in a template that is taken as it is."""

    def command(self, work: Work, environ: Mapping[str, str]) -> Command:
        """What to execute; `environ` is the daemon's own environment, of which little is passed on.

        Raises LaunchFailed where its program has gone, and its place with it.
        """

    def told(self, work: Work) -> str:
        """What its program is told of the task first; empty where all that there is is its command."""

    def conversation(self, work: Work, history: History) -> Conversation | None:
        """What is said to the program of an attempt; None where nothing is, and `printed` says it all."""
