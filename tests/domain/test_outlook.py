"""What a forecast means for a limit, in words, and what would help, with figures."""

import dataclasses

import pytest

from dashd.domain import outlook
from dashd.domain.forecast import Projection
from dashd.domain.prices import Price, Usage

USD = 10**9
NOW = outlook.Situation(
    swarm="7k2m9q",
    budget="7k2m9q",
    spent=4 * USD,
    left=1 * USD,
    burn_per_min=USD // 3,
    projection=Projection(total=8 * USD, low=6 * USD, high=10 * USD, each=USD // 2),
    agents=10,
    not_begun=6,
    model="big",
    usage=Usage(1_000_000, 0, 0, 100_000),
)


def price(per_token: int) -> Price:
    return Price(per_token, 4 * per_token, per_token, per_token, 0, "2026-11-01", "config")


def test_past_the_limit_it_says_when_and_what_would_help() -> None:
    found = outlook.look(NOW, [("big", price(1_000)), ("small", price(250)), ("same", price(1_000))])
    assert found.passes_in_s == pytest.approx(180)
    assert found.text == (
        "at this rate you pass the limit in 3 min; all tasks together come to about $8.00 ($6.00 to $10.00)"
    )
    assert found.suggestions == [
        "budget.extend 7k2m9q 5: covers the dearest case, 3 the likely one",
        "model small for what is left: 25% of the price of big, saves about $3.00 (agent.set_model)",
        "swarm.scale 7k2m9q 5: slower, not cheaper: 5 instead of 10 agents take 6 min to pass it",
        "task.cancel 6 of the 6 tasks that have not begun: what is left covers about 0",
    ]


def test_the_dearest_model_that_fits_and_the_cheapest_are_named() -> None:
    models = [("big", price(1_000)), *((f"m{n}", price(n)) for n in (950, 700, 240, 200, 100))]
    found = outlook.look(NOW, models).suggestions
    assert [each.partition(" (")[0] for each in found if each.startswith("model")] == [
        "model m240 for what is left: 24% of the price of big, saves about $3.04",
        "model m100 for what is left: 10% of the price of big, saves about $3.60",
    ]


def test_the_saving_is_by_the_tokens_that_were_used_and_by_fees() -> None:
    """Another mix, another saving: one that is cheap to read only pays where much is read."""
    reads = Price(100, 9_000, 100, 100, 0, "", "config")
    models = [("big", price(1_000)), ("reads", reads)]
    reading = dataclasses.replace(NOW, usage=Usage(1_000_000, 0, 0, 1_000))
    (named,) = (each for each in outlook.look(reading, models).suggestions if each.startswith("model"))
    assert named.startswith("model reads for what is left: 11% of the price of big, saves about $3.57")
    writing = dataclasses.replace(NOW, usage=Usage(1_000, 0, 0, 1_000_000))
    assert not any(each.startswith("model") for each in outlook.look(writing, models).suggestions)
    fee = dataclasses.replace(price(250), per_request=10**9)
    dear = dataclasses.replace(NOW, calls=50)
    assert not any(
        each.startswith("model")
        for each in outlook.look(dear, [("big", price(1_000)), ("fee", fee)]).suggestions
    )


def test_near_the_limit_a_model_is_named_though_nobody_can_tell_the_end() -> None:
    models = [("big", price(1_000)), ("small", price(250))]
    early = dataclasses.replace(NOW, projection=None, spent=2 * USD)
    assert outlook.look(early, models).suggestions == []
    found = outlook.look(dataclasses.replace(early, spent=3 * USD), models).suggestions
    assert found[0] == (
        "model small for what is left: 25% of the price of big, $3.00 so far would have been about $0.75"
        " (agent.set_model)"
    )


def test_where_it_has_stopped_neither_a_rate_nor_more_agents_are_spoken_of() -> None:
    found = outlook.look(dataclasses.replace(NOW, left=USD // 2, blocked="$0.50 left of $1.00, and so on"))
    assert found.text.startswith("$0.50 left of $1.00, and so on; all tasks together")
    assert found.passes_in_s is None
    assert [each.split()[0] for each in found.suggestions] == ["task.cancel"]


def test_a_limit_in_tokens_alone_is_told_too() -> None:
    found = outlook.look(dataclasses.replace(NOW, left=None, blocked="nothing is left of 100 tokens"))
    assert found.text.startswith("nothing is left of 100 tokens")


@pytest.mark.parametrize("projection", [NOW.projection, None])
@pytest.mark.parametrize("left", [1 * USD, None])
def test_what_is_stopped_passes_no_limit_whatever_was_spent_lately(projection, left) -> None:
    found = outlook.look(dataclasses.replace(NOW, projection=projection, left=left, blocked="it is paused"))
    assert found.passes_in_s is None
    assert found.text.startswith("it is paused")
    assert "pass the limit" not in found.text
    assert not any("it takes" in each for each in found.suggestions)


def test_within_the_limit_nothing_is_suggested() -> None:
    found = outlook.look(dataclasses.replace(NOW, left=7 * USD))
    assert (found.passes_in_s, found.suggestions) == (None, [])
    assert found.text.endswith("within the limit")


def test_between_the_likely_and_the_dearest_case_it_says_may() -> None:
    found = outlook.look(dataclasses.replace(NOW, left=5 * USD, budget="project"))
    assert found.text.endswith("the limit of project may be passed, $5.00 is left")
    assert found.suggestions[0] == "budget.extend project 1: covers the dearest case"


def test_smaller_scope_counts_what_running_tasks_still_need() -> None:
    found = outlook.look(dataclasses.replace(NOW, left=3 * USD))
    assert found.suggestions[-1].startswith("task.cancel 2 of the 6 tasks")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"projection": None, "burn_per_min": 0},
            "nothing was spent lately, and too little has ended to tell",
        ),
        (
            {"projection": None},
            "at this rate you pass the limit in 3 min; too little has ended to tell where it ends",
        ),
        ({"left": 0, "projection": None}, "the limit is reached"),
        ({"left": None, "projection": None}, "nothing is limited, and too little has ended to tell"),
    ],
)
def test_while_little_is_known(changes, text) -> None:
    assert outlook.look(dataclasses.replace(NOW, **changes)).text == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1 s"), (45.4, "45 s"), (180, "3 min"), (3_600, "1 h"), (7_500, "2 h 5 min")],
)
def test_span(seconds, text) -> None:
    assert outlook.span(seconds) == text
