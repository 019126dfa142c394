"""Dollars as people type and read them: `$2.50`, `60%`, `a:10,b:5`; decimal all the way, never `1e-05`."""

from __future__ import annotations

import argparse
import re
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

USD_MAX = 10_000
_GROUPS = re.compile(r"[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]*)?")
"""Thousands as they are written in English; any other comma may be meant as a decimal point."""


def amount(text: str) -> float:
    """Dollars from `50`, `2.50`, `$0.0031` or `1,000`. Raises argparse.ArgumentTypeError."""
    plain = text.strip().removeprefix("$")
    if "," in plain and not _GROUPS.fullmatch(plain):
        raise argparse.ArgumentTypeError(
            f"'{text}' is not an amount in dollars: its comma can be read in two ways;"
            f" write {_with_a_point(plain)}"
        )
    found = _decimal(plain.replace(",", ""))
    if found is None or not 0 <= found <= USD_MAX:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not an amount in dollars; write 50 or 2.50, {USD_MAX} at most"
        )
    return float(found)


def percent(text: str) -> float:
    """60.0 from `60%` or `60`. Raises argparse.ArgumentTypeError."""
    found = _decimal(text.strip().removesuffix("%"))
    if found is None or not 0 <= found <= 100:
        raise argparse.ArgumentTypeError(f"'{text}' is not a percentage; write 60%")
    return float(found)


def each(text: str) -> float | str:
    """What every agent gets: an amount, or the word `even`. Raises argparse.ArgumentTypeError."""
    return "even" if text == "even" else amount(text)


def by_agent(text: str) -> dict[str, float]:
    """`{"a": 10.0, "b": 5.0}` from `a:10,b:5`. Raises argparse.ArgumentTypeError."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, colon, usd = (piece.strip() for piece in part.partition(":"))
        if not (name and colon) or name in found:
            raise argparse.ArgumentTypeError(
                f"'{part.strip()}' is not an agent and its dollars; write a:10,b:5, each agent once"
            )
        found[name] = amount(usd)
    return found


def text(usd: float | None) -> str:
    """`$12.50`, `$0.0031`, `$0.000042`; empty where there is no amount.

    Two decimals from a dollar on, four from a hundredth of a cent on, below that two significant digits.
    """
    if usd is None:
        return ""
    exact = Decimal(repr(usd))
    size = abs(exact)
    if size >= 1 or size == 0:
        decimals = 2
    elif size >= Decimal("0.0001"):
        decimals = 4
    else:
        decimals = min(9, 1 - size.adjusted())
    rounded = size.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)
    whole, _, part = f"{rounded:,f}".partition(".")
    return f"{'-' if exact < 0 else ''}${whole}.{part.rstrip('0').ljust(2, '0')}"


def _with_a_point(text: str) -> str:
    """What was probably meant, where that can be guessed."""
    meant = text.replace(",", ".")
    return meant if meant.count(".") == 1 and _decimal(meant) is not None else "50, 2.50 or 1,500"


def _decimal(text: str) -> Decimal | None:
    # Decimal takes 1e5, NaN, underscores and the digits of every script; people write none of them.
    if not text.isascii() or set(text) - set("0123456789."):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None
