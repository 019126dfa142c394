"""`rpc.*`: the door about itself."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .table import Method, Name, Params, Result


class Discover(Params):
    """Asks for the OpenRPC document."""


class Discovered(Result):
    """The OpenRPC document."""

    openrpc: str
    info: dict[str, Any]
    methods: list[dict[str, Any]]
    components: dict[str, Any]


class Hello(Params):
    """Introduces a client; optional, and best as the first call."""

    client: Name
    key: Annotated[str, Meta(min_length=1, max_length=200)] | msgspec.UnsetType = msgspec.UNSET
    """A key sets the actor; without one the actor is the peer's uid."""


class Welcome(Result):
    """Who the caller is taken for."""

    version: str
    actor: Literal["operator", "orchestrator"]
    uid: int
    methods: list[str]
    """What it may call."""
    who: str = ""
    """As the audit names it."""


METHODS = (
    Method("rpc.discover", Discover, Discovered, "Gives the OpenRPC document of this daemon."),
    Method("rpc.hello", Hello, Welcome, "Introduces a client and says who it is taken for."),
)
