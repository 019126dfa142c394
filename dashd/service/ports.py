"""Outside questions that the service asks, one Protocol each; `app` fills them in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class DriverAbilities:
    """What one agent program can do."""

    pause: Literal["hard", "soft"]
    message: bool
    """It takes messages while it runs."""


class Drivers(Protocol):
    """The agent programs that this daemon can run."""

    def choose(self, name: str | None) -> tuple[str, str]:
        """(driver, why this one); raises Unsupported naming the drivers there are."""

    def abilities(self, name: str) -> DriverAbilities:
        """What a driver can do."""

    def remarks(self, name: str, argv: Sequence[str]) -> list[str]:
        """What looks like a mistake in an argv that passed `check`, each with what was probably meant."""

    async def check(self, name: str, argv: Sequence[str] | None, cwd: str | None) -> tuple[list[str], str]:
        """(argv, cwd) as the driver will use them; raises InvalidParams saying what would be right."""


@dataclass(frozen=True, slots=True)
class Chunk:
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
