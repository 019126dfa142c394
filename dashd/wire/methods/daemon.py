"""`daemon.*`: the daemon about itself."""

from typing import Literal

from .table import Method, Params, Result


class Ping(Params):
    """Asks whether dashd answers."""


class Pong(Result):
    """dashd answers."""

    version: str
    pid: int


class GetStatus(Params):
    """Asks what dashd is doing."""


class Status(Result):
    """What dashd is doing; counts are of what has not been destroyed."""

    version: str
    pid: int
    epoch: int
    started_at: str
    uptime_s: float
    state: Literal["starting", "ready", "degraded", "stopping"]
    warnings: list[str]
    """Why it is degraded, or what an operator should know."""
    socket: str
    database: str
    agents_max: int
    swarms: dict[str, int]
    agents: dict[str, int]
    tasks: dict[str, int]
    last_seq: int
    adopted: int
    """Live agents taken over from the previous daemon at this start."""
    audit: str = ""
    """Where the record of who did what ends, `seq:hash`; noted elsewhere, it shows later what was cut."""


class Stop(Params):
    """Asks dashd to end. `detach` leaves agents to their leases, `stop` ends them first."""

    agents: Literal["detach", "stop"] = "detach"


class Stopping(Result):
    """dashd is ending; the connection closes soon."""

    agents: Literal["detach", "stop"]
    live: int
    """Agents that run at this moment."""


METHODS = (
    Method("daemon.ping", Ping, Pong, "Answers at once."),
    Method("daemon.status", GetStatus, Status, "Says what dashd is doing and whether anything is wrong."),
    Method(
        "daemon.stop",
        Stop,
        Stopping,
        "Ends dashd; agents live on unless asked.",
        changes=True,
        destructive=True,
    ),
)
