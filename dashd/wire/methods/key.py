"""`key.*`: keys for programs outside, each bound to what it may be used for. A secret is shown once."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from .budget import Tokens, Usd
from .table import FolderPath, Id, Method, Model, Name, Params, Result

Kind = Literal["proxy", "operator", "orchestrator"]
"""proxy: model calls, paid by a budget. operator, orchestrator: who `rpc.hello {key}` makes of a caller."""
Rate = Annotated[int, Meta(ge=0, le=10**12)]


class CreateKey(Params):
    """Makes a key; one for model calls (kind proxy) gets a budget of its own, the others take no limits."""

    name: Name
    """Whose it is; free among the keys that are not revoked."""
    kind: Kind = "proxy"
    budget: Id = "project"
    """The budget above the key's own: `project`, or a swarm's."""
    limit_usd: Usd | None = None
    """What it may spend in all; null: what the budget above it leaves."""
    limit_tokens: Tokens | None = None
    model: Model | msgspec.UnsetType = msgspec.UNSET
    """What its calls go to, whatever model they name."""
    expires_in_s: Annotated[int, Meta(ge=1, le=315_360_000)] | msgspec.UnsetType = msgspec.UNSET
    """It never does by default."""
    within: Annotated[list[FolderPath], Meta(min_length=1, max_length=100)] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    """An orchestrator's: what agents of its swarms are given lies below these folders; any by default."""
    unsafe_no_jail: bool = False
    """An orchestrator's: whether it may start agents without walls."""
    requests_per_minute: Rate | msgspec.UnsetType = msgspec.UNSET
    """This and the following: 0 is no limit; by default as configured (`proxy.key_requests_per_minute` …)."""
    tokens_per_minute: Rate | msgspec.UnsetType = msgspec.UNSET
    requests_per_day: Rate | msgspec.UnsetType = msgspec.UNSET
    tokens_per_day: Rate | msgspec.UnsetType = msgspec.UNSET


class NameKey(Params):
    """Names a key, by its id or its name."""

    key: Name


class RotateKey(Params):
    """Gives a key a new secret."""

    key: Name
    grace_s: Annotated[int, Meta(ge=0, le=2_592_000)] = 0
    """How long the secret before stays good as well."""


class ListKeys(Params):
    """Asks for the keys."""

    all: bool = False
    """Those that were revoked too."""


class KeyInfo(Result):
    """A key; its secret is never shown again."""

    id: str
    """Also the id of its budget: `budget.status`, `budget.extend`."""
    name: str
    kind: Kind
    state: Literal["good", "expired", "revoked"]
    budget: str
    """The one above its own."""
    limit_usd: float | None
    spent_usd: float
    model: str | None
    requests_per_minute: int | None
    """null: as configured; 0: no limit."""
    tokens_per_minute: int | None
    requests_per_day: int | None
    tokens_per_day: int | None
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    """A crash of dashd forgets a minute of it at most."""
    within: list[str] | None = None
    """Of an orchestrator's key: what it gives to agents lies below these; null: anywhere."""
    unsafe_no_jail: bool = False


class KeySecret(Result):
    """A key and, this once, its secret."""

    key: KeyInfo
    secret: str
    """What a client is given as its API key; kept nowhere."""
    url: str
    """The base address for OpenAI's clients; empty where the door could not be opened."""
    url_anthropic: str
    """The same for Anthropic's, which append `/v1` themselves."""
    problem: str = ""
    """Why the door is shut, and what to do."""


class KeyList(Result):
    """The keys, and the door that they open."""

    keys: list[KeyInfo] = field(default_factory=list)
    url: str = ""
    problem: str = ""


class KeyChanged(Result):
    """What became of it."""

    id: str
    changed: bool


METHODS = (
    Method(
        "key.create", CreateKey, KeySecret, "Makes a key; shows its secret.", changes=True, idempotent=False
    ),
    Method("key.list", ListKeys, KeyList, "Lists the keys."),
    Method("key.rotate", RotateKey, KeySecret, "Gives a key a new secret.", changes=True, idempotent=False),
    Method("key.revoke", NameKey, KeyChanged, "Ends a key.", changes=True, destructive=True),
)
