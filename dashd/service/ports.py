"""Outside questions that the service asks, one Protocol each; `app` fills them in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import msgspec
import trio

from dashd.domain.prices import Price
from dashd.domain.session_tree import Transcript
from dashd.domain.speech import USUAL, FormatName, Speaks
from dashd.wire.methods.program import Program, ProgramChecked, ProgramInstalled


class DriverAbilities(msgspec.Struct, frozen=True):
    """What one agent program can do."""

    pause: Literal["hard", "soft"]
    message: bool
    """It takes messages while it runs."""
    needs_model: bool
    """It can do nothing without a model behind the proxy."""
    breaks_off: bool
    """A message can break off what it is at."""
    keeps_session: bool
    """Its program writes its conversation down as it goes."""
    compacts: bool
    """What was said to it can be summed up while it runs."""
    at_once: int | None
    """How many of its agents may run at once; None where only the daemon's own bound counts."""
    asks: bool
    """Its program asks before it runs a command, writes a file or uses a tool, where something is ruled."""
    first_bytes: int
    """Of its program's first call, beside what the agent is told."""
    formats: tuple[FormatName, ...] = ()
    """In which its program can call a model, preferred first; none: any."""


class Drivers(Protocol):
    """The agent programs that this daemon can run."""

    async def choose(self, name: str | None, *, has_argv: bool) -> tuple[str, str]:
        """(driver, why this one); raises Unsupported naming the drivers there are."""

    def abilities(self, name: str) -> DriverAbilities:
        """What a driver can do."""

    def remarks(self, name: str, argv: Sequence[str]) -> list[str]:
        """What looks like a mistake in an argv that passed `check`, each with what was probably meant; and
        what that has found odd about the driver's program.
        """

    def told(self, name: str, task: str, item: str, folder: str, write: Sequence[str] | None) -> str:
        """What an agent of that driver is told of such a task; empty where that is its command alone. `write`
        are the folders that it may write in, None for no limit.
        """

    async def check(
        self, name: str, argv: Sequence[str] | None, cwd: str | None, *, away: bool = False
    ) -> tuple[list[str], str]:
        """(argv, cwd) as the driver will use them; raises InvalidParams saying what would be right. `away`:
        its agents run in gateways that were added; where there are some, no program need be here.
        """


class Programs(Protocol):
    """Agent programs on this machine. Each question may raise NotFound for a name that is none."""

    async def listed(self) -> list[Program]:
        """All that this build can use."""

    async def install(self, name: str) -> ProgramInstalled:
        """Fetches it and what it needs; raises Unsupported, Conflict, Unavailable, DeadlinePassed."""

    async def check(self, name: str) -> ProgramChecked:
        """Looks at every file of it and runs it once."""


class Chunk(msgspec.Struct, frozen=True):
    """A piece of what an agent printed."""

    output: bytes
    next_offset: int


class Ticket(Protocol):
    """A place in the audience of the next ring."""

    async def wait(self) -> object:
        """Returns once it has rung; cancellable."""


class Spools(Protocol):
    """What agents printed, by launch."""

    async def read(self, launch_id: str, offset: int | None, bytes_max: int, stream: int | None) -> Chunk:
        """From `offset`, or the last `bytes_max` where it is None; `stream` 1 stdout, 2 stderr, None both.

        Empty only where nothing of that stream follows. Raises InvalidParams for an offset that is none.
        """

    def ticket(self, launch_id: str) -> "Ticket":
        """Rings when an open launch has printed more or ended; take it before looking, then wait."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that can be called now."""

    name: str
    provider: str
    price: Price
    output_tokens_max: int
    why: str = ""
    """Why this one, where nobody named it."""
    format: FormatName = USUAL
    """In which it is called."""
    left_out: tuple[str, ...] = ()
    """Those of its chain that are not served in that format, and so never called: `provider/model`."""


@dataclass(frozen=True, slots=True)
class ModelSeen:
    """A model of one provider, as the registry sees it now."""

    offer: Offer
    aliases: list[str]
    capabilities: list[str]
    context_tokens: int | None
    health: Literal["up", "down", "unknown"]
    latency_ms: float | None
    stand_in: bool


