"""A thinking budget stays below the granted output, and is turned off where none fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.proxy.formats import thinking


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_budget_fits_below_the_output_or_there_is_none(asked, output):
    budget = thinking.fit(asked, output)
    assert budget is None or thinking.THINKING_TOKENS_MIN <= budget <= min(asked, output - 1)


@pytest.mark.parametrize(
    ("asked", "output", "sent"),
    [
        ({"type": "enabled", "budget_tokens": 2_000}, 8_000, {"type": "enabled", "budget_tokens": 2_000}),
        ({"type": "enabled", "budget_tokens": 9_000}, 4_000, {"type": "enabled", "budget_tokens": 3_000}),
        ({"type": "enabled", "budget_tokens": 9_000}, 1_200, {"type": "disabled"}),
        ({"type": "adaptive"}, 300, {"type": "adaptive"}),
        ({"type": "disabled"}, 300, {"type": "disabled"}),
        ({"type": "enabled", "budget_tokens": "many"}, 300, {"type": "enabled", "budget_tokens": "many"}),
    ],
    ids=str,
)
def test_anthropic_thinking(asked, output, sent):
    body = {"thinking": asked}
    thinking.lower(body, output)
    assert body == {"thinking": sent}


@pytest.mark.parametrize(
    ("asked", "output", "sent"),
    [
        ({"reasoning": {"max_tokens": 9_000}}, 4_000, {"reasoning": {"max_tokens": 3_000}}),
        ({"reasoning": {"max_tokens": 9_000}}, 400, {"reasoning": {"enabled": False}}),
        ({"reasoning": {"effort": "high"}}, 400, {"reasoning": {"effort": "high"}}),
        ({"thinking_budget": 9_000}, 4_000, {"thinking_budget": 3_000}),
        ({"thinking_budget": 9_000}, 400, {"enable_thinking": False}),
        ({}, 400, {}),
    ],
    ids=str,
)
def test_other_spellings(asked, output, sent):
    thinking.lower(asked, output)
    assert asked == sent


def test_the_callers_own_object_is_left_alone():
    inner = {"type": "enabled", "budget_tokens": 9_000}
    thinking.lower({"thinking": inner}, 2_000)
    assert inner["budget_tokens"] == 9_000
