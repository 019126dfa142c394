"""A model by what it must be, not by name; as a value, and as the text that rows and calls carry. Pure.

    {"capabilities": ["code"], "prefer": "cost", "cost_limit": 15, "fallback_allowed": false}

Wherever a model's name stands, the text of a wish may stand: in a row, in the body of a call.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dashd.wire import errors

Word = Annotated[str, Meta(min_length=1, max_length=100)]
Prefer = Literal["cost", "latency", "quality"]


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the model must be."""

    capabilities: Annotated[tuple[Word, ...], Meta(max_length=20)] = ()
    prefer: Prefer = "quality"
    cost_limit: Annotated[float, Meta(ge=0, le=10_000)] | None = None
    """The most that a million output tokens may cost, in dollars, in the tier that the call can reach."""
    fallback_allowed: bool = True

    @property
    def cost_limit_nusd(self) -> int | None:
        """The same in nano-dollars a token."""
        return None if self.cost_limit is None else round(self.cost_limit * 1_000)


def is_wish(model: str) -> bool:
    """Whether a model's name is no name but a wish."""
    return model.lstrip().startswith("{")


def parse(text: str) -> Wish:
    """The wish that a text says; raises InvalidParams."""
    try:
        return msgspec.json.decode(text, type=Wish)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise errors.InvalidParams(
            f"{text[:200]!r} is not a wish for a model: {error}",
            hint='{"capabilities": ["code"], "prefer": "cost|latency|quality", "cost_limit": 15,'
            ' "fallback_allowed": true}; each may be left out',
            path="model",
        ) from None


def text(wish: Wish) -> str:
    """As rows carry it."""
    return msgspec.json.encode(wish).decode()