class CallWait(msgspec.Struct, frozen=True):
    """What a call of an agent waits for."""

    what: Literal["budget", "line", "rate", "provider"]
    on: str
    """The budget, the limit as its setting is called, or the provider."""
    text: str
    since_ms: int
    until_ms: int | None


class AliasSeen(msgspec.Struct, frozen=True):
    """Another name, as the registry sees it now."""

    name: str
    means: str
    leads_to: list[str]
    """provider/model, in the order in which a call tries them."""


class Models(Protocol):
    """The models behind the proxy."""

    async def choose(self, model: str | None, speaks: Speaks | None = None) -> Offer | None:
        """What somebody would call first for a name, an alias or a chain, by default where it is None.

        None where there is no model at all; raises InvalidParams for one that is not known, or that is served
        in no format which they speak.
        """

    async def offers(self) -> list[Offer]:
        """Those that can be called now, stand-ins left out unless there is nothing else."""

    async def prices_date(self) -> str:
        """Of the price list: its version, because it carries no date; empty where none is needed. It is
        loaded first where a provider needs it.
        """

    async def seen(self, model: str | None) -> list[ModelSeen]:
        """Who serves a model, first choice first, or all models; raises InvalidParams for one not known."""

    async def aliases(self) -> list[AliasSeen]:
        """All other names, in the order of the alphabet."""

    async def rivals(self, model: str) -> list[str]:
        """The providers that serve a model, or might, where a price that names none does not decide."""

    async def swap(self, agent_id: str) -> None:
        """The agent's next call goes to what its row says."""

    async def spoken(self, agent_id: str) -> FormatName | None:
        """In which the program that the agent runs, or its swarm's gateway, is told to call; None where there
        is neither.
        """

    def waiting(self, agent_id: str) -> CallWait | None:
        """What a call of the agent waits for; None where none does."""


class ProviderState(msgspec.Struct, frozen=True):
    """How a provider fares."""

    circuit: Literal["closed", "open", "half-open"]
    frozen: str | None
    models: int
    heard: bool = False
    """Whether it has answered a call or a test since it was added or the daemon has started."""


class Tested(msgspec.Struct, frozen=True):
    """What a provider answered."""

    ok: bool
    text: str
    status: int | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class WallsState:
    """What walls this machine can put around agents, and what it must."""

    grade: Literal["A", "B", "C", "M", "0"]
    grade_min: Literal["A", "B", "C", "M", "0"] = "0"
    required: bool = False
    """False: the configuration lets agents run without any."""
    why: str = ""
    """Why the grade is not better."""
    fix: str = ""

    @property
    def enough(self) -> bool:
        """Whether agents may be started."""
        order = ("A", "B", "C", "M", "0")
        return order.index(self.grade) <= order.index(self.grade_min)


class Walls(Protocol):
    """The walls around agents."""

    async def state(self) -> WallsState:
        """What can be built here now."""

    async def check(self, write: Sequence[str], read: Sequence[str]) -> None:
        """Raises InvalidParams for a folder that no agent may have: a home, Dash's own, one behind a link, or
        not there, or one to write with a file that is hard-linked from outside.
        """

    def enforcers(self, grade: str, bounds: str, shown: str | None) -> dict[str, tuple[str, str]]:
        """Each bound of an agent of that grade, in words, and what holds it; `bounds` is its swarm's, `shown`
        what its launch says of its walls (column `launch.jail`).
        """


@dataclass(frozen=True, slots=True)
class RepositorySeen:
    """A repository as it stands now."""

    path: str
    """Its top folder."""
    commit: str
    """What the base names."""
    dirty: bool
    """It has changes that are not in any commit."""
    head: str
    """The branch it is on; empty if it is on none, or bare."""
    missing: tuple[str, ...] = ()
    """Folders that are not in that commit."""
    stores: tuple[str, ...] = ()
    """Where it keeps its objects, and borrows them from; agents read there."""
    bare: bool = False
    """It has no checkout: landing moves a branch of it, and no files."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Of those folders, and those around them, which are links in that commit, and where each leads."""


class FileSeen(msgspec.Struct, frozen=True):
    """A file that an agent has changed."""

    path: str
    status: str
    lines_added: int | None
    lines_removed: int | None
    from_path: str
    flags: tuple[str, ...]


