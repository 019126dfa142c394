"""Composition of service and proxy: `service.ports.Models` and `Providers` over registry, secrets and doors.

Rows say which providers and models there are; the registry follows them at a start and after each change. A
secret goes from its file, or from what its command prints, into the registry and nowhere else.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

import trio

from dashd import threads
from dashd.domain.prices import Price
from dashd.domain.speech import FormatName, Speaks, named
from dashd.proxy import formats, secrets, ways
from dashd.proxy.registry import OFFLINE, OFFLINE_B, Candidate, Known, Provider, Registry
from dashd.proxy.relay import without_secret
from dashd.proxy.route import judge
from dashd.proxy.upstream import Request, Upstream, UpstreamBroken
from dashd.proxy.waits import Wait
from dashd.service.ports import AliasSeen, CallWait, ModelSeen, Offer, ProviderState, Tested
from dashd.store import models as model_rows
from dashd.store import providers as provider_rows
from dashd.store.models import ModelRow
from dashd.store.opening import Store
from dashd.store.providers import ProviderRow
from dashd.store.rows import Snapshot
from dashd.wire import errors
from dashd.wire.events import iso

log = logging.getLogger(__name__)

TEST_S_MAX = 10.0
ANSWER_BYTES_MAX = 64 * 1024
NOT_READ = "its secret's command has not ended yet"
"""Why nothing is sent to a provider right after a start."""


class ProviderPort:
    """`service.ports.Providers`."""

    def __init__(self, store: Store, registry: Registry, files: secrets.SecretFiles, http: Upstream) -> None:
        self.changing = trio.Lock()
        self._store = store
        self._registry = registry
        self._files = files
        self._http = http

    async def open(self) -> None:
        """At a start: reads files and removes those of nobody; commands are left to `run_commands`."""
        rows = await self._store.own.read(provider_rows.every)
        kept = {row.name for row in rows if row.secret == "file"}
        await threads.run(self._files.forget_others, kept)
        async with self.changing:
            await self.follow()

    async def run_commands(self) -> None:
        """Has the secrets printed that no file holds; until then calls to their providers wait."""
        for row in await self._store.own.read(provider_rows.every):
            provider = self._registry.providers.get(row.name)
            if provider is None or provider.frozen != NOT_READ:
                continue
            secret, problem = None, ""
            try:
                secret = await secrets.printed(provider_rows.command(row))
            except secrets.NoSecret as missing:
                problem = missing.message
            if provider.frozen != NOT_READ:  # somebody has said what it is meanwhile, or it was tested
                continue
            if secret is not None:
                provider.secret = secret
                self._registry.thaw(row.name)
            else:
                provider.frozen = problem
                log.warning("provider %s cannot be used: %s", row.name, problem)

    async def obtain(self, secret: str | None, command: Sequence[str] | None) -> str | None:
        """See the port."""
        try:
            if command is not None:
                return await secrets.printed(command)
            return None if secret is None else secrets.check(secret)
        except secrets.NoSecret as problem:
            path = "secret" if command is None else "secret_command"
            raise errors.InvalidParams(problem.message, hint=problem.hint, path=path) from None

    async def keep(self, name: str, secret: str) -> None:
        """See the port."""
        await threads.run(self._files.keep, name, secret)

    async def follow(self, fresh: str | None = None, secret: str | None = None) -> None:
        """See the port; `changing` is held."""

        def query(db: Snapshot) -> tuple[list[ProviderRow], list[ModelRow]]:
            return provider_rows.every(db), model_rows.every(db)

        rows, models = await self._store.own.read(query)
        names = {row.name for row in rows}
        gone = [each.name for each in self._real() if each.name not in names]
        for name in gone:
            self._registry.remove(name)
            await threads.run(self._files.forget, name)
        for row in rows:
            if row.name == fresh:
                self._registry.add(_renewed(self._registry.providers.get(row.name), _provider(row, secret)))
                if row.secret != "file":
                    await threads.run(self._files.forget, row.name)
            elif row.name not in self._registry.providers:
                self._registry.add(await self._read(row))
        _put_models(self._registry, models)
        self._registry.changed()

    async def states(self) -> dict[str, ProviderState]:
        """See the port."""
        await self._registry.prepare()
        now = trio.current_time()
        served = {each.name: self._registry.served(each) for each in self._real()}
        return {
            each.name: ProviderState(
                each.circuits.best(now, served[each.name]),
                each.frozen,
                len(served[each.name]),
                heard=each.answers or self._has_answered(each.name, served[each.name]),
            )
            for each in self._real()
        }

    def _has_answered(self, provider: str, models: Iterable[str]) -> bool:
        return any(self._registry.latency_ms(f"{provider}/{model}") is not None for model in models)

    async def test(self, name: str) -> Tested:
        """See the port. It lists the provider's models, which costs nothing."""
        row = await self._store.own.read(lambda db: provider_rows.find(db, name))
        provider = self._registry.providers.get(name)
        if row is None or provider is None:
            return Tested(False, "there is no such provider any more")
        if (unread := await self._refresh(row, provider)) is not None:
            return unread
        began = trio.current_time()
        try:
            with trio.fail_after(TEST_S_MAX):
                status, body = await self._ask(provider)
        except UpstreamBroken as broken:
            return Tested(False, f"cannot be reached at {provider.url}: {broken.message}")
        except trio.TooSlowError:
            return Tested(False, f"did not answer within {TEST_S_MAX:g} s at {provider.url}")
        latency_ms = (trio.current_time() - began) * 1_000
        ok, text = _verdict(provider, status, body)
        if ok:
            provider.answers = True
            provider.circuits.reset()
            self._registry.thaw(name)
            self._registry.changed()
        return Tested(ok, text, status, latency_ms)

    async def _refresh(self, row: ProviderRow, provider: Provider) -> Tested | None:
        try:
            secret = await self._secret(row)
        except secrets.NoSecret as missing:
            return Tested(False, missing.message)
        if await self._store.own.read(lambda db: provider_rows.find(db, row.name)) != row:
            return Tested(False, "it was added anew or removed while its secret was read: test it again")
        provider.secret = secret
        return None

    async def _ask(self, provider: Provider) -> tuple[int, bytes]:
        form = formats.FORMATS[provider.format]
        request = Request(
            provider=provider.name,
            format=provider.format,
            url=provider.url.rstrip("/") + "/models",
            headers=form.headers(provider.secret, {}),
            body=b"",
            stream=False,
            method="GET",
        )
        answer = await self._http.send(request)
        try:
            body = bytearray()
            while len(body) < ANSWER_BYTES_MAX and (piece := await answer.receive()):
                body += piece
            return answer.status, without_secret(bytes(body), provider.secret)
        finally:
            with trio.CancelScope(shield=True):  # it has a bound of its own
                await answer.aclose()

    async def _read(self, row: ProviderRow) -> Provider:
        """The provider at a start; what lacks its secret is frozen and says so."""
        made = _provider(row, None)
        if row.secret == "command":
            made.frozen = NOT_READ
            return made
        try:
            made.secret = await self._secret(row)
        except secrets.NoSecret as missing:
            made.frozen = missing.message
            log.warning("provider %s cannot be used: %s", row.name, missing.message)
        return made

    async def _secret(self, row: ProviderRow) -> str | None:
        if row.secret == "command":
            return await secrets.printed(provider_rows.command(row))
        return await threads.run(self._files.read, row.name) if row.secret == "file" else None

    def _real(self) -> list[Provider]:
        return [each for each in self._registry.providers.values() if each.format != OFFLINE]


