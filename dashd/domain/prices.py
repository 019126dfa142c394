"""What tokens cost. Pure integers: nano-dollars a token, whole nano-dollars a request."""

from dataclasses import dataclass

OVERHEAD_TOKENS = 1_024
"""Added to the worst case of an input: tool-use preambles and framing that a provider adds and bills."""


@dataclass(frozen=True, slots=True)
class Price:
    """A model's price in nano-dollars; the dearest tier where a provider has several."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    per_request: int
    date: str
    """Of the price list."""
    source: str
    """`genai-prices`, `config`, or `offline`."""

    @property
    def dearest_input(self) -> int:
        """What an input token can cost at worst."""
        return max(self.input, self.cache_read, self.cache_write)


@dataclass(frozen=True, slots=True)
class Usage:
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


def cost(usage: Usage, price: Price) -> int:
    """What a call has cost."""
    return (
        usage.input * price.input
        + usage.cache_read * price.cache_read
        + usage.cache_write * price.cache_write
        + usage.output * price.output
        + price.per_request
    )
