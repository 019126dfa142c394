"""How a goal becomes a graph of tasks: one file per strategy, each a pure `plan(items) -> list[Planned]`."""

from collections.abc import Callable, Sequence

from . import map_reduce, parallel, pipeline
from .plan import Planned

STRATEGIES: dict[str, Callable[[Sequence[str]], list[Planned]]] = {
    "parallel": parallel.plan,
    "pipeline": pipeline.plan,
    "map-reduce": map_reduce.plan,
}
"""By the name that `swarm.create` takes."""

__all__ = ["STRATEGIES", "Planned"]
