"""Which models there are and who serves them: providers, aliases, and the order in which a call tries them.

In memory, for the daemon: `app` fills it from configuration and calls change it. Whoever waits for a
provider to come back waits for `changes`.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from dashd import threads
from dashd.domain import plain
from dashd.domain.circuit import Circuits
from dashd.domain.prices import Price
from dashd.domain.speech import USUAL, named
from dashd.domain.wish import Wish, is_wish, parse
from dashd.store.bells import Bell
from dashd.wire import errors

from .formats.format import FormatName
from .prices import OFFLINE_PRICE, Listed, PriceList

OFFLINE = "offline"
"""The provider, and the model, that is built in and only pretends."""
OFFLINE_B = "offline-b"
"""The same once more, so that a failover can be shown without a real provider."""
DEFAULT = "default"
"""The alias of what is called where nobody names a model."""
CHAIN = "->"
CHAIN_MODELS_MAX = 8
OUTPUT_TOKENS_MAX = 16_384
"""Where nobody knows what a model can write at most."""
OFFLINE_OUTPUT_TOKENS_MAX = 4_096
LATENCIES_MAX = 50
"""How many recent calls a measured latency looks back on."""


@dataclass
class Provider:
    """Who serves models. The secret is in memory only, and in its own file."""

    name: str
    format: FormatName | Literal["offline"]
    url: str = ""
    """Before `/chat/completions`, `/responses` or `/messages`."""
    secret: str | None = field(default=None, repr=False)
    models: Sequence[str] = ()
    """The names it serves; none given means: whatever the price list knows."""
    circuits: Circuits = field(default_factory=Circuits)
    frozen: str | None = None
    """Why nothing is sent to it until somebody has looked: a terminal quota, billing or key error."""
    listed_as: str | None = None
    """What the price list calls it; empty where it does not know it, None before anybody has looked."""
    answers: bool = False
    """Whether a test of it has been answered well since it was added or the daemon has started."""

    @property
    def hears_detail(self) -> bool:
        """Whether it is known to take an image as small as `detail: low` says; others may bill all of it."""
        return (urlsplit(self.url).hostname or "").endswith((".openai.com", ".azure.com"))

    @property
    def bills_too_long(self) -> bool:
        """Whether it bills a call that it refuses because it is too long; of the known ones, Azure does."""
        return (urlsplit(self.url).hostname or "").endswith(".azure.com")


@dataclass
class Known:
    """What the operator says of a model."""

    capabilities: tuple[str, ...] = ()
    context_tokens: int | None = None
    output_tokens_max: int | None = None
    quality: int = 0
    """Higher is better; among equals the dearer model is taken for the better one."""


class Candidate(msgspec.Struct, frozen=True):
    """One model of one provider, with what it costs."""

    provider: Provider
    model: str
    price: Price
    output_tokens_max: int

    @property
    def name(self) -> str:
        """How events call it."""
        return f"{self.provider.name}/{self.model}"

    def serves(self, form: FormatName) -> bool:
        """Whether its provider speaks the format of a call; the stand-in speaks all."""
        return self.provider.format in (form, OFFLINE)


class Registry:
    """Providers by name, aliases, prices."""

    def __init__(
        self, providers: Mapping[str, Provider], aliases: Mapping[str, str], prices: PriceList
    ) -> None:
        self.providers = dict(providers)
        self.aliases = dict(aliases)
        self.prices = prices
        self.known_models: dict[str, Known] = {}
        self.staged = False
        """The stand-in's outages and pace are somebody's who demonstrates something (stage.py)."""
        self.owners: dict[str, str] = {}
        """The one provider that serves a model, where the operator has said so."""
        self.changes = Bell()
        """Rung when who serves what has changed: a provider was added, tested or thawed, a model set, an
        agent's model swapped.
        """
        self.edition = 0
        """Counts what was changed: a chain of an older edition may have other prices."""
        self.told: Callable[[], None] = lambda: None
        """Called whenever `changes` is rung."""
        self._latencies: dict[str, deque[float]] = {}

    def chain(
        self, asked: str | Wish, input_tokens: int = 0, formats: Sequence[FormatName] = ()
    ) -> list[Candidate]:
        """The candidates for a name, an alias, a chain `a -> b -> c` or a wish (also as text), in order.

        A wish is about what a call of at most `input_tokens` costs where prices have tiers, and about models
        that are served in one of `formats`, where any are given. It may load the price list (0.4 s);
        `prepare` first where others wait. Raises InvalidParams naming what could be used where none of them
        can.
        """
        if isinstance(asked, str) and is_wish(asked):
            asked = parse(asked)
        found = self._wished(asked, input_tokens, formats) if isinstance(asked, Wish) else self._named(asked)
        if not found and isinstance(asked, str) and (does := plain.kind(asked)):
            raise errors.InvalidParams(
                f"{asked[:200]!r} {does}, so what a call costs is not bounded by the price list",
                hint=f"a plain model; or dashctl model set {asked[:200]} --provider … with your own price",
                path="model",
            )
        if not found:
            what = _wished_for(asked, input_tokens, formats) if isinstance(asked, Wish) else repr(asked[:200])
            raise errors.InvalidParams(
                f"no configured provider serves {what}, or nobody has priced it",
                hint=f"models that can be used: {', '.join(self.known()) or 'none'}; dashctl provider add …",
                path="model",
            )
        return found

    def check(self, asked: str) -> None:
        """Raises InvalidParams for a name, an alias or a chain of which a link leads nowhere, also where
        others would do: whoever named it means it. A call follows what is left of its chain all the same.

        It may load the price list; `prepare` first where others wait.
        """
        if is_wish(asked):
            return
        links = self._links(asked)
        if len(links) > CHAIN_MODELS_MAX:
            raise errors.InvalidParams(
                f"{asked[:200]!r} comes to {len(links)} models; a chain has {CHAIN_MODELS_MAX} at most",
                hint="leave some out",
                path="model",
            )
        import difflib  # only who is mistaken waits for it

        wrong = next((link for link in links if not any(True for _ in self._candidates(link))), None)
        if wrong is None or len(links) == 1:
            return  # a single one is refused by `chain`
        names = [*self.known(), *(name for each in self.providers.values() for name in self.served(each))]
        near = difflib.get_close_matches(wrong[:200], dict.fromkeys(names), 1, 0.6)
        raise errors.InvalidParams(
            f"{wrong[:200]!r} in {asked[:200]!r}: no configured provider serves it, or nobody has priced it"
            + (f"; did you mean {near[0]!r}?" if near else ""),
            hint=f"models that can be used: {', '.join(self.known()) or 'none'}; dashctl provider add …",
            path="model",
        )

    def leads_to(self, alias: str) -> list[str]:
        """What a call with this name tries in order; nothing where nobody serves any of it."""
        return [each.name for each in self._named(alias)]

    async def prepare(self) -> None:
        """Loads the price list in a thread, once, if a configured provider could need it: one that serves
        whatever the list knows, or a model without a price of the operator's.
        """
        real = [each for each in self.providers.values() if each.format != OFFLINE]
        named = {name for each in real for name in each.models} | set(self.owners)
        needed = not all(each.models for each in real) or any(self.prices.own(name) is None for name in named)
        if real and needed and not self.prices.loaded:
            await threads.run(self.prices.load)

    def served(self, provider: Provider) -> list[str]:
        """The priced models of a provider: those it was said to serve, else what the price list has of it.

        It may load the list; `prepare` first where others wait.
        """
        owned = [name for name, owner in self.owners.items() if owner == provider.name]
        listed = [] if provider.models else self.prices.models(self._listed_as(provider))
        names = dict.fromkeys([*provider.models, *owned, *listed])
        return [name for name in names if self._candidate(provider, name) is not None]

    def context_tokens(self, asked: str, form: FormatName | None = None) -> int | None:
        """What the smallest model takes that may answer a call for this name, in this format where one is
        given; None where nobody knows.
        """
        with contextlib.suppress(errors.InvalidParams):
            able = [each for each in self.chain(asked) if form is None or each.serves(form)]
            known = [tokens for each in able if (tokens := self.context_of(each)) is not None]
            return min(known, default=None)
        return None

    def context_of(self, candidate: Candidate) -> int | None:
        """What one takes, as the operator or the price list says."""
        if told := self.known_models.get(candidate.model, Known()).context_tokens:
            return told
        if candidate.provider.format == OFFLINE:
            return None
        listed = self.prices.find(candidate.model, candidate.provider.listed_as or candidate.provider.name)
        return listed.context_tokens if listed else None

    def default(self, formats: Sequence[FormatName] = ()) -> tuple[str, str]:
        """(what is called where nobody names a model, why): the alias `default`; else the first priced
        model of the first real provider that serves in one of `formats`, in chat completions where none are
        given, as Dash's own agent speaks; else the stand-in.
        """
        formats = formats or (USUAL,)
        if DEFAULT in self.aliases:
            return DEFAULT, f"the alias {DEFAULT} says so"
        real = [each for each in self.providers.values() if each.format != OFFLINE]
        for provider in real:
            if provider.format in formats and (served := self.served(provider)):
                return served[0], f"it is the first priced model of provider {provider.name}"
        if real:
            return OFFLINE, f"provider {real[0].name} has no priced model in the format {named(formats)}"
        staged = ", on a stage: its pace and its outages are made" if self.staged else ""
        return OFFLINE, f"no provider is configured, so a stand-in only pretends{staged}"

    def known(self, formats: Sequence[FormatName] = ()) -> list[str]:
        """Names that can be used, aliases first; those that lead somewhere in one of `formats`, where any are
        given.
        """
        told = [name for provider in self.providers.values() for name in provider.models]
        names = list(dict.fromkeys([*self.aliases, *told]))
        if not formats:
            return names
        return [n for n in names if any(each.serves(f) for each in self._named(n) for f in formats)]

    def add(self, provider: Provider) -> None:
        """Adds a provider, or replaces the one of that name."""
        self.providers[provider.name] = provider
        self.changed()

    def remove(self, name: str) -> bool:
        """Removes a provider; False where there is none. Calls under way end as they would have."""
        found = self.providers.pop(name, None) is not None
        self.changed()
        return found

    def changed(self) -> None:
        """Something of providers, models, aliases or prices is not as it was."""
        self.edition += 1
        self.swapped()

    def swapped(self) -> None:
        """An agent calls another model, and everything else is as it was."""
        self.changes.ring()
        self.told()

    def secrets(self) -> list[str]:
        """Those of the providers, to be taken out of what is kept."""
        return [each.secret for each in self.providers.values() if each.secret]

    def thaw(self, name: str) -> bool:
        """Sends to a frozen provider again; False where it was not frozen."""
        provider = self.providers.get(name)
        if provider is None or provider.frozen is None:
            return False
        provider.frozen = None
        self.changed()
        return True

    def measured(self, candidate: Candidate, first_byte_s: float) -> None:
        """Takes note of how long a call waited for its first byte."""
        self._latencies.setdefault(candidate.name, deque(maxlen=LATENCIES_MAX)).append(first_byte_s)

    def latency_ms(self, name: str) -> float | None:
        """The wait for the first byte of `provider/model`'s recent calls that half of them did not pass, the
        upper of two in the middle; None before the first.
        """
        found = sorted(self._latencies.get(name, ()))
        return found[len(found) // 2] * 1_000 if found else None

    def _named(self, asked: str) -> list[Candidate]:
        links = self._links(asked)[:CHAIN_MODELS_MAX]
        found = {each.name: each for name in links for each in self._candidates(name)}
        return list(found.values())

    def _links(self, asked: str) -> list[str]:
        """A chain's models, those of an alias in it in its place."""
        names = [name.strip() for name in self.aliases.get(asked, asked).split(CHAIN)]
        return [link.strip() for name in names for link in self.aliases.get(name, name).split(CHAIN)]

    def _wished(self, wish: Wish, input_tokens: int, formats: Sequence[FormatName]) -> list[Candidate]:
        served = [name for provider in self.providers.values() for name in self.served(provider)]
        names = dict.fromkeys([*self.known_models, *self.known(), *served])
        # A stand-in is nobody's wish as long as there is somebody to ask.
        real = any(provider.format != OFFLINE for provider in self.providers.values())
        able = [
            each
            for name in names
            if set(wish.capabilities) <= set(self.known_models.get(name, Known()).capabilities)
            for each in self._candidates(name)
            if wish.cost_limit_nusd is None or each.price.at(input_tokens).output <= wish.cost_limit_nusd
            if not (real and each.provider.format == OFFLINE)
            if not formats or any(each.serves(form) for form in formats)
        ]
        unique = {each.name: each for each in able}.values()
        ranked = sorted(unique, key=lambda each: self._rank(wish, each, input_tokens))
        return ranked if wish.fallback_allowed else ranked[:1]

    def _rank(self, wish: Wish, candidate: Candidate, input_tokens: int) -> tuple[float, float]:
        price = candidate.price.at(input_tokens)
        cost = float(price.input + price.output)
        if wish.prefer == "cost":
            return cost, 0.0
        if wish.prefer == "latency":
            latency = self.latency_ms(candidate.name)
            return (float("inf") if latency is None else latency), cost
        return -float(self.known_models.get(candidate.model, Known()).quality), -cost

    def _candidates(self, name: str) -> Iterator[Candidate]:
        name = self.aliases.get(name, name)
        for provider in self.providers.values():
            made = self._candidate(provider, name)
            if made is not None:
                yield made

    def _candidate(self, provider: Provider, name: str) -> Candidate | None:
        owner = self.owners.get(name)
        if (owner or provider.name) != provider.name:
            return None
        if provider.models and owner is None and name not in provider.models:
            return None
        if provider.format == OFFLINE:
            longest = self.known_models.get(name, Known()).output_tokens_max or OFFLINE_OUTPUT_TOKENS_MAX
            return Candidate(provider, name, OFFLINE_PRICE, min(longest, OFFLINE_OUTPUT_TOKENS_MAX))
        own = self.prices.own(name)
        owned = own is not None and any(each is provider for each in self._priced(name)[0])
        price = own if owned else self._listed_price(provider, name)
        if price is None:
            return None
        output_tokens_max = self.known_models.get(name, Known()).output_tokens_max or OUTPUT_TOKENS_MAX
        return Candidate(provider, name, price, output_tokens_max)

    def rivals(self, name: str) -> list[str]:
        """The providers of which a price of the operator's that names none must be for one; a single one is
        meant.
        """
        _, others = self._priced(name)
        return [each.name for each in others]

    def _priced(self, name: str) -> tuple[list[Provider], list[Provider]]:
        """(whose the operator's own price is, between whom it does not decide): it is of the provider that he
        has named with it, else of those that were told to serve the model. Never of one that only could: it
        may have come after the price, and bill another.
        """
        if (owner := self.owners.get(name)) is not None:
            return [each for each in self.providers.values() if each.name == owner], []
        real = [each for each in self.providers.values() if each.format != OFFLINE]
        told = [each for each in real if name in each.models]
        able = [each for each in real if not each.models]
        if told or len(able) > 1:
            listing = [each for each in able if self._listed_price(each, name) is not None]
            able = listing if told else listing or able
        if told:
            return told, [*told, *able] if able else []
        return [], able

    def _listed_price(self, provider: Provider, name: str) -> Price | None:
        listed_as = self._listed_as(provider)
        listed = self.prices.listed(name, listed_as or provider.name)
        if listed is None or (listed_as and not provider.models and listed.provider not in (listed_as, "")):
            return None
        return None if _beside_text(name, listed) else listed.price

    def _listed_as(self, provider: Provider) -> str:
        if provider.listed_as is None:
            provider.listed_as = self.prices.owner(provider.url, provider.name)
        return provider.listed_as


def _wished_for(wish: Wish, input_tokens: int, formats: Sequence[FormatName]) -> str:
    text = "a model with these capabilities" + (f" in the format {named(formats)}" if formats else "")
    if wish.cost_limit is None:
        return text
    size = f" for a call of up to {input_tokens:,} tokens" if input_tokens else ""
    return f"{text} whose million output tokens cost ${wish.cost_limit:g} at most{size}"


def _beside_text(name: str, listed: Listed) -> bool:
    """Whether a call can cost more than the tokens that bound it, going by the names; what searches may bill
    a fee for each call instead, which is held like one.
    """
    kinds = {plain.kind(name), plain.kind(listed.name)} - {None}
    return bool(kinds - {plain.SEARCHES}) or (plain.SEARCHES in kinds and not listed.price.per_request)


def offline_providers() -> list[Provider]:
    """The stand-in, twice; both serve the model `offline`, so the second one is the first one's failover."""
    return [
        Provider(OFFLINE, "offline", models=(OFFLINE,)),
        Provider(OFFLINE_B, "offline", models=(OFFLINE, OFFLINE_B)),
    ]
