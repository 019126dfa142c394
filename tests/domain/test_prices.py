"""What tokens cost, in whole nano-dollars."""

from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import prices

PRICE = prices.Price(
    input=3_000, output=15_000, cache_read=300, cache_write=3_750, per_request=10, date="d", source="config"
)


def test_each_class_has_its_price() -> None:
    usage = prices.Usage(input=100, cache_read=10, cache_write=1, output=7)
    assert usage.tokens == 118
    assert prices.cost(usage, PRICE) == 100 * 3_000 + 10 * 300 + 3_750 + 7 * 15_000 + 10


def test_the_dearest_input_is_what_a_hold_reckons_with() -> None:
    assert PRICE.dearest_input == 3_750
    assert prices.worst_input(0, PRICE) == prices.OVERHEAD_TOKENS * 3_750 + 10


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_split_of_an_input_costs_more_than_its_worst_case(
    fresh: int, read: int, write: int, more: int
) -> None:
    usage = prices.Usage(input=fresh, cache_read=read, cache_write=write, output=0)
    assert prices.cost(usage, PRICE) <= prices.worst_input(fresh + read + write + more, PRICE)
