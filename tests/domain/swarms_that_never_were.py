"""Swarms with heavy-tailed costs, from a seed: agents work side by side, and half of the tasks have ended."""

import heapq
import random

from dashd.domain import forecast

FAMILIES = ("lognormal", "lognormal", "pareto", "runaways", "gamma")


def cost(rng: random.Random, family: str, shape: float) -> int:
    if family == "lognormal":
        size = rng.lognormvariate(0, shape)
    elif family == "pareto":
        size = rng.paretovariate(3.2 - shape) * 0.6
    elif family == "runaways":  # one task in twenty costs six times as much
        size = rng.lognormvariate(0, 0.5) * (6 if rng.random() < 0.05 else 1)
    else:
        size = rng.gammavariate(1.5, 0.7)
    return max(1, int(size * 50_000_000))


def at_half(seed: int) -> tuple[forecast.Tasks, int]:
    """(what is known when half of the tasks have ended, what all of them will have cost)."""
    rng = random.Random(seed)
    family = rng.choice(FAMILIES)
    count = int(20 * 10 ** rng.random())
    agents = min(count // 2, rng.choice((1, 4, 10, 20)))
    shape = rng.uniform(0.4, 1.0)
    costs = [cost(rng, family, shape) for _ in range(count)]
    # All agents spend equally fast: a task lasts as long as it costs, so the dear ones end last.
    busy: list[tuple[int, int, int]] = []
    ended: list[int] = []
    now = begun = 0
    while len(ended) < count // 2:
        while len(busy) < agents and begun < count:
            heapq.heappush(busy, (now + costs[begun], begun, now))
            begun += 1
        now, index, _ = heapq.heappop(busy)
        ended.append(costs[index])
    running = [now - since for _, _, since in busy]
    return forecast.Tasks(ended, running, count - begun), sum(costs)
