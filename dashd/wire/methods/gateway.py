"""`gateway.*`: processes that agents run in together. Tokens go in and never come out."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from .table import Id, Liveness, Method, Name, Params, Result

Word = Annotated[str, Meta(max_length=4_096)]
Url = Annotated[str, Meta(min_length=8, max_length=200)]


class AddGateway(Params):
    """Adds an existing gateway on this host, or replaces the one of that name."""

    name: Id
    url: Url
    """Its address on loopback: `ws://127.0.0.1:18789`."""
    token: Annotated[str, Meta(min_length=1, max_length=10_000)] | msgspec.UnsetType = msgspec.UNSET
    """Kept in a file of mode 0600, nowhere else."""
    token_command: Annotated[list[Word], Meta(min_length=1, max_length=50)] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    """A command that prints the token; no shell reads it. Run now and at each start, by absolute path."""
    capabilities: Annotated[list[Name], Meta(max_length=50)] = field(default_factory=list)
    region: Name | msgspec.UnsetType = msgspec.UNSET
    capacity: Annotated[int, Meta(ge=1, le=1_000)] = 8
    """Runs at once."""
    unsafe_no_jail: bool = False
    """Dash puts no walls around a gateway that it did not start; without this it is refused."""


class GetGateways(Params):
    """Asks for the gateways."""


class NameGateway(Params):
    """Names a gateway."""

    name: Id


class DrainGateway(Params):
    """Names a gateway that shall take nothing new."""

    name: Id
    on: bool = True
    """False: it takes work again."""
    wait_s: Annotated[float, Meta(ge=0, le=3_600)] = 0.0
    """To answer as soon as nothing runs in it, or after so many seconds."""


class Gateway(Result):
    """A gateway; its token is never shown."""

    name: str
    kind: Literal["own", "added"]
    """Own: started by Dash for one swarm, in a jail."""
    health: Liveness
    """Of an added one: unknown until it has been asked, and after one question without an answer."""
    why: str
    """Why it is not alive."""
    grade: str | None
    """Of the walls around it: 0 is none; null: not known yet."""
    swarm: str | None
    url: str | None
    secret: Literal["file", "command", "none"]
    """Where its token is kept."""
    capabilities: list[str]
    region: str | None
    version: str | None
    """As it last said."""
    capacity: int
    load: int
    """Attempts that run in it."""
    draining: bool


class GatewayList(Result):
    """The gateways."""

    gateways: list[Gateway] = field(default_factory=list)


class GatewayChanged(Result):
    """What became of it."""

    name: str
    changed: bool


class GatewayDrained(Result):
    """What became of it, and what runs in it still."""

    name: str
    changed: bool
    running: list[str] = field(default_factory=list)
    """Agents."""


class GatewayHealth(Result):
    """Whether it answers and takes the token, asked just now."""

    name: str
    ok: bool
    health: Liveness
    text: str
    latency_ms: float | None
    version: str | None


METHODS = (
    Method("gateway.add", AddGateway, Gateway, "Adds an existing gateway on this host.", changes=True),
    Method("gateway.list", GetGateways, GatewayList, "Lists the gateways."),
    Method("gateway.get", NameGateway, Gateway, "Shows a gateway."),
    Method("gateway.health", NameGateway, GatewayHealth, "Asks a gateway whether it is ready."),
    Method("gateway.drain", DrainGateway, GatewayDrained, "Lets a gateway take nothing new.", changes=True),
    Method(
        "gateway.remove",
        NameGateway,
        GatewayChanged,
        "Removes an added gateway in which nothing runs, and its token; it runs on.",
        changes=True,
    ),
)
