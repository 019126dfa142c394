"""The price list: genai-prices as data, loaded on first use, with the operator's own prices over it.

A price here is the dearest a model can cost: the highest tier, the dearest time of the day. A hold made
with it can therefore never be too small, and a settlement errs to the side of the provider.
"""

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

from dashd.domain.prices import Price

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, TieredPrices

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
_PER_TOKEN = Decimal(1_000)
"""Dollars a million tokens -> nano-dollars a token."""
_PER_REQUEST = Decimal(1_000_000)
"""Dollars a thousand requests -> nano-dollars a request."""
CONTEXT_TOKENS_MIN = 64_000
"""A model that holds less is found by its name, and is not offered."""
FOUND_MAX = 1_000
"""Answers that are remembered: a caller may ask for any name."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A model of the list."""

    name: str
    provider: str
    price: Price
    context_tokens: int | None


class PriceList:
    """Prices by model; reads the list once, when first asked."""

    def __init__(
        self, overrides: Mapping[str, Price] | None = None, *, today: datetime.date | None = None
    ) -> None:
        """`today` decides between prices that hold from a date on; without it the newest of them counts."""
        self._overrides = dict(overrides or {})
        self._today = today
        self._snapshot: DataSnapshot | None = None
        self._version = ""
        self._found: dict[tuple[str, str | None], Listed | None] = {}

    @property
    def loaded(self) -> bool:
        """Whether `find` answers at once."""
        return self._snapshot is not None

    def find(self, model: str, provider: str | None = None) -> Listed | None:
        """The model's price; None where nobody has priced it.

        The first call loads the list (0.4 s), so where others wait it is made in a thread (`load`).
        """
        if model in self._overrides:
            return Listed(model, provider or "", self._overrides[model], None)
        known = (model, provider)
        if known not in self._found:
            if len(self._found) >= FOUND_MAX:
                self._found.clear()
            self._found[known] = self._search(model, provider)
        return self._found[known]

    def owner(self, url: str, name: str) -> str:
        """What the list calls the provider at an address, or else of that name; empty where it has none."""
        self.load()
        assert self._snapshot is not None
        for each in self._snapshot.providers:
            if re.match(each.api_pattern, url):
                return each.id
        return next((each.id for each in self._snapshot.providers if each.id == name), "")

    def models(self, owner: str) -> list[str]:
        """The list's models of a provider, by its name in the list, in the list's order: those that are
        priced, are not on their way out, and have room for an agent's work.
        """
        self.load()
        assert self._snapshot is not None
        return [
            model.id
            for each in self._snapshot.providers
            if each.id == owner
            for model in each.models
            if not model.deprecated and (model.context_window or 0) >= CONTEXT_TOKENS_MIN
            if self.find(model.id, owner) is not None
        ]

    def set(self, model: str, price: Price) -> None:
        """The operator's own price for a model."""
        self._overrides[model] = price

    @property
    def date(self) -> str:
        """The list's version; the list itself carries no date."""
        self.load()
        return self._version

    def load(self) -> None:
        """Reads the list, unless it was read before; any thread may do it."""
        if self._snapshot is None:
            import importlib.metadata  # a megabyte, which no daemon without a real provider needs

            from genai_prices import data_snapshot

            self._version = f"genai-prices {importlib.metadata.version('genai-prices')}"
            self._snapshot = data_snapshot.get_snapshot()

    def _search(self, model: str, provider: str | None) -> Listed | None:
        self.load()
        assert self._snapshot is not None
        for each in self._snapshot.providers:
            if each.id == provider and (found := each.find_model(model)):
                return _listed(found, each.id, self._version, self._today)
        try:
            owner, found = self._snapshot.find_provider_model(model, None, None, None)
        except LookupError:
            return None
        return _listed(found, owner.id, self._version, self._today)


def _listed(found: "ModelInfo", provider: str, date: str, today: datetime.date | None) -> Listed | None:
    prices = _in_force(found.prices, today)
    base, output = _dearest(prices, "input_mtok"), _dearest(prices, "output_mtok")
    if base is None or output is None:
        return None
    read = _dearest(prices, "cache_read_mtok")
    # The hour-long cache costs more to write; the allow-list lets only the short one pass.
    written = _dearest(prices, "cache_write_mtok")
    price = Price(
        input=base,
        output=output,
        cache_read=base if read is None else read,
        cache_write=base if written is None else written,
        per_request=_dearest(prices, "requests_kcount", _PER_REQUEST) or 0,
        date=date,
        source="genai-prices",
    )
    return Listed(found.id, provider, price, found.context_window)


def _in_force(
    prices: "ModelPrice | list[ConditionalPrice]", today: datetime.date | None
) -> list["ModelPrice"]:
    """The prices that can hold now: the newest that has begun, and those that hold at some time of the
    day.
    """
    if not isinstance(prices, list):
        return [prices]
    found: list[ModelPrice] = []
    for each in reversed(prices):
        begins = getattr(each.constraint, "start_date", None)
        if begins is not None and today is not None and begins > today:
            continue
        found.append(each.prices)
        if each.constraint is None or begins is not None:
            break
    return found


def _dearest(prices: list["ModelPrice"], name: str, scale: Decimal = _PER_TOKEN) -> int | None:
    steps = [step for each in prices for step in _steps(getattr(each, name, None))]
    return int((max(steps) * scale).to_integral_value(ROUND_CEILING)) if steps else None


def _steps(value: "Decimal | TieredPrices | None") -> list[Decimal]:
    if value is None:
        return []
    return [value] if isinstance(value, Decimal) else [value.base, *(tier.price for tier in value.tiers)]
