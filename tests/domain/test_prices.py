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


TIERED = prices.Price(
    6_000, 22_500, 600, 7_500, 10, "d", "genai-prices",
    (prices.Tier(0, 3_000, 15_000, 300, 3_750), prices.Tier(200_000, 6_000, 22_500, 600, 7_500)),
)  # fmt: skip


def test_a_call_is_settled_by_the_tier_of_its_whole_input() -> None:
    assert prices.cost(prices.Usage(21, 0, 0, 5), TIERED) == 21 * 3_000 + 5 * 15_000 + 10
    at = prices.Usage(100_000, 60_000, 40_000, 5)
    assert prices.cost(at, TIERED) == 100_000 * 3_000 + 60_000 * 300 + 40_000 * 3_750 + 5 * 15_000 + 10
    over = prices.Usage(100_001, 60_000, 40_000, 5)
    assert prices.cost(over, TIERED) == 100_001 * 6_000 + 60_000 * 600 + 40_000 * 7_500 + 5 * 22_500 + 10


def test_calls_together_are_settled_by_what_each_of_them_had() -> None:
    usage = prices.Usage(400_000, 0, 0, 10)
    assert prices.cost(usage, TIERED, 2) == 400_000 * 3_000 + 10 * 15_000 + 20
    assert prices.cost(usage, TIERED) == 400_000 * 6_000 + 10 * 22_500 + 10


@st.composite
def tiered_prices(draw: st.DrawFn) -> prices.Price:
    """As the list makes them: the figures outside the tiers are the dearest of each class."""
    rate = st.integers(0, 10**6)
    overs = [0, *sorted(draw(st.sets(st.integers(1, 10**6), max_size=3)))]
    tiers = tuple(prices.Tier(over, *draw(st.tuples(rate, rate, rate, rate))) for over in overs)
    own = [
        max(getattr(tier, name) for tier in tiers)
        for name in ("input", "output", "cache_read", "cache_write")
    ]
    return prices.Price(*own, draw(rate), "d", "genai-prices", tiers)


@given(
    tiered_prices(),
    st.tuples(*[st.integers(0, 10**6)] * 4).map(lambda each: prices.Usage(*each)),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)
def test_no_usage_within_a_hold_costs_more_than_it(price, usage, more_input, more_output) -> None:
    tokens = usage.input + usage.cache_read + usage.cache_write
    held = prices.worst_input(tokens + more_input, price) + (usage.output + more_output) * price.output
    assert prices.cost(usage, price) <= held
