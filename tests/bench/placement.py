"""Choosing a place for work among fifty gateways, beside picking the least of as many numbers."""

from collections.abc import Iterator

from dashd.domain.placement import Demand, Place, Placed, Turns, choose

from . import measure
from .bed import Bed
from .measure import Figure

PLACES = 50


def run(bed: Bed) -> Iterator[Figure]:
    """The median time of one choice."""
    every = [
        Place(
            f"g{number:02d}",
            20,
            number % 17,
            capabilities=frozenset({"browser"}),
            region="eu",
            version=(2026, 9),
        )
        for number in range(PLACES)
    ]
    demand = Demand(frozenset({"browser"}), "eu", (2026,), swarm="s", session="c")
    turns, loads = Turns(), [place.load for place in every]
    assert isinstance(choose(every, demand, turns), Placed)
    samples = bed.effort.count(2_000)
    found = measure.interleave(
        bed.effort.rounds,
        {
            "choose": lambda: measure.p50_us(lambda: choose(every, demand, turns), samples) / 1e3,
            "least": lambda: measure.p50_us(lambda: min(loads), samples) / 1e3,
        },
    )
    made = measure.compared("placement.fifty", "ms/choice", "", measure.pairs(found, "choose", "least"))
    assert made.value is not None
    yield measure.figure(made.name, made.value, made.unit, goal="value < 5", baseline=made.baseline)