async def _nothing_spoken(_agent_id: str) -> FormatName | None:
    return None


class ModelPort:
    """`service.ports.Models`."""

    def __init__(
        self,
        registry: Registry,
        swap: Callable[[str], Awaitable[None]],
        waiting: Callable[[str], Wait | None] = lambda _: None,
        spoken: Callable[[str], Awaitable[FormatName | None]] = _nothing_spoken,
    ) -> None:
        self._registry = registry
        self._swap = swap
        self._waiting = waiting
        self._spoken = spoken

    async def choose(self, model: str | None, speaks: Speaks | None = None) -> Offer | None:
        """See the port."""
        await self._registry.prepare()
        formats = speaks.formats if speaks else ()
        name, why = (model, "") if model else self._registry.default(formats)
        if model:
            self._registry.check(model)
        chain = self._registry.chain(name, formats=formats)
        way = ways.find(chain, formats)
        if way is None:
            assert speaks is not None, "whoever speaks anything has a way to everybody"
            raise self._unspoken(name, chain, speaks)
        left_out = tuple(each.name for each in way.left_out)
        return dataclasses.replace(_offer(way.called[0], why), format=way.format, left_out=left_out)

    def _unspoken(self, name: str, chain: Sequence[Candidate], speaks: Speaks) -> errors.InvalidParams:
        served = sorted({str(each.provider.format) for each in chain})
        known = self._registry.known(speaks.formats)
        able = ", ".join([each for each in known if each not in (OFFLINE, OFFLINE_B)] or known)
        said = f"{speaks.who} {named(speaks.formats)}"
        return errors.InvalidParams(
            f"{said}, and {name[:200]!r} is served in the format {named(served)}",
            hint=f"models that it can call: {able}; dashctl provider add … --format {speaks.formats[0]}",
            path="model",
            data={"served": served},
        )

    async def spoken(self, agent_id: str) -> FormatName | None:
        """See the port."""
        return await self._spoken(agent_id)

    async def offers(self) -> list[Offer]:
        """See the port."""
        return [_offer(each) for each in await self._all() if each.provider.format != OFFLINE] or [
            _offer(each) for each in await self._all()
        ]

    async def prices_date(self) -> str:
        """See the port. A list that cannot be read is told by what needs it, not here."""
        with contextlib.suppress(errors.Unavailable):
            await self._registry.prepare()
        return self._registry.prices.date if self._registry.prices.loaded else ""

    async def seen(self, model: str | None) -> list[ModelSeen]:
        """See the port."""
        await self._registry.prepare()
        found = await self._all() if model is None else self._registry.chain(model)
        return [self._seen(each) for each in found]

    async def aliases(self) -> list[AliasSeen]:
        """See the port."""
        await self._registry.prepare()
        known = sorted(self._registry.aliases.items())
        return [AliasSeen(name, means, self._registry.leads_to(name)) for name, means in known]

    async def rivals(self, model: str) -> list[str]:
        """See the port."""
        await self._registry.prepare()
        return self._registry.rivals(model)

    async def swap(self, agent_id: str) -> None:
        """See the port."""
        await self._swap(agent_id)

    def waiting(self, agent_id: str) -> CallWait | None:
        """See the port."""
        found = self._waiting(agent_id)
        return None if found is None else CallWait(*dataclasses.astuple(found))

    async def _all(self) -> list[Candidate]:
        """Real providers first."""
        await self._registry.prepare()
        providers = sorted(self._registry.providers.values(), key=lambda each: each.format == OFFLINE)
        return [
            each
            for provider in providers
            for name in self._registry.served(provider)
            for each in self._registry.chain(name)
            if each.provider is provider
        ]

    def _seen(self, candidate: Candidate) -> ModelSeen:
        registry, name = self._registry, candidate.model
        known = registry.known_models.get(name, Known())
        provider, stand_in = candidate.provider, candidate.provider.format == OFFLINE
        latency_ms = registry.latency_ms(candidate.name)
        state = provider.circuits.state(trio.current_time(), name)
        down = provider.frozen is not None or state != "closed"
        return ModelSeen(
            offer=_offer(candidate),
            aliases=[alias for alias, target in registry.aliases.items() if target == name],
            capabilities=list(known.capabilities),
            context_tokens=registry.context_of(candidate),
            health="down" if down else "unknown" if latency_ms is None and not stand_in else "up",
            latency_ms=latency_ms,
            stand_in=stand_in,
        )


