"""What a swarm will need before it exists: tasks times what one takes, and where that is known from. Pure.

Once tasks of the same driver and model have ended it is their average, before that it is assumed; either is
said aloud. The estimate is for a person to judge; the one hard statement is whether a budget could start at
all, which rests on the worst case of a first call and on nothing learned.
"""

from dataclasses import dataclass

import msgspec

from . import budget, dollars, prices

CALLS_EACH = 12
"""Model calls a task takes."""
BYTES_PER_TOKEN = 4
GROWTH_TOKENS = 1_200
"""What each call adds to the next one's input."""
OUTPUT_TOKENS = 400
LEARNED_MIN = 3
"""Tasks that must have ended before their average says more than an assumption."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a task is assumed to take."""

    calls: int
    first_tokens: int
    growth_tokens: int
    output_tokens: int


STAND_IN = Work(3, 600, 100, 60)
"""The built-in stand-in looks around and stops: two calls for most tasks."""


class Learned(msgspec.Struct, frozen=True):
    """What tasks of the same driver and model have taken, all together."""

    tasks: int
    calls: int
    input_tokens: int
    output_tokens: int
    nusd: int


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
    useful_tokens: int
    learned: Learned | None
    stand_in: bool
    first_bytes: int
    """Of an agent's first call, beside its brief: what its driver says of its program."""

    @property
    def known(self) -> Learned | None:
        """What was learned, where it is enough."""
        return self.learned if self.learned is not None and self.learned.tasks >= LEARNED_MIN else None

    @property
    def assumed(self) -> Work:
        """What a task is assumed to take as long as nothing is known."""
        if self.stand_in:
            return STAND_IN
        return Work(CALLS_EACH, self.first_bytes // BYTES_PER_TOKEN, GROWTH_TOKENS, OUTPUT_TOKENS)


class Estimate(msgspec.Struct, frozen=True):
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
    """Prices the fan-out by what was learned, else by the assumptions above."""
    first = (plan.first_bytes + plan.brief_bytes) // BYTES_PER_TOKEN
    output = min(OUTPUT_TOKENS, plan.output_tokens_max)
    first_call = prices.cost(prices.Usage(first, 0, 0, output), plan.price)
    worst = prices.worst_input(plan.first_bytes + plan.brief_bytes, plan.price)
    hold = budget.CallCost(worst, plan.price.output, plan.output_tokens_max, 0, plan.useful_tokens).least
    each = plan.known or _one_task(plan)
    return Estimate(
        calls=-(-each.calls * plan.tasks // each.tasks),
        input_tokens=-(-each.input_tokens * plan.tasks // each.tasks),
        output_tokens=-(-each.output_tokens * plan.tasks // each.tasks),
        total=-(-each.nusd * plan.tasks // each.tasks),
        task=-(-each.nusd // each.tasks),
        first_call=first_call,
        first_hold=hold,
        start=max(hold, first_call * plan.agents),
    )


def assumptions(plan: Fanout) -> list[str]:
    """Where the estimate is from, one sentence each."""
    price = plan.price
    priced = (
        f"{plan.model}: {_per_million(price.input)} in, {_per_million(price.output)} out a million tokens "
        f"({price.source}, {price.date})"
    )
    if (known := plan.known) is not None:
        calls, tasks = f"{known.calls / known.tasks:.1f}", known.tasks
        return [
            f"as the last {tasks} tasks of this driver and model that have ended: {calls} calls a task, "
            f"{known.input_tokens // tasks} tokens in, {known.output_tokens // tasks} out, "
            f"{dollars.text(known.nusd // tasks)}, tasks that were tried twice among them",
            priced,
        ]
    work = plan.assumed
    return [
        f"fewer than {LEARNED_MIN} tasks of this driver and model have ended, so nothing is learned yet",
        f"{work.calls} calls a task, {plan.tasks} tasks",
        f"{work.first_tokens} tokens of instructions and tools, {BYTES_PER_TOKEN} bytes a token, "
        f"{work.growth_tokens} tokens more input with each call, {work.output_tokens} tokens of output",
        f"{priced}, no discount for cached input",
        "no task is tried twice",
    ]


def _one_task(plan: Fanout) -> Learned:
    """One task by the assumptions."""
    work, price = plan.assumed, plan.price
    first = work.first_tokens + plan.brief_bytes // BYTES_PER_TOKEN
    asked = work.calls * first + work.growth_tokens * work.calls * (work.calls - 1) // 2
    answered = work.calls * min(work.output_tokens, plan.output_tokens_max)
    nusd = prices.cost(prices.Usage(asked, 0, 0, answered), price, work.calls)
    return Learned(1, work.calls, asked, answered, nusd)


def agents_within(plan: Fanout, left: int) -> int:
    """How many agents so much money could start."""
    found = estimate(plan)
    if left < found.first_hold:
        return 0
    return min(plan.agents, left // found.first_call if found.first_call else plan.agents)


def _per_million(nusd_each: int) -> str:
    return dollars.text(nusd_each * 1_000_000)
