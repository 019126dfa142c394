"""Ports about the places that work is given to: gateways, and where Pis run. See `ports`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import trio

from dashd.store.registry import Look


@dataclass(frozen=True, slots=True)
class PlaceSeen:
    """How a gateway fares, or a place where Pis run, as this daemon sees it now; the latter is alive where
    it can start one.
    """

    health: Literal["alive", "dead", "unknown"]
    why: str = ""
    """Why it is not alive."""
    latency_ms: float | None = None
    version: str | None = None


class Gateways(Protocol):
    """The gateways, and the tokens of those that were added."""

    changing: trio.Lock
    """Held around a change of rows and what follows from it."""

    async def obtain(self, token: str | None, command: Sequence[str] | None) -> str:
        """The token that was given, or that the command prints; raises InvalidParams where it is none."""

    async def keep(self, name: str, token: str) -> None:
        """Keeps a token durably, in place of an earlier one; raises Unavailable."""

    async def forget(self, name: str) -> None:
        """No file holds the token afterwards."""

    async def follow(self) -> None:
        """Knows whom the rows name, and nothing of a former one of the same name."""

    def seen(self) -> dict[str, PlaceSeen]:
        """By name, or by launch for Dash's own; those that are not in it have not been looked at."""

    def looks(self) -> dict[str, Look]:
        """Of those that were added, by name: what work is placed by."""

    def why(self, swarm: str, /) -> str:
        """Why the swarm's own gateway is not up; empty where it is."""

    async def ask(self, name: str) -> PlaceSeen:
        """Asks one now, by its name or its launch; an added one with its token read again."""


class Instances(Protocol):
    """The places where Pis run."""

    changing: trio.Lock
    """Held around a change of rows and what follows from it."""

    async def place(self, program: str) -> str:
        """Where a program is, links followed. Raises InvalidParams for one that is not there, or lies where
        no agent may look.
        """

    async def here(self) -> str | None:
        """What this machine's own seats run."""

    async def follow(self) -> None:
        """Knows whom the rows name, and nothing of a former one of the same name."""

    def seen(self) -> dict[str, PlaceSeen]:
        """By name; those that are not in it have not been looked at."""

    def looks(self) -> dict[str, Look]:
        """The same, as work is placed by it."""

    async def look(self, name: str) -> PlaceSeen:
        """Looks at one now."""

    async def look_here(self) -> str:
        """Has the version known of what this machine's own seats run; why it does not say it."""
