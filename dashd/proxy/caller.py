"""Who calls, how patient everybody is, and where an answer goes: what the server hands to the exchange and
the tunnels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import trio

from dashd.domain.circuit import Circuits
from dashd.domain.wish import Wish

from .formats.format import Style
from .ledger import Payer
from .rates import Rates

if TYPE_CHECKING:
    from .asks import Desk

LOOKUPS_MAX = 2


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take."""

    first_byte_s: float = 120.0
    """From sending a try to the first byte of a streamed answer."""
    whole_s: float = 900.0
    """The same for an answer that is not streamed: it comes all at once, at the end."""
    probe_s: float = 10.0
    """The same for a call that tries whether somebody who was down is well again; see Circuits.probe_s."""
    idle_s: float = 60.0
    """Between two pieces of a stream; then it has stalled."""
    total_s: float = 1_800.0
    """Of one try."""
    line_s: float = 30.0
    """How long a program outside waits for money."""
    held_s: float = 1_800.0
    """How long an agent's call is held: by a frozen provider, its rate, the line; what HeldTime counts."""
    retry_s: float = 60.0
    """How long a call is retried and rerouted from its first fault on."""
    drain_s: float = 10.0
    """How long an answer is read on after its caller has left."""

    def of_probe(self, circuits: Circuits, model: str, usual_s: float) -> "Patience":
        """A probe that says nothing gives up early: as long as it lasts, nobody else gets in."""
        first_byte_s, whole_s = (
            circuits.probe_s(model, self.probe_s, full_s, usual_s)
            for full_s in (self.first_byte_s, self.whole_s)
        )
        return replace(self, first_byte_s=first_byte_s, whole_s=whole_s)


@dataclass
class Traffic:
    """What one caller moves through tunnels, and how that is ended."""

    open: int = 0
    opened: int = 0
    """Since the first one."""
    bytes: int = 0
    """In both directions, over all of them."""
    shut: bool = False
    ends: set[Callable[[Any], None]] = field(default_factory=set)
    """Each ends one open tunnel; it takes the reason."""
    told: set[tuple[str, str]] = field(default_factory=set)
    """(host, kind) of refusals that were recorded."""
    turns: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(LOOKUPS_MAX))
    """Of looking names up: a thread that hangs there holds one of its own caller's."""

    def close(self) -> None:
        """Ends every tunnel; none opens again."""
        self.shut = True
        for end in tuple(self.ends):
            end("revoked")


@dataclass
class Caller:
    """Whose call it is, and what is known of them; `model` and `rates` may change between calls."""

    payer: Payer
    style: Style
    model: str | Wish | None = None
    """Asked for instead of what the call names: this is how an agent's model is swapped."""
    rates: Rates | None = None
    held_s: float | None = None
    """Instead of Patience.held_s, where the caller's program gives up earlier."""
    calls: bool = True
    """It may call models; otherwise its key opens tunnels to its hosts and nothing else."""
    hosts: tuple[str, ...] = ()
    """What CONNECT opens, each in the form of `domain.hosts.parse_all`."""
    traffic: Traffic = field(default_factory=Traffic)
    desk: "Desk | None" = None
    """Where it asks before it acts; None for programs that are no agent."""


class Refused(Exception):
    """A request that does not reach whoever would answer it."""

    def __init__(self, status: int, kind: str, message: str, *, reason: str = "", **headers: str) -> None:
        """`reason` instead of the status's own phrase; `headers` with _ for -."""
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.reason = reason
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Gone(Exception):
    """The caller has hung up."""


class Reply(Protocol):
    """Where an answer goes; both coroutines raise Gone."""

    started: bool

    def watch(self, left: Callable[[], None]) -> None:
        """Calls `left` once when the caller hangs up, at once where it has already."""

    async def start(self, status: int, headers: Mapping[str, str], *, length: int | None) -> None:
        """The head; `length` of the body in bytes, None for a stream."""

    async def send(self, data: bytes) -> None:
        """Some of the body."""
