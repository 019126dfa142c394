"""What a swarm will need before it exists: agents times assumed calls times a price, all said aloud. Pure.

The estimate is for a person to judge; the one hard statement is whether a budget could start at all.
"""

from dataclasses import dataclass

from . import budget, dollars, prices

CALLS_EACH = 12
"""Model calls a task takes."""
BYTES_PER_TOKEN = 4
FIRST_TOKENS = 1_500
"""An agent's own instructions and tools, in its first call."""
FIRST_BYTES = FIRST_TOKENS * BYTES_PER_TOKEN
GROWTH_TOKENS = 1_200
"""What each call adds to the next one's input."""
OUTPUT_TOKENS = 400


@dataclass(frozen=True, slots=True)
class Fanout:
    """A swarm as it would be."""

    agents: int
    tasks: int
    brief_bytes: int
    """Of what one agent is told."""
    model: str
    price: prices.Price
    output_tokens_max: int
    useful_tokens: int = budget.USEFUL_OUTPUT_TOKENS


@dataclass(frozen=True, slots=True)
class Estimate:
    """What it comes to, in nano-dollars."""

    calls: int
    input_tokens: int
    output_tokens: int
    total: int
    task: int
    first_call: int
    """What an agent's first call is expected to cost."""
    first_hold: int
    """What must be free for it at least: the worst case of the smallest useful call."""
    start: int
    """The first call of every agent, and room for one hold."""


def estimate(plan: Fanout) -> Estimate:
    """Prices the fan-out by the assumptions above."""
    first = FIRST_TOKENS + plan.brief_bytes // BYTES_PER_TOKEN
    output = min(OUTPUT_TOKENS, plan.output_tokens_max)
    input_each = CALLS_EACH * first + GROWTH_TOKENS * CALLS_EACH * (CALLS_EACH - 1) // 2
    usage = prices.Usage(input_each, 0, 0, CALLS_EACH * output)
    task = prices.cost(usage, plan.price) + (CALLS_EACH - 1) * plan.price.per_request
    first_call = prices.cost(prices.Usage(first, 0, 0, output), plan.price)
    worst = prices.worst_input(FIRST_BYTES + plan.brief_bytes, plan.price)
    hold = budget.CallCost(worst, plan.price.output, plan.output_tokens_max, 0, plan.useful_tokens).least
    return Estimate(
        calls=CALLS_EACH * plan.tasks,
        input_tokens=input_each * plan.tasks,
        output_tokens=usage.output * plan.tasks,
        total=task * plan.tasks,
        task=task,
        first_call=first_call,
        first_hold=hold,
        start=max(hold, first_call * plan.agents),
    )


def assumptions(plan: Fanout) -> list[str]:
    """What the estimate takes for granted, one sentence each."""
    price = plan.price
    return [
        f"{CALLS_EACH} calls a task, {plan.tasks} tasks",
        f"{FIRST_TOKENS} tokens of instructions and tools, {BYTES_PER_TOKEN} bytes a token, "
        f"{GROWTH_TOKENS} tokens more input with each call, {OUTPUT_TOKENS} tokens of output",
        f"{plan.model}: {_per_million(price.input)} in, {_per_million(price.output)} out a million tokens "
        f"({price.source}, {price.date}), no discount for cached input",
        "no task is tried twice",
    ]


def agents_within(plan: Fanout, left: int) -> int:
    """How many agents so much money could start."""
    found = estimate(plan)
    if left < found.first_hold:
        return 0
    return min(plan.agents, left // found.first_call if found.first_call else plan.agents)


def _per_million(nusd_each: int) -> str:
    return dollars.text(nusd_each * 1_000_000)
