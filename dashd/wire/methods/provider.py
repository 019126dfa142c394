"""`provider.*`: who serves models. Secrets go in and never come out."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from .table import Id, Method, Name, Params, Result

Word = Annotated[str, Meta(max_length=4_096)]
Url = Annotated[str, Meta(min_length=8, max_length=500)]
Wire = Literal["openai-chat", "openai-responses", "anthropic"]


class AddProvider(Params):
    """Adds a provider, or replaces the one of that name."""

    name: Id
    format: Wire
    url: Url
    """The address before `/chat/completions`, `/responses` or `/messages`."""
    secret: Annotated[str, Meta(min_length=1, max_length=10_000)] | msgspec.UnsetType = msgspec.UNSET
    """Kept in a file of mode 0600, nowhere else."""
    secret_command: Annotated[list[Word], Meta(min_length=1, max_length=50)] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    """A command that prints the secret; no shell reads it. Run now and at each start, by absolute path."""
    models: Annotated[list[Name], Meta(max_length=200)] = field(default_factory=list)
    """The models it serves, the default one first; none means all that the price list knows of it."""


class GetProviders(Params):
    """Asks for the providers."""


class NameProvider(Params):
    """Names a provider."""

    name: Id


class Provider(Result):
    """A provider; its secret is never shown."""

    name: str
    format: Wire
    url: str
    secret: Literal["file", "command", "none"]
    circuit: Literal["closed", "open", "half-open"]
    frozen: str | None
    """Why nothing is sent to it: a terminal quota or billing error."""
    models: int
    """How many of its models are priced."""
    heard: bool = False
    """Whether it has answered a call or a test since it was added or the daemon has started."""


class ProviderList(Result):
    """The providers."""

    providers: list[Provider] = field(default_factory=list)


class ProviderChanged(Result):
    """What became of it."""

    name: str
    changed: bool


class ProviderTested(Result):
    """Whether it answers and takes the secret."""

    name: str
    ok: bool
    status: int | None
    latency_ms: float | None
    text: str


METHODS = (
    Method("provider.add", AddProvider, Provider, "Adds a provider.", changes=True),
    Method("provider.list", GetProviders, ProviderList, "Lists the providers."),
    Method("provider.test", NameProvider, ProviderTested, "Asks a provider whether it takes the secret."),
    Method(
        "provider.remove",
        NameProvider,
        ProviderChanged,
        "Removes a provider and its secret.",
        changes=True,
        destructive=True,
    ),
)
