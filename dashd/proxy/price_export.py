"""A program: prints what Dash wants of the price list of genai-prices, as one JSON object. Its argument, if
there is one, is the day (YYYY-MM-DD) that decides between prices which hold from a date on.

A process of its own, because that package brings pydantic and asyncio along: 14 MB that would stay in dashd,
and half a second in which no stream of it would move. It imports nothing of Dash.
"""

import datetime
import importlib.metadata
import json
import sys
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, Provider, TieredPrices

PER_TOKEN = Decimal(1_000)
"""Dollars a million tokens -> nano-dollars a token."""
PER_REQUEST = Decimal(1_000_000)
"""Dollars a thousand requests -> nano-dollars a request."""
DAY = datetime.timedelta(days=1)
"""Where a provider's day begins is not known: about a change both prices count, a day before and after."""
CLASSES = (
    ("input_mtok", "input_image_mtok"),
    ("output_mtok", "output_image_mtok", "output_audio_mtok", "output_video_mtok", "output_reasoning_mtok"),
    ("cache_read_mtok", "cache_image_read_mtok"),
    ("cache_write_mtok",),
)
"""What counts as input, output, cache read and cache write: the dearest of each is the price of all of it,
because nobody says before a call, nor always after it, which part of its tokens is which.
"""
NOT_ASKED_FOR = frozenset(
    {
        "cache_write_1h_mtok",  # the allow-list lets only the short one pass
        *("web_searches_kcount", "storage_searches_kcount"),  # of tools that the provider runs
        *("input_audio_mtok", "cache_audio_read_mtok", "audio_hours", "input_audio_hours"),
        *("input_video_mtok", "input_mchars", "input_text_messages_kcount"),
        *("input_document_kpages", "input_annotated_document_kpages"),
    }
)
"""What only calls can cost that the allow-list refuses."""
BOUNDED = NOT_ASKED_FOR.union(*CLASSES, {"requests_kcount"})
CLAUSES = ("starts_with", "ends_with", "contains", "equals", "regex")


def main(today: datetime.date | None) -> None:
    """Prints it."""
    from genai_prices import data_snapshot

    providers = data_snapshot.get_snapshot().providers
    days = sorted(
        {day for each in providers for one in each.models for listed in _dated(one) for day in starts(listed)}
    )
    found = {
        "version": f"genai-prices {importlib.metadata.version('genai-prices')}",
        "changed": changed(days, today),
        "until": until(days, today),
        "providers": [provider(each, today) for each in providers],
    }
    json.dump(found, sys.stdout, separators=(",", ":"))


def provider(each: "Provider", today: datetime.date | None) -> list[Any]:
    """[id, pattern of its addresses, which models are its own, who else's it serves, models]."""
    match = None if each.model_match is None else clause(each.model_match)
    models = [model(one, today) for one in each.models]
    return [each.id, each.api_pattern, match, each.fallback_model_providers or [], models]


def model(each: "ModelInfo", today: datetime.date | None) -> list[Any]:
    """[id, which names are its own, price or null, context or null, whether it is on its way out]."""
    return [each.id, clause(each.match), price(each, today), each.context_window, bool(each.deprecated)]


def price(each: "ModelInfo", today: datetime.date | None) -> list[Any] | None:
    """[input, output, cache read, cache write, request, tiers], the dearest of each, in nano-dollars.

    None where there is no price for text, or one for something that no limit of the call bounds.
    """
    prices = in_force(each.prices, today)
    texts = ("input_mtok", "output_mtok")
    if not bounded(prices) or any(dearest(prices, name) is None for name in texts):
        return None
    base, output, read, written = (dearest(prices, *names) for names in CLASSES)
    each_request = dearest(prices, "requests_kcount", scale=PER_REQUEST) or 0
    own = [base, output, base if read is None else read, base if written is None else written]
    return [*own, each_request, tiers(prices)]


def tiers(prices: list["ModelPrice"]) -> list[list[int]]:
    """[[above so much input, input, output, cache read, cache write], …], the dearest of each that can hold
    there; empty where the size of the input makes no difference.
    """
    listed = [value for names in CLASSES for value in _listed(prices, *names)]
    starts = sorted({tier.start for value in listed for tier in getattr(value, "tiers", ())})
    return [[start, *_rates(prices, start)] for start in (0, *starts)] if starts else []


