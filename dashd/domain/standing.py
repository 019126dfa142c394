"""How a budget stands to the next call, in words: what is left, what the call must hold, and what lets it go.

Dollars and tokens are told alike, each in its own unit; a share of 100 % is not spoken of where a part of it
is left. Sums that are suggested are computed, so that the call they are for fits once they are added. Pure.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from . import dollars
from .budget import LIMIT_NUSD_MAX, TOKENS_MAX, Node

Unit = Literal["usd", "tokens", "frozen"]


class Blocked(msgspec.Struct, frozen=True):
    """Why the next call waits or is refused."""

    unit: Unit
    text: str


class Wanted(msgspec.Struct, frozen=True):
    """What should fit, in nano-dollars and tokens: the next calls, at best all that is left to do."""

    next: int
    next_tokens: int
    calls: int = 1
    """How many agents make such a call next."""
    likely: int | None = None
    """What is projected to be spent yet; None where nobody can tell."""
    likely_tokens: int | None = None


class _Side(msgspec.Struct, frozen=True):
    """One limit of a node; dollars or tokens, the words are the same."""

    unit: Unit
    limit: int
    usable: int
    spent: int
    need: int | None
    limit_max: int
    text: Callable[[int], str]
    typed: Callable[[int, int], str]
    """An amount to type, and what it must not be above."""

    @property
    def left(self) -> int:
        return max(0, self.usable - self.spent)


def blocked(node: Node) -> Blocked | None:
    """Why nothing, or not the next call, may be spent; None where it may."""
    if node.frozen:
        return Blocked("frozen", f"frozen: {node.frozen}")
    for side in _sides(node):
        if text := _says(side):
            return Blocked(side.unit, text)
    return None


def extensions(path: Sequence[Node], wanted: Wanted) -> list[str]:
    """What must be added, node by node from the own one up, for what is wanted; calls to type."""
    found = []
    for node in path:
        for side in _sides(node):
            each, likely = (
                (wanted.next, wanted.likely)
                if side.unit == "usd"
                else (wanted.next_tokens, wanted.likely_tokens)
            )
            missing = _missing(side, each)
            if missing <= 0:
                continue
            calls = max(missing, _missing(side, each * wanted.calls))
            enough = 0 if likely is None else _missing(side, likely)
            most = side.limit_max - side.limit
            add = min(max(calls, enough), most)
            if add < missing:
                continue  # past what any budget may have: nothing that could be typed would do
            covers = _covers(wanted.calls if add >= calls else 1, all_of_it=add >= enough >= calls)
            found.append(f"budget.extend {node.id} {side.typed(add, most)}: {covers}")
    return found


def _missing(side: _Side, amount: int) -> int:
    """What must be added to the limit so that so much is left."""
    return amount - (side.usable - side.spent)


def _covers(calls: int, *, all_of_it: bool) -> str:
    if all_of_it:
        return "go on; it covers what is likely still to come"
    return "go on; it covers the next call" + (f" of each of the {calls} agents" if calls > 1 else "")


def _says(side: _Side) -> str:
    limit, spent, left, text = side.limit, side.spent, side.left, side.text
    if spent > limit:
        return f"limit {text(limit)} is below spent {text(spent)}: nothing more may be spent"
    kept = min(limit, limit - side.usable)
    aside = f" ({text(kept)} of it is kept for agents added later)" if kept else ""
    if left == 0:
        return f"nothing is left of {text(limit)}{aside}"
    if side.need is None or side.need <= left:
        return ""
    have, need = text(left), text(side.need)
    if have == need:  # apart only in digits that are not shown
        need = f"{text(side.need - left)} more"
    return f"{have} left of {text(limit)}{aside}, the next call must hold {need}"


def _sides(node: Node) -> list[_Side]:
    found = []
    if node.limit is not None:
        usable = node.limit - node.reserve
        figures = (node.limit, usable, node.spent, node.need, LIMIT_NUSD_MAX)
        found.append(_Side("usd", *figures, dollars.text, dollars.typed))
    if node.limit_tokens is not None:
        figures = (
            node.limit_tokens,
            node.limit_tokens,
            node.spent_tokens,
            node.need_tokens,
            TOKENS_MAX,
        )
        found.append(_Side("tokens", *figures, "{:,} tokens".format, _tokens_typed))
    return found


def _tokens_typed(amount: int, _most: int) -> str:
    return f"--tokens {amount}"
