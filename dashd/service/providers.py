"""`provider.*`: who serves models. A secret passes through on its way to its file, and never comes back."""

import ipaddress
import re
import urllib.parse

import msgspec

from dashd.store import providers
from dashd.store.providers import ProviderRow
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.methods import provider as wire

from . import names
from .core import Caller, Core
from .ports import ProviderState

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
"""It is a file's name too."""
ENDINGS = ("/chat/completions", "/responses", "/messages")
"""What the formats add to an address."""
STAND_INS = frozenset({"offline", "offline-b"})


async def add(core: Core, _caller: Caller, params: wire.AddProvider) -> wire.Provider:
    """Adds or replaces; the secret is durable before the row says that it is there."""
    _check_name(params.name)
    _check_url(params.url)
    for index, model in enumerate(params.models):
        names.check_model(f"models[{index}]", model)
    given = None if params.secret is msgspec.UNSET else params.secret
    command = None if params.secret_command is msgspec.UNSET else params.secret_command
    if given is not None and command is not None:
        raise errors.InvalidParams(
            "secret and secret_command were both given", hint="give one of them", path="secret_command"
        )
    secret = await core.providers.obtain(given, command)
    row = ProviderRow(
        name=params.name,
        format=params.format,
        url=params.url.rstrip("/"),
        secret="file" if given is not None else "command" if command is not None else "none",
        command=None if command is None else msgspec.json.encode(command).decode(),
        models=msgspec.json.encode(list(dict.fromkeys(params.models))).decode(),
        created_at_ms=core.clock.now_ms(),
    )
    async with core.providers.changing:
        if given is not None and secret is not None:
            await core.providers.keep(row.name, secret)
        await core.store.writer.apply(lambda tx: providers.put(tx, row))
        await core.providers.follow(row.name, secret)
    return _shown(row, await core.providers.states())


async def list_(core: Core, _caller: Caller, _params: wire.GetProviders) -> wire.ProviderList:
    """Those that were added; the built-in stand-in is none of them."""
    rows = await core.store.reader.read(providers.every)
    states = await core.providers.states() if rows else {}
    return wire.ProviderList(providers=[_shown(row, states) for row in rows])


async def test(core: Core, _caller: Caller, params: wire.NameProvider) -> wire.ProviderTested:
    """Asks for the provider's list of models, which costs nothing."""
    await core.store.reader.read(lambda db: check_known(db, params.name))
    found = await core.providers.test(params.name)
    return wire.ProviderTested(
        name=params.name, ok=found.ok, status=found.status, latency_ms=found.latency_ms, text=found.text
    )


async def remove(core: Core, _caller: Caller, params: wire.NameProvider) -> wire.ProviderChanged:
    """Calls under way end as they would have; its secret is gone when this returns."""

    def operation(tx: Tx) -> None:
        check_known(tx.db, params.name)
        providers.remove(tx, params.name)

    async with core.providers.changing:
        await core.store.writer.apply(operation)
        await core.providers.follow()
    return wire.ProviderChanged(name=params.name, changed=True)


def check_known(db: Snapshot, name: str, path: str = "name") -> None:
    """Raises NotFound, with those there are."""
    known = [row.name for row in providers.every(db)]
    if name not in known:
        hint = f"providers: {', '.join(known)}" if known else "none is configured; dashctl provider add …"
        raise errors.NotFound(f"there is no provider {name!r}", hint=hint, path=path)


def _shown(row: ProviderRow, states: dict[str, ProviderState]) -> wire.Provider:
    state = states.get(row.name, ProviderState("closed", None, 0))
    return wire.Provider(
        name=row.name,
        format=row.format,  # type: ignore[arg-type]  # the table's CHECK is the wire's Literal
        url=row.url,
        secret=row.secret,  # type: ignore[arg-type]
        circuit=state.circuit,
        frozen=state.frozen,
        models=state.models,
        heard=state.heard,
    )


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name) or name in STAND_INS:
        why = "is built in" if name in STAND_INS else "is not a provider's name"
        raise errors.InvalidParams(
            f"{name!r} {why}", hint="lower-case letters, digits, - and _: openai, my-gateway", path="name"
        )


def _check_url(url: str) -> None:
    """A key leaves this machine only under TLS."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urllib.parse.urlsplit("")
    hint = "https://…/v1, or http://127.0.0.1:PORT/v1 for a server on this machine"
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise errors.InvalidParams(
            "the address has a user, a query or a fragment in it; a secret does not belong there",
            hint=hint,
            path="url",
        )
    if not url.isascii() or not url.isprintable() or " " in url:
        raise errors.InvalidParams(
            "the address has characters that no address has", hint=f"ASCII without blanks: {hint}", path="url"
        )
    ending = next((each for each in ENDINGS if parts.path.rstrip("/").endswith(each)), "")
    if ending:
        raise errors.InvalidParams(
            f"the address ends in {ending}, which Dash adds by itself",
            hint=f"leave it out: {url.rstrip('/').removesuffix(ending)}",
            path="url",
        )
    plain = parts.scheme == "http" and _is_loopback(host)
    if not host or not (parts.scheme == "https" or plain):
        raise errors.InvalidParams(
            f"{url!r} is neither https nor plain http on loopback", hint=hint, path="url"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