def _rates(prices: list["ModelPrice"], start: int) -> list[int]:
    """By class, for an input just above `start`; what has no price of its own costs what input does."""
    total = start + 1 if start else 0
    found = [[_rate(value, total) for value in _listed(prices, *names)] for names in CLASSES]
    return [_rounded(max(rates or found[0]), PER_TOKEN) for rates in found]


def _rate(value: "Decimal | TieredPrices", total: int) -> Decimal:
    """The price of every token where the whole input is `total`: that of the highest tier passed."""
    if isinstance(value, Decimal):
        return value
    passed = [tier for tier in value.tiers if total > tier.start]
    return max(passed, key=lambda tier: tier.start).price if passed else value.base


def clause(rule: object) -> list[Any]:
    """[kind, text], or [`or` | `and`, clauses]; all but patterns in lower case, as names are compared."""
    for kind in ("or", "and"):
        if (inner := getattr(rule, f"{kind}_", None)) is not None:
            return [kind, [clause(each) for each in inner]]
    kind = next(each for each in CLAUSES if hasattr(rule, each))
    text = getattr(rule, kind)
    return [kind, text if kind == "regex" else text.lower()]


def in_force(
    prices: "ModelPrice | list[ConditionalPrice]", today: datetime.date | None
) -> list["ModelPrice"]:
    """The prices that can hold now, somewhere: the newest that has begun, those that begin or were replaced
    within a day, and those that hold at some time of the day. Without a day: all that are or will be.
    """
    if not isinstance(prices, list):
        return [prices]
    found: list[ModelPrice] = []
    for each in reversed(prices):
        begins = getattr(each.constraint, "start_date", None)
        if begins is not None and today is not None and begins > today + DAY:
            continue
        found.append(each.prices)
        if each.constraint is None or (begins is not None and today is not None and begins <= today - DAY):
            break
    return found


def _dated(each: "ModelInfo") -> list[list["ConditionalPrice"]]:
    return [each.prices] if isinstance(each.prices, list) else []


def starts(prices: "Iterable[ConditionalPrice]") -> list[datetime.date]:
    """The days from which a price of these holds."""
    found = (getattr(each.constraint, "start_date", None) for each in prices)
    return [day for day in found if day is not None]


def changed(days: list[datetime.date], today: datetime.date | None) -> str:
    """The newest of these days that has come: the list is no older, and that is all it says of its age."""
    return max((day.isoformat() for day in days if today is None or day <= today), default="")


def until(days: list[datetime.date], today: datetime.date | None) -> str:
    """The day on which other prices can hold than today; empty where none is known."""
    found = (day + step for day in days for step in (-DAY, DAY) if today is not None and day + step > today)
    return min((day.isoformat() for day in found), default="")


def bounded(prices: list["ModelPrice"]) -> bool:
    """Whether what the input and `max_tokens` bound is all that is billed; what has a new name is not."""
    return all(name in BOUNDED for each in prices for name, value in vars(each).items() if value is not None)


def dearest(prices: list["ModelPrice"], *names: str, scale: Decimal = PER_TOKEN) -> int | None:
    """The highest step of these prices, rounded up; None where there is none."""
    found = [step for value in _listed(prices, *names) for step in steps(value)]
    return _rounded(max(found), scale) if found else None


def _listed(prices: list["ModelPrice"], *names: str) -> list["Decimal | TieredPrices"]:
    found = (getattr(each, name, None) for each in prices for name in names)
    return [value for value in found if value is not None]


def _rounded(usd: Decimal, scale: Decimal) -> int:
    return int((usd * scale).to_integral_value(ROUND_CEILING))


def steps(value: "Decimal | TieredPrices | None") -> list[Decimal]:
    """A price and those of its higher tiers."""
    if value is None:
        return []
    return [value] if isinstance(value, Decimal) else [value.base, *(tier.price for tier in value.tiers)]


if __name__ == "__main__":
    main(datetime.date.fromisoformat(sys.argv[1]) if sys.argv[1:] else None)