def _offer(candidate: Candidate, why: str = "") -> Offer:
    return Offer(candidate.model, candidate.provider.name, candidate.price, candidate.output_tokens_max, why)


def _provider(row: ProviderRow, secret: str | None) -> Provider:
    form = formats.FORMATS[row.format].name
    return Provider(row.name, form, row.url, secret, models=provider_rows.models(row))


def _renewed(before: Provider | None, made: Provider) -> Provider:
    """The one that there was, as it is now: calls that wait for it to be mended hold on to that object."""
    if before is None or before.format != made.format:
        return made
    before.url, before.secret, before.models = made.url, made.secret, made.models
    before.listed_as = before.frozen = None
    before.answers = False
    before.circuits.reset()
    return before


def _put_models(registry: Registry, rows: Sequence[ModelRow]) -> None:
    registry.aliases = {alias: row.name for row in rows for alias in model_rows.names(row.aliases)}
    registry.owners = {row.name: row.provider for row in rows if row.provider}
    registry.known_models = {
        row.name: Known(model_rows.names(row.capabilities), row.context_tokens, row.output_tokens_max)
        for row in rows
    }
    for row in rows:
        if row.input_nusd is not None and row.output_nusd is not None:
            registry.prices.set(row.name, _price(row.input_nusd, row.output_nusd, iso(row.set_at_ms)[:10]))


def _price(input_nusd: int, output_nusd: int, date: str) -> Price:
    # Writing to a cache costs a quarter more where it costs more at all; never too little is the rule.
    written = -(-input_nusd * 5 // 4)
    return Price(input_nusd, output_nusd, input_nusd, written, 0, date, "config")


def _verdict(provider: Provider, status: int, body: bytes) -> tuple[bool, str]:
    if status == 200:
        takes = "takes the key" if provider.secret else "asks for no key"
        return True, f"answers and {takes}"
    why = judge(status, {}, body).why
    if status in (401, 403):
        return False, f"refuses the key: {why}" if provider.secret else f"wants a key: {why}"
    if status == 404:
        return False, f"answers, but has no /models below {provider.url}: does the address end in /v1? {why}"
    if status == 429:
        return False, f"takes the key, but no calls for now: {why}"
    return False, f"is in trouble: {why}" if status >= 500 else f"answers {why}"