class DiffSeen(msgspec.Struct, frozen=True):
    """What a workspace differs from its base in; `cut`: there is more of the patch."""

    base: str
    files: list[FileSeen]
    more_files: int
    nested: tuple[str, ...]
    patch: str
    cut: bool


class Repositories(Protocol):
    """The users' repositories, and the workspaces made of them."""

    async def look(
        self, repo: str, base: str, *, granted: Sequence[str] = (), folders: Sequence[str] = ()
    ) -> RepositorySeen:
        """Raises Unsupported, InvalidParams or Unavailable, saying what would help."""

    async def tip(self, repo: str, branch: str, *, granted: Sequence[str] = ()) -> str | None:
        """The commit that a branch is at; None where there is no such branch."""

    async def diff(self, owner: str, patch_bytes_max: int, files_max: int) -> DiffSeen | None:
        """What has changed in a workspace, committed or not; None where it is not there."""

    async def diff_kept(
        self,
        repo: str,
        base: str,
        commit: str,
        patch_bytes_max: int,
        files_max: int,
        *,
        salvage: bool,
        granted: Sequence[str] = (),
    ) -> DiffSeen:
        """What a commit that a workspace has left changes of its base, be it its salvage or its agent's own;
        raises Unavailable.
        """


class Providers(Protocol):
    """Who serves models, and their secrets."""

    changing: trio.Lock
    """Held around a change of rows and what follows from it."""

    async def obtain(self, secret: str | None, command: Sequence[str] | None) -> str | None:
        """The secret that was given, or that the command prints; raises InvalidParams where it is none."""

    async def keep(self, name: str, secret: str) -> None:
        """Keeps a provider's secret durably, in place of an earlier one; raises Unavailable."""

    async def follow(self, fresh: str | None = None, secret: str | None = None) -> None:
        """Makes the registry what the rows say; `fresh` is a provider that is new, with its secret."""

    async def states(self) -> dict[str, ProviderState]:
        """By name."""

    async def test(self, name: str) -> Tested:
        """Reads the secret again, asks the provider, and sends to it again if it was frozen and takes it."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whom a key names."""

    name: str
    """Unlike that of any other key that stands."""
    actor: Literal["operator", "orchestrator"]
    proof: str
    """What `stands` is asked about; it says nothing of the secret."""
    within: tuple[str, ...] | None = None
    unsafe_no_jail: bool = False
    """These two as in `core.Caller`."""


class Keys(Protocol):
    """The keys by which programs say who they are."""

    async def identify(self, key: str) -> Speaker | None:
        """Whom the key names; None where it is unknown, expired, revoked or for the proxy alone."""

    def stands(self, proof: str) -> bool:
        """Whether a key that was identified may still be used; asked before each call, so it is quick."""

    async def follow(self) -> None:
        """Knows whom the rows name, and nobody else; at a start, and before a change is answered."""


class Outside(Protocol):
    """The proxy's door for programs outside."""

    url: str
    """Its base address; empty while it is shut."""
    problem: str
    """Why it cannot be opened, and what to do; empty where it can."""

    async def follow(self) -> None:
        """Lets in whom the rows name, and nobody else; opens with the first key, shuts with the last."""

    def last_used_ms(self, key_id: str) -> int | None:
        """When the key opened the door last (its row says so once a minute); None: not since the start."""


class Sessions(Protocol):
    """Conversations that agents' programs write down, and the copies of them."""

    async def live(self, driver: str, launch_id: str) -> Transcript:
        """As it is now, without a last line that is half written.

        Raises Conflict where nothing was said, Unsupported for a driver that keeps none, Unavailable,
        NotASession.
        """

    async def kept(self, driver: str, checkpoint_id: str) -> Transcript:
        """A copy. Raises Unavailable, Unsupported, NotASession."""

    async def keep(self, checkpoint_id: str, data: bytes) -> None:
        """Makes a copy, durable when this returns. Raises Unavailable."""

    def forget(self, checkpoint_ids: Sequence[str]) -> None:
        """Removes copies whose rows are no more, or never were; to be called after a commit."""
