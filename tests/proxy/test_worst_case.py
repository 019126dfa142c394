"""What a try asks for: all of its input by the byte, and the output that it may have."""

from dashd.domain import prices
from dashd.domain.budget import CallCost
from dashd.proxy import formats, worst_case
from dashd.proxy.ledger import Payer
from dashd.proxy.prices import PriceList
from dashd.proxy.registry import Provider, Registry
from tests.fakes.provider import MODEL, PRICE
from tests.proxy.world import chat

PAYER = Payer("b", "s", "a")


def _chain():
    registry = Registry({}, {}, PriceList({MODEL: PRICE}))
    registry.add(Provider("p0", "openai-chat", "http://x", None, (MODEL,)))
    return registry.chain(MODEL, 100)


def test_a_try_asks_for_each_byte_and_the_output_that_it_may_have() -> None:
    call = formats.FORMATS["openai-chat"].parse(chat(max_tokens=100))
    (candidate,) = _chain()
    found = worst_case.ask(call, candidate, PAYER, 256)
    tokens = call.input_bytes + prices.OVERHEAD_TOKENS
    assert found.cost == CallCost(prices.worst_input(call.input_bytes, PRICE), PRICE.output, 100, tokens, 256)
    assert (found.payer, found.input_tokens, found.model) == (PAYER, tokens, MODEL)
    assert worst_case.tokens_max(call, [candidate]) == tokens + 100


def test_without_a_limit_of_its_own_the_output_is_the_model_s() -> None:
    call = formats.FORMATS["openai-chat"].parse(chat())
    (candidate,) = _chain()
    most = candidate.output_tokens_max
    assert worst_case.ask(call, candidate, PAYER, 256).cost.output_tokens == most
    assert worst_case.tokens_max(call, [candidate]) == call.input_bytes + prices.OVERHEAD_TOKENS + most
