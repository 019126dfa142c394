"""The places among which a swarm's agents are placed: instances for those of driver pi, and for swarms that
work on gateways that were added, those. A name is one of either kind, never of both.
"""

from collections.abc import Mapping
from typing import Literal

from dashd.domain import placement
from dashd.domain.placement import Place, Placed, Terms, Turns, Unplaced

from . import added_gateways, instances, swarms
from .registry import Look
from .rows import Snapshot, SwarmRow

Noun = Literal["gateway", "instance"]


def noun(swarm: SwarmRow) -> Noun | Literal[""]:
    """What those of a swarm are called; empty where its agents need no place."""
    if swarm.driver == instances.DRIVER:
        return "instance"
    return "gateway" if swarm.placement else ""


def places(db: Snapshot, noun: Noun, looks: Mapping[str, Look]) -> list[Place]:
    """As the rows have them now; `looks` are the last ones, by name."""
    return instances.places(db, looks) if noun == "instance" else added_gateways.places(db, looks)


def next_of(db: Snapshot, swarm: SwarmRow, looks: Mapping[str, Look]) -> Placed | Unplaced | None:
    """Where a swarm's next task would go now; None: it needs no place."""
    return choose(db, of, looks, swarms.terms(swarm), swarm.id) if (of := noun(swarm)) else None


def choose(
    db: Snapshot, noun: Noun, looks: Mapping[str, Look], wanted: Terms, swarm: str = ""
) -> Placed | Unplaced:
    """Where a swarm's next task would go now, by what it asks for."""
    demand = placement.demand(wanted, swarm, None)
    return placement.choose(places(db, noun, looks), demand, Turns(), wanted.policy)
