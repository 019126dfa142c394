"""What one call may hold: the rules one by one, and for any tree that no limit can be passed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import budget
from dashd.domain.budget import CallCost, Grant, Node, Refuse, Wait

CALL = CallCost(input=1_000, output_each=10, output_tokens=1_000, input_tokens=500)
LEAST = 1_000 + 10 * budget.USEFUL_OUTPUT_TOKENS
FULL = 1_000 + 10 * 1_000


def node(limit: int | None = None, **changes) -> Node:
    fields = {"id": "n", "limit": limit, "reserve": 0, "held": 0, "spent": 0, "live": 1, "frozen": None}
    return Node(**(fields | changes))


def test_without_limits_the_worst_case_is_held() -> None:
    assert budget.decide([node(), node()], CALL) == Grant(FULL, 1_000)


def test_output_is_lowered_to_fit() -> None:
    assert budget.decide([node(1_000 + 10 * 300)], CALL) == Grant(1_000 + 10 * 300, 300)


def test_how_much_output_is_useful_can_be_said() -> None:
    modest = replace(CALL, useful_tokens=16)
    assert budget.decide([node(1_000 + 10 * 16)], modest) == Grant(1_000 + 10 * 16, 16)
    assert budget.decide([node(1_000 + 10 * 15)], modest) == Refuse("n", "spent")
    assert budget.decide([node(10_000, live=10)], modest) == Grant(1_000 + 10 * 16, 16)


def test_what_is_left_is_shared_by_the_live_ones() -> None:
    assert budget.decide([node(40_000, live=10)], CALL) == Grant(1_000 + 10 * 300, 300)
    assert budget.decide([node(10_000, live=10)], CALL) == Grant(LEAST, budget.USEFUL_OUTPUT_TOKENS)


def test_it_waits_where_only_holds_are_in_the_way() -> None:
    assert budget.decide([node(FULL, held=FULL - LEAST + 1, id="x")], CALL) == Wait("x")
    assert isinstance(budget.decide([node(FULL, held=FULL - LEAST)], CALL), Grant)


@pytest.mark.parametrize(
    ("tight", "reason"),
    [
        (node(FULL, spent=FULL - LEAST + 1, id="x"), "spent"),
        (node(FULL, reserve=FULL, id="x"), "spent"),
        (node(id="x", frozen="overrun"), "frozen"),
        (node(id="x", limit_tokens=500 + 255), "tokens"),
        (node(id="x", limit_tokens=1_000, spent_tokens=245), "tokens"),
    ],
)
def test_it_is_refused_where_no_settlement_could_make_room(tight, reason) -> None:
    assert budget.decide([node(), tight, node()], CALL) == Refuse("x", reason)


def test_tokens_are_a_second_limit_of_the_same_kind() -> None:
    assert budget.decide([node(limit_tokens=500 + 300)], CALL) == Grant(1_000 + 10 * 300, 300)
    assert budget.decide([node(limit_tokens=4_000, live=5)], CALL) == Grant(1_000 + 10 * 300, 300)
    assert budget.decide([node(id="x", limit_tokens=1_000, held_tokens=245)], CALL) == Wait("x")
    both = node(1_000 + 10 * 400, limit_tokens=500 + 300)
    assert budget.decide([both], CALL) == Grant(1_000 + 10 * 300, 300)


def test_a_call_that_costs_nothing_never_waits_for_money() -> None:
    assert budget.decide([node(10, spent=20)], CallCost(0, 0, 1_000)) == Grant(0, 1_000)


def test_a_free_model_is_bounded_by_tokens_alone() -> None:
    free = CallCost(0, 0, 1_000, 100)
    assert budget.decide([node(0)], free) == Grant(0, 1_000)
    assert budget.decide([node(0, limit_tokens=600)], free) == Grant(0, 500)


@pytest.mark.parametrize(
    ("spent", "limit", "reached", "mark"),
    [
        (74, 100, 0, None), (75, 100, 0, 75), (95, 100, 75, 90), (100, 100, 75, 100), (100, 100, 100, None),
        (5, None, 0, None), (150, 100, 0, 100),
    ],
)  # fmt: skip
def test_a_threshold_is_told_once(spent, limit, reached, mark) -> None:
    assert budget.threshold(spent, limit, reached) == mark


def test_a_child_gets_a_third_at_most() -> None:
    assert budget.child_limit(10 * budget.NUSD) == 3 * budget.NUSD
    assert budget.child_limit(None) is None


amounts = st.integers(0, 50_000)
nodes = st.builds(
    node,
    limit=st.none() | amounts,
    reserve=amounts,
    held=amounts,
    spent=amounts,
    live=st.integers(0, 30),
    limit_tokens=st.none() | amounts,
    held_tokens=amounts,
    spent_tokens=amounts,
)
calls = st.builds(
    CallCost, st.integers(0, 9_000), st.integers(0, 40), st.integers(0, 3_000), st.integers(0, 2_000)
)


@pytest.mark.parametrize(
    ("limit", "tokens", "fits"),
    [
        (None, None, True),
        (30, None, True),
        (29, None, False),
        (30, 8, True),
        (30, 7, False),
        (None, 7, False),
    ],
)
def test_a_call_fits_what_is_left_once_nothing_is_held(limit, tokens, fits) -> None:
    """10 and 4 tokens, where 15 and 4 tokens are spent, 20 and 3 are held, and 5 are kept back."""
    shared = node(limit, reserve=5, held=20, spent=15, limit_tokens=tokens, held_tokens=3, spent_tokens=4)
    assert budget.fits(shared, 10, 4) is fits


@given(st.lists(nodes, min_size=1, max_size=5), calls)
def test_what_is_granted_fits_every_node_in_both_measures(path, call) -> None:
    verdict = budget.decide(path, call)
    if not isinstance(verdict, Grant):
        return
    assert verdict.amount == call.at(verdict.output_tokens)
    assert min(call.output_tokens, budget.USEFUL_OUTPUT_TOKENS) <= verdict.output_tokens <= call.output_tokens
    for each in path:
        if each.usable is not None and verdict.amount:
            assert each.spent + each.held + verdict.amount <= each.usable
        if each.limit_tokens is not None:
            taken = call.input_tokens + verdict.output_tokens
            assert not taken or each.spent_tokens + each.held_tokens + taken <= each.limit_tokens


@given(st.lists(nodes, min_size=1, max_size=5), calls)
def test_it_waits_only_for_what_settling_can_give_back(path, call) -> None:
    verdict = budget.decide(path, call)
    if isinstance(verdict, Wait):
        freed = [
            Node(
                each.id, each.limit, each.reserve, 0, each.spent, each.live, each.frozen,
                each.limit_tokens, 0, each.spent_tokens,
            )
            for each in path
        ]  # fmt: skip
        assert isinstance(budget.decide(freed, call), Grant)
