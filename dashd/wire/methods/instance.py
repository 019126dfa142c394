"""`instance.*`: places where Pis run: this machine's own seats, and other installations of Pi on it."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from .table import Id, Liveness, Method, Name, Params, Result

Program = Annotated[str, Meta(min_length=1, max_length=4_096)]
Source = Literal["auto-spawn", "static", "gateway"]


class AddInstance(Params):
    """Adds another installation of Pi on this host, or replaces the one of that name."""

    name: Id
    program: Program | msgspec.UnsetType = msgspec.UNSET
    """Its `cli.js`, or what it is run by, as an absolute path."""
    source: Source = "static"
    """Static: on this host. Gateway: Pis behind Dash on another host, which is not supported yet. Those of
    auto-spawn are made by Dash itself.
    """
    capabilities: Annotated[list[Name], Meta(max_length=50)] = field(default_factory=list)
    region: Name | msgspec.UnsetType = msgspec.UNSET
    capacity: Annotated[int, Meta(ge=1, le=1_000)] = 8
    """Runs at once."""


class GetInstances(Params):
    """Asks for the instances."""


class NameInstance(Params):
    """Names an instance."""

    name: Id


class DrainInstance(Params):
    """Names an instance that shall take nothing new."""

    name: Id
    on: bool = True
    """False: it takes work again."""
    wait_s: Annotated[float, Meta(ge=0, le=3_600)] = 0.0
    """To answer as soon as nothing runs in it, or after so many seconds."""


class Instance(Result):
    """An instance."""

    name: str
    source: Literal["auto-spawn", "static"]
    """Auto-spawn: seats on this machine, for the Pi that Dash finds. Static: another one, that was added."""
    health: Liveness
    """Of a static one: unknown until it has been looked at, and after one look that failed."""
    why: str
    """Why it is not alive."""
    program: str | None
    """What is run; null: none is here."""
    capabilities: list[str]
    region: str | None
    version: str | None
    """As it last said."""
    capacity: int
    load: int
    """Attempts that run in it."""
    draining: bool


class InstanceList(Result):
    """The instances."""

    instances: list[Instance] = field(default_factory=list)


class InstanceChanged(Result):
    """What became of it."""

    name: str
    changed: bool


class InstanceDrained(Result):
    """What became of it, and what runs in it still."""

    name: str
    changed: bool
    running: list[str] = field(default_factory=list)
    """Agents."""


class InstanceHealth(Result):
    """Whether its program is there and says its version, looked at just now."""

    name: str
    ok: bool
    health: Liveness
    text: str
    latency_ms: float | None
    version: str | None


METHODS = (
    Method("instance.add", AddInstance, Instance, "Adds another Pi on this host.", changes=True),
    Method("instance.list", GetInstances, InstanceList, "Lists the places where Pis run."),
    Method("instance.get", NameInstance, Instance, "Shows an instance."),
    Method("instance.health", NameInstance, InstanceHealth, "Looks whether an instance can start a Pi."),
    Method(
        "instance.drain", DrainInstance, InstanceDrained, "Lets an instance take nothing new.", changes=True
    ),
    Method(
        "instance.remove",
        NameInstance,
        InstanceChanged,
        "Removes an added instance in which nothing runs; its program stays.",
        changes=True,
    ),
)
