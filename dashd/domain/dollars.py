"""Dollars at the border: floats of the wire become whole nano-dollars, and nano-dollars become text.

Decimal does both, so that $0.1 is 100,000,000 nano-dollars and nothing is ever shown in scientific notation.
"""

from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from .budget import NUSD

_CENT = NUSD // 100
_DECIMALS_MAX = 9


def nusd(usd: float) -> int:
    """Whole nano-dollars of an amount from the wire; what is finer is dropped: a limit is never above it."""
    return int((Decimal(repr(usd)) * NUSD).to_integral_value(ROUND_FLOOR))


def usd(amount: int) -> float:
    """The amount for the wire: the float nearest to it."""
    return amount / NUSD


def usd_or_none(amount: int | None) -> float | None:
    """The amount for the wire, where there is one."""
    return None if amount is None else usd(amount)


def text(amount: int) -> str:
    """`$12.50`, `$0.0031`, `$0.000042`: two decimals from a dollar on, below it as many as it takes.

    Four decimals at most from a hundredth of a cent on, then two significant digits; rounded half to even.
    """
    sign, size = ("-", -amount) if amount < 0 else ("", amount)
    if size >= NUSD or size == 0:
        decimals = 2
    elif size >= _CENT // 100:
        decimals = 4
    else:
        decimals = min(_DECIMALS_MAX, _DECIMALS_MAX - len(str(size)) + 2)
    rounded = (Decimal(size) / NUSD).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)
    whole, _, part = f"{rounded:,f}".partition(".")
    return f"{sign}${whole}.{part.rstrip('0').ljust(2, '0')}"


def typed(amount: int, most: int | None = None) -> str:
    """Dollars to type, rounded up to two digits but not above `most`: `1.3`, `0.0042`, `120`."""
    step = 10 ** max(0, len(str(max(1, amount))) - 2)
    rounded = -(-amount // step) * step
    rounded = rounded if most is None else min(rounded, most)
    whole, part = divmod(rounded, NUSD)
    return f"{whole}.{part:09d}".rstrip("0").rstrip(".")
