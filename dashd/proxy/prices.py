"""The price list: genai-prices as data, loaded on first use, with the operator's own prices over it.

A price here is the dearest a model can cost today: the highest tier, the dearest time of the day. A hold made
with it can therefore never be too small; a settlement goes by the tier of the call's input. The list is read
again on the day on which one of its prices changes. The package itself is read by a process that ends
(`price_export.py`); which name means which model is decided as it does.
"""

import datetime
import functools
import os
import re
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from dashd.domain.prices import Price, Tier
from dashd.wire import errors

OFFLINE_PRICE = Price(
    input=1_000,
    output=4_000,
    cache_read=1_000,
    cache_write=1_000,
    per_request=0,
    date="built in",
    source="offline",
)
"""$1 and $4 a million tokens: like a small real model, so that budgets mean something offline."""
EXPORT = Path(__file__).with_name("price_export.py")
EXPORT_S_MAX = 60.0
CONTEXT_TOKENS_MIN = 64_000
"""A model that holds less is found by its name, and is not offered."""
FOUND_MAX = 1_000
"""Answers that are remembered: a caller may ask for any name."""


class Listed(msgspec.Struct, frozen=True):
    """A model of the list."""

    name: str
    provider: str
    price: Price
    context_tokens: int | None


Clause = tuple[str, Any]
"""(kind, text), or (`or` | `and`, clauses)."""


class _Model(msgspec.Struct, array_like=True, frozen=True, gc=False):
    id: str
    match: Clause
    price: tuple[int, int, int, int, int, list[tuple[int, int, int, int, int]]] | None
    context_tokens: int | None
    deprecated: bool


class _Exported(msgspec.Struct, array_like=True, frozen=True):
    id: str
    api_pattern: str
    match: Clause | None
    fallbacks: list[str]
    models: msgspec.Raw


class _Provider:
    """One provider of the list. Its models stay packed until somebody asks: most providers are nobody's."""

    def __init__(self, said: _Exported) -> None:
        self.id = said.id
        self.api_pattern = said.api_pattern
        self.match = said.match
        self.fallbacks = said.fallbacks
        self._packed = zlib.compress(said.models)

    @functools.cached_property
    def models(self) -> list[_Model]:
        """In the list's order."""
        return msgspec.json.decode(zlib.decompress(self._packed), type=list[_Model])

    def own(self, ref: str) -> _Model | None:
        """Its model of this name, which is in lower case."""
        return next((each for each in self.models if _matches(each.match, ref)), None)


class _Everything(msgspec.Struct, frozen=True):
    version: str
    providers: list[_Exported]
    changed: str = ""
    until: str = ""


class _List(msgspec.Struct, frozen=True):
    version: str
    providers: list[_Provider]
    changed: str
    """The day of its newest price that has begun; empty where it names none."""
    until: str
    """The day on which it must be read again, because other prices hold; empty where there is none."""

    def find(self, owner: _Provider, ref: str, *, fallbacks: bool) -> _Model | None:
        """A provider's model, perhaps one that it serves for others; compact dates are read as well."""
        serving = [owner]
        if fallbacks:
            serving += [each for other in owner.fallbacks for each in self.providers if each.id == other]
        for name in dict.fromkeys((ref, _with_dashed_date(ref))):
            for each in serving:
                if found := each.own(name):
                    return found
        return None


