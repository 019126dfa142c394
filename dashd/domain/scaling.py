"""How many places of our own there are: one more, or one less, as their load and the work that waits want it.

Pure; times are arguments, in seconds of any steady clock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from .placement import Place

SCALE_UP = 0.8
"""Above this share of all capacity another place is wanted."""


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """How many places of our own there may be, and when their number changes."""

    least: int = 0
    most: int = 1
    queue_wait_s: float = 30.0
    """Work that has waited longer wants another place."""
    idle_s: float = 300.0
    """A place without work for longer is ended."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """One more place, or one less."""

    change: Literal["up", "down"]
    why: str
    place: str | None = None
    """Which to drain, on the way down."""


def scaling(
    places: Iterable[Place], idle_s: Mapping[str, float], waited_s: float, policy: ScalingPolicy
) -> Scaling | None:
    """What to do about the number of our own places; `idle_s` by place, `waited_s` of the oldest work.

    One at a time, so that what a new place changes is seen before the next; never up and down for one
    state: a place is let go only while nothing waits and the others would stay below the mark, or where
    there are more than there may be. Those that are drained count: another one in their room would undo it.
    """
    every = [place for place in places if place.health != "dead"]
    ours = [place for place in every if not place.draining]
    if len(ours) > policy.most:
        least = min(ours, key=lambda place: (place.load, place.id))
        return Scaling("down", f"{len(ours)} of at most {policy.most}", least.id)
    policy = _within(policy, sum(1 for place in every if place.draining))
    if len(ours) < policy.least:
        return Scaling("up", f"{len(ours)} of at least {policy.least}")
    capacity, load = sum(place.capacity for place in ours), sum(place.load for place in ours)
    if len(ours) < policy.most:
        if waited_s > 0 and not ours:
            return Scaling("up", "work waits, and there is none")
        if waited_s > policy.queue_wait_s:
            return Scaling("up", f"work has waited for {waited_s:.0f} s")
        if capacity and load > SCALE_UP * capacity:
            return Scaling("up", f"{load} of {capacity} in use")
    if waited_s > 0 or len(ours) <= policy.least:
        return None
    for place in sorted(ours, key=lambda place: (-idle_s.get(place.id, 0.0), place.id)):
        quiet = place.load == 0 and idle_s.get(place.id, 0.0) > policy.idle_s
        if quiet and load <= SCALE_UP * (capacity - place.capacity):
            return Scaling("down", f"idle for {idle_s[place.id]:.0f} s", place.id)
    return None


def _within(policy: ScalingPolicy, taken: int) -> ScalingPolicy:
    """The policy of the others, where so many places are taken."""
    most = max(0, policy.most - taken)
    return replace(policy, least=min(policy.least, most), most=most)
