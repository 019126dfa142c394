"""How a budget stands to the next call, in words, and that what is suggested really lets it go."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import budget, dollars, standing
from dashd.domain.budget import NUSD, CallCost, Node, Refuse
from dashd.domain.standing import Wanted

NODE = Node(id="n", limit=NUSD, reserve=0, held=0, spent=0, live=1, frozen=None)
TOKENS = replace(NODE, limit=None, limit_tokens=1_000)


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (NODE, ""),
        (replace(NODE, limit=None), ""),
        (replace(NODE, spent=NUSD), "nothing is left of $1.00"),
        (replace(NODE, spent=NUSD * 14 // 10), "limit $1.00 is below spent $1.40: nothing more may be spent"),
        (replace(NODE, spent=NUSD * 3 // 10, need=NUSD * 7 // 10), ""),
        (
            replace(NODE, spent=NUSD * 3 // 10, need=NUSD * 8 // 10),
            "$0.70 left of $1.00, the next call must hold $0.80",
        ),
        (
            replace(NODE, spent=NUSD * 3 // 10, need=NUSD * 7 // 10 + 1),
            "$0.70 left of $1.00, the next call must hold $0.000000001 more",
        ),
        (
            replace(NODE, spent=NUSD // 4, reserve=NUSD // 2, need=NUSD // 2),
            "$0.25 left of $1.00 ($0.50 of it is kept for agents added later), the next call must hold $0.50",
        ),
        (
            replace(NODE, spent=NUSD // 2, reserve=NUSD // 2),
            "nothing is left of $1.00 ($0.50 of it is kept for agents added later)",
        ),
        (replace(NODE, frozen="its price is wrong", spent=NUSD), "frozen: its price is wrong"),
        (replace(TOKENS, spent_tokens=1_000), "nothing is left of 1,000 tokens"),
        (
            replace(TOKENS, spent_tokens=400, need_tokens=601),
            "600 tokens left of 1,000 tokens, the next call must hold 601 tokens",
        ),
        (
            replace(TOKENS, spent_tokens=1_400),
            "limit 1,000 tokens is below spent 1,400 tokens: nothing more may be spent",
        ),
        (replace(NODE, limit_tokens=1_000, spent_tokens=1_000), "nothing is left of 1,000 tokens"),
    ],
)
def test_it_says_in_the_unit_that_ran_out_what_is_left_and_what_must_be_held(node: Node, text: str) -> None:
    found = standing.blocked(node)
    assert (found.text if found else "") == text


def test_the_sum_is_what_the_next_calls_need() -> None:
    node = replace(NODE, spent=NUSD * 9 // 10)
    assert standing.extensions([node], Wanted(next=NUSD // 2, next_tokens=1)) == [
        "budget.extend n 0.4: go on; it covers the next call"
    ]
    assert standing.extensions([node], Wanted(next=NUSD // 2, next_tokens=1, calls=3)) == [
        "budget.extend n 1.4: go on; it covers the next call of each of the 3 agents"
    ]


def test_the_sum_is_what_is_projected_where_that_is_more() -> None:
    node = replace(NODE, spent=NUSD * 9 // 10)
    likely = Wanted(next=NUSD // 2, next_tokens=1, likely=4 * NUSD)
    assert standing.extensions([node], likely) == [
        "budget.extend n 3.9: go on; it covers what is likely still to come"
    ]


def test_a_budget_above_that_does_not_cover_it_is_named_as_well() -> None:
    above = replace(NODE, id="project", limit=2 * NUSD, spent=2 * NUSD)
    found = standing.extensions([replace(NODE, spent=NUSD), above], Wanted(next=NUSD // 4, next_tokens=1))
    assert [each.partition(":")[0] for each in found] == [
        "budget.extend n 0.25", "budget.extend project 0.25",
    ]  # fmt: skip


def test_tokens_are_extended_in_tokens() -> None:
    node = replace(TOKENS, spent_tokens=900)
    assert standing.extensions([node], Wanted(next=NUSD, next_tokens=600)) == [
        "budget.extend n --tokens 500: go on; it covers the next call"
    ]


def test_nothing_is_offered_that_no_budget_may_have() -> None:
    node = replace(NODE, limit=budget.LIMIT_NUSD_MAX - 10, spent=budget.LIMIT_NUSD_MAX - 10)
    assert standing.extensions([node], Wanted(next=11, next_tokens=1)) == []
    assert standing.extensions([node], Wanted(next=7, next_tokens=1, calls=9)) == [
        "budget.extend n 0.00000001: go on; it covers the next call"
    ]


_amounts = st.integers(0, 20 * NUSD)


@given(
    limits=st.lists(st.tuples(_amounts, _amounts, _amounts, st.integers(1, 20)), min_size=1, max_size=4),
    tokens=st.tuples(st.integers(0, 5_000), st.integers(0, 5_000)),
    call=st.builds(
        CallCost, _amounts, st.integers(0, NUSD // 1_000), st.integers(1, 4_000), st.integers(0, 5_000)
    ),
    calls=st.integers(1, 5),
    likely=st.none() | _amounts,
)
def test_once_all_that_is_suggested_was_added_the_call_is_not_refused(
    limits: list[tuple[int, int, int, int]],
    tokens: tuple[int, int],
    call: CallCost,
    calls: int,
    likely: int | None,
) -> None:
    path = [
        replace(NODE, id=str(n), limit=limit, reserve=reserve, spent=spent, live=live)
        for n, (limit, reserve, spent, live) in enumerate(limits)
    ]
    path[0] = replace(path[0], limit_tokens=tokens[0], spent_tokens=tokens[1])
    wanted = Wanted(call.least, call.input_tokens + call.least_output, calls, likely, likely)
    for line in standing.extensions(path, wanted):
        _, name, *amount = line.partition(":")[0].split()
        node = path[int(name)]
        if amount[0] == "--tokens":
            path[int(name)] = replace(node, limit_tokens=(node.limit_tokens or 0) + int(amount[1]))
        else:
            path[int(name)] = replace(node, limit=(node.limit or 0) + dollars.nusd(float(amount[0])))
    assert not isinstance(budget.decide(path, call), Refuse)
