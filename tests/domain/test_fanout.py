"""The price of a swarm that does not exist: its figures follow from the assumptions that it states."""

import dataclasses

from dashd.domain import budget, fanout, prices

PRICE = prices.Price(1_000, 4_000, 1_000, 1_000, 0, "built in", "offline")
FIRST_BYTES = 6_000
PLAN = fanout.Fanout(
    agents=20,
    tasks=40,
    brief_bytes=400,
    model="offline",
    price=PRICE,
    output_tokens_max=4_096,
    useful_tokens=budget.USEFUL_OUTPUT_TOKENS,
    learned=None,
    stand_in=False,
    first_bytes=FIRST_BYTES,
)


def test_the_estimate_is_agents_times_calls_times_price() -> None:
    found = fanout.estimate(PLAN)
    first = (FIRST_BYTES + 400) // fanout.BYTES_PER_TOKEN
    calls = fanout.CALLS_EACH
    grown = fanout.GROWTH_TOKENS * calls * (calls - 1) // 2
    assert found.calls == 40 * calls
    assert found.task == 1_000 * (calls * first + grown) + 4_000 * calls * fanout.OUTPUT_TOKENS
    assert found.total == 40 * found.task
    assert found.start == max(found.first_hold, 20 * found.first_call)


def test_the_first_hold_is_the_least_that_the_rules_grant() -> None:
    found = fanout.estimate(PLAN)
    worst = prices.worst_input(FIRST_BYTES + 400, PRICE)
    call = budget.CallCost(worst, 4_000, 4_096)
    just = budget.Node("n", found.first_hold, 0, 0, 0, 1, None)
    assert isinstance(budget.decide([just], call), budget.Grant)
    less = dataclasses.replace(just, limit=found.first_hold - 1)
    assert isinstance(budget.decide([less], call), budget.Refuse)


def test_how_many_agents_a_little_money_starts() -> None:
    found = fanout.estimate(PLAN)
    assert fanout.agents_within(PLAN, found.first_hold - 1) == 0
    assert fanout.agents_within(PLAN, 5 * found.first_call) == 5
    assert fanout.agents_within(PLAN, 10**12) == 20


def test_every_assumption_is_said() -> None:
    said = " ".join(fanout.assumptions(PLAN))
    first = FIRST_BYTES // fanout.BYTES_PER_TOKEN
    for figure in (fanout.CALLS_EACH, first, fanout.GROWTH_TOKENS, fanout.OUTPUT_TOKENS):
        assert str(figure) in said
    assert "$1.00 in, $4.00 out a million tokens (offline, built in)" in said


def test_a_fee_for_each_request_counts_for_each_call() -> None:
    priced = dataclasses.replace(PLAN, price=dataclasses.replace(PRICE, per_request=7))
    assert fanout.estimate(priced).task - fanout.estimate(PLAN).task == 7 * fanout.CALLS_EACH


def test_what_was_learned_is_taken_instead_of_what_is_assumed() -> None:
    learned = fanout.Learned(tasks=4, calls=10, input_tokens=4_001, output_tokens=400, nusd=4_001)
    found = fanout.estimate(dataclasses.replace(PLAN, learned=learned))
    assert (found.calls, found.input_tokens, found.output_tokens) == (100, 40_010, 4_000)
    assert (found.total, found.task) == (40_010, 1_001)
    blind = fanout.estimate(PLAN)
    assert (found.first_hold, found.start) == (blind.first_hold, blind.start)
    said = " ".join(fanout.assumptions(dataclasses.replace(PLAN, learned=learned)))
    for figure in ("last 4 tasks", "2.5 calls", "1000 tokens in", "100 out", "$0.000001"):
        assert figure in said


def test_two_tasks_are_not_enough_to_learn_from() -> None:
    learned = fanout.Learned(fanout.LEARNED_MIN - 1, 1, 1, 1, 1)
    assert fanout.estimate(dataclasses.replace(PLAN, learned=learned)) == fanout.estimate(PLAN)
    assert "nothing is learned yet" in fanout.assumptions(PLAN)[0]


def test_the_stand_in_takes_less_and_says_what_is_assumed_of_it() -> None:
    plan = dataclasses.replace(PLAN, stand_in=True)
    assert fanout.estimate(plan).task * 10 < fanout.estimate(PLAN).task
    assert fanout.estimate(plan).start == fanout.estimate(PLAN).start
    assert f"{fanout.STAND_IN.calls} calls a task" in " ".join(fanout.assumptions(plan))


def test_a_program_with_more_to_say_has_a_dearer_first_call() -> None:
    plan = dataclasses.replace(PLAN, first_bytes=16_000)
    found, usual = fanout.estimate(plan), fanout.estimate(PLAN)
    assert found.first_hold - usual.first_hold == 10_000 * PRICE.dearest_input
    assert found.first_call - usual.first_call == 2_500 * PRICE.input
    assert "4000 tokens of instructions and tools" in " ".join(fanout.assumptions(plan))
