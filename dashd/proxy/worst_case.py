"""What one try of a call asks for: the most that it can cost with one candidate. Pure."""

from collections.abc import Sequence

from dashd.domain import prices
from dashd.domain.budget import CallCost

from .formats.format import ParsedCall
from .registry import Candidate
from .verdict import Ask, Payer


def ask(call: ParsedCall, candidate: Candidate, payer: Payer, useful_tokens: int) -> Ask:
    """What a try with the candidate wants to hold."""
    more = 0 if candidate.provider.hears_detail else call.image_tokens_more
    worst = prices.worst_input(call.input_bytes, candidate.price, call.image_tokens + more)
    input_tokens = input_tokens_max(call) + more
    output_tokens = min(call.output_tokens or candidate.output_tokens_max, candidate.output_tokens_max)
    return Ask(
        payer=payer,
        cost=CallCost(worst, candidate.price.output, output_tokens, input_tokens, useful_tokens),
        input_tokens=input_tokens,
        model=candidate.model,
        provider=candidate.provider.name,
        price_date=candidate.price.date,
    )


def input_tokens_max(call: ParsedCall) -> int:
    """The most that its input can be."""
    return call.input_bytes + prices.OVERHEAD_TOKENS + call.image_tokens


def tokens_max(call: ParsedCall, chain: Sequence[Candidate]) -> int:
    """The most that one try can use, input and output."""
    most = max(each.output_tokens_max for each in chain)
    return input_tokens_max(call) + call.image_tokens_more + min(call.output_tokens or most, most)