class PriceList:
    """Prices by model; reads the list once, when first asked."""

    def __init__(
        self,
        overrides: Mapping[str, Price] | None = None,
        *,
        today: Callable[[], datetime.date] | None = None,
    ) -> None:
        """`today`, in UTC, decides between prices that hold from a date on; without it the dearest of them
        counts.
        """
        self._overrides = dict(overrides or {})
        self._today = today
        self._list: _List | None = None
        self._loading = threading.Lock()
        self._found: dict[tuple[str, str | None], Listed | None] = {}

    @property
    def loaded(self) -> bool:
        """Whether `find` answers at once."""
        return self._list is not None and not self._outdated(self._list)

    def find(self, model: str, provider: str | None = None) -> Listed | None:
        """The model's price; None where nobody has priced it.

        The first call loads the list (0.4 s), so where others wait it is made in a thread (`load`).
        """
        if model in self._overrides:
            return Listed(model, provider or "", self._overrides[model], None)
        return self.listed(model, provider)

    def listed(self, model: str, provider: str | None = None) -> Listed | None:
        """The list's own, whatever the operator says."""
        self.load()
        known, found = (model, provider), self._found
        if known not in found:
            if len(found) >= FOUND_MAX:
                found.clear()
            found[known] = self._search(model, provider)
        return found[known]

    def own(self, model: str) -> Price | None:
        """The operator's own price, for which no list is needed."""
        return self._overrides.get(model)

    def owner(self, url: str, name: str) -> str:
        """What the list calls the provider at an address, or else of that name; empty where it has none."""
        providers = self.load().providers
        for each in providers:
            if re.match(each.api_pattern, url):
                return each.id
        return next((each.id for each in providers if each.id == name), "")

    def models(self, owner: str) -> list[str]:
        """The list's models of a provider, by its name in the list, in the list's order: those that are
        priced, are not on their way out, and have room for an agent's work.
        """
        return [
            model.id
            for each in self.load().providers
            if each.id == owner
            for model in each.models
            if not model.deprecated and (model.context_tokens or 0) >= CONTEXT_TOKENS_MIN
            if self.find(model.id, owner) is not None
        ]

    def set(self, model: str, price: Price) -> None:
        """The operator's own price for a model."""
        self._overrides[model] = price

    @property
    def date(self) -> str:
        """How old the list is, as far as it says: its version, and the day of its newest price."""
        known = self.load()
        return known.version + (f", newest price of {known.changed}" if known.changed else "")

    def load(self) -> _List:
        """Reads the list, unless it was read before and its prices still hold; any thread may do it.

        Raises Unavailable.
        """
        with self._loading:  # of many first calls one reads it, and the others wait for that
            if self._list is None or self._outdated(self._list):
                self._list, self._found = _exported(self._today and self._today()), {}
            return self._list

    def _outdated(self, known: _List) -> bool:
        today = self._today
        return today is not None and known.until != "" and today().isoformat() >= known.until

    def _search(self, model: str, provider: str | None) -> Listed | None:
        known, ref = self.load(), model.lower()
        for each in known.providers:
            if each.id == provider and (found := known.find(each, ref, fallbacks=False)):
                return _listed(found, each.id, known.version)
        owner = next((each for each in known.providers if each.match and _matches(each.match, ref)), None)
        found = known.find(owner, ref, fallbacks=True) if owner else None
        return _listed(found, owner.id, known.version) if owner and found else None


def _exported(today: datetime.date | None) -> _List:
    """The list, from a process that has nothing of the daemon's environment but the way to its modules."""
    argv = [sys.executable, "-P", str(EXPORT), *([today.isoformat()] if today else [])]
    environ = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    try:
        ran = subprocess.run(argv, env=environ, capture_output=True, timeout=EXPORT_S_MAX, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise errors.Unavailable(f"reading the price list of genai-prices: {error}") from None
    if ran.returncode != 0:
        why = ran.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise errors.Unavailable(f"reading the price list of genai-prices: {why}", hint="install Dash anew")
    said = msgspec.json.decode(ran.stdout, type=_Everything)
    return _List(said.version, [_Provider(each) for each in said.providers], said.changed, said.until)


def _listed(found: _Model, provider: str, date: str) -> Listed | None:
    if found.price is None:
        return None
    asked, written, read, kept, per_request, listed = found.price
    tiers = tuple(Tier(*each) for each in listed)
    price = Price(asked, written, read, kept, per_request, date, "genai-prices", tiers)
    return Listed(found.id, provider, price, found.context_tokens)


def _matches(clause: Clause, ref: str) -> bool:
    kind, said = clause
    match kind:
        case "or":
            return any(_matches(each, ref) for each in said)
        case "and":
            return all(_matches(each, ref) for each in said)
        case "starts_with":
            return ref.startswith(said)
        case "ends_with":
            return ref.endswith(said)
        case "contains":
            return said in ref
        case "equals":
            return bool(ref == said)
        case _:
            return re.search(said, ref) is not None


_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=[-:]|$)")


def _with_dashed_date(ref: str) -> str:
    """`m-20251211` as the list writes it: `m-2025-12-11`."""
    return _COMPACT_DATE.sub(lambda found: "-" + "-".join(found.groups()), ref)
