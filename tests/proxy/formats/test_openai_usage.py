"""OpenAI's usage, and what compatible providers make of it, in disjoint classes."""

import pytest

from dashd.domain.prices import Usage
from dashd.proxy.formats import openai_usage
from dashd.proxy.meter import Incredible


@pytest.mark.parametrize(
    ("said", "used"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 3}, Usage(10, 0, 0, 3)),
        ({"input_tokens": 10, "output_tokens": 3}, Usage(10, 0, 0, 3)),
        (
            {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}},
            Usage(6, 4, 0, 3),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5},
            },
            Usage(1, 4, 5, 3),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 3, "prompt_cache_hit_tokens": 8}, Usage(2, 8, 0, 3)),
        # Reasoning is inside the completion, so it is not added again ...
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 8,
                "completion_tokens_details": {"reasoning_tokens": 6},
            },
            Usage(9, 0, 0, 8),
        ),
        # ... unless it cannot be inside, as the total or its size says.
        ({"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 100}, Usage(9, 0, 0, 91)),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 8,
                "completion_tokens_details": {"reasoning_tokens": 70},
            },
            Usage(9, 0, 0, 78),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 3}, Usage(9, 0, 0, 8)),
        ({"prompt_tokens": 9, "completion_tokens": 8, "prompt_tokens_details": None}, Usage(9, 0, 0, 8)),
    ],
    ids=str,
)
def test_classes_are_disjoint(said, used):
    assert openai_usage.read(said) == used


@pytest.mark.parametrize("said", [{}, {"prompt_tokens": 3}, {"completion_tokens": 3}])
def test_half_a_usage_is_none(said):
    assert openai_usage.read(said) is None


@pytest.mark.parametrize(
    "more",
    [
        {"prompt_tokens_details": {"cached_tokens": 11}},
        {"prompt_tokens_details": {"cached_tokens": -1}},
        {"prompt_tokens_details": {"audio_tokens": 1}},
        {"completion_tokens_details": {"audio_tokens": 1}},
        {"total_tokens": "many"},
    ],
    ids=str,
)
def test_what_cannot_be_is_not_believed(more):
    with pytest.raises(Incredible):
        openai_usage.read({"prompt_tokens": 10, "completion_tokens": 3} | more)
