"""What tokens cost. Pure integers: nano-dollars a token, whole nano-dollars a request."""

from dataclasses import dataclass

import msgspec

OVERHEAD_TOKENS = 1_024
"""Added to the worst case of an input: tool-use preambles and framing that a provider adds and bills."""


class Tier(msgspec.Struct, frozen=True):
    """What the tokens of a call cost whose whole input is above so many; nano-dollars a token."""

    over_tokens: int
    input: int
    output: int
    cache_read: int
    cache_write: int


@dataclass(frozen=True, slots=True)
class Price:
    """A model's price in nano-dollars. Where it has tiers, its own figures are the dearest of them: by these
    a call holds, and by the tier of its input it is settled, which is never more.
    """

    input: int
    output: int
    cache_read: int
    cache_write: int
    per_request: int
    date: str
    """Of the price list."""
    source: str
    """`genai-prices`, `config`, or `offline`."""
    tiers: tuple[Tier, ...] = ()
    """Ascending, the first for what is above none of the others; empty where there is one price."""

    @property
    def dearest_input(self) -> int:
        """What an input token can cost at worst."""
        return max(self.input, self.cache_read, self.cache_write)

    def at(self, input_tokens: int) -> "Price | Tier":
        """What each token of a call with so much input costs; a tier's start itself is below it."""
        reached = [tier for tier in self.tiers[1:] if input_tokens > tier.over_tokens]
        return (reached or self.tiers[:1] or (self,))[-1]


class Usage(msgspec.Struct, frozen=True):
    """What a call used, in disjoint classes; reasoning is inside output."""

    input: int
    cache_read: int
    cache_write: int
    output: int

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.input + self.cache_read + self.cache_write + self.output


def worst_input(body_bytes: int, price: Price, image_tokens: int = 0) -> int:
    """The most an input can cost: a byte-level tokenizer never makes more tokens than there are bytes."""
    return (body_bytes + OVERHEAD_TOKENS + image_tokens) * price.dearest_input + price.per_request


def cost(usage: Usage, price: Price, calls: int = 1) -> int:
    """What a call has cost; what some together have, each taken to have had the same part of the input."""
    each = price.at((usage.input + usage.cache_read + usage.cache_write) // calls)
    return (
        usage.input * each.input
        + usage.cache_read * each.cache_read
        + usage.cache_write * each.cache_write
        + usage.output * each.output
        + price.per_request * calls
    )
