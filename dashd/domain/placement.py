"""Where work goes, among gateways or instances: those that fit, the one it belongs to, then the least loaded.

    fits (alive, not draining, capabilities, region, version)
      └─▶ has room (load at most 90 % of capacity)
            └─▶ the session's place ─▶ the swarm's ─▶ least loaded, or the next in turn

Nothing is guessed: where no place fits or none has room, the answer says which it was, and what would help.
Pure. One choice over 50 places costs microseconds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

PRESSURE = 0.9
"""Above this share of its capacity a place takes nothing new."""
FAILURES_MAX = 2
"""So many probes in a row without an answer, and a place counts as dead."""

Health = Literal["alive", "dead", "unknown"]
Policy = Literal["least-loaded", "round-robin"]


@dataclass(frozen=True, slots=True)
class Place:
    """A gateway or an instance, as it stood when it was last looked at."""

    id: str
    capacity: int
    """Runs at once; at least 1."""
    load: int = 0
    """Runs under way, those that were placed and have not begun among them."""
    health: Health = "alive"
    draining: bool = False
    capabilities: frozenset[str] = frozenset()
    region: str | None = None
    version: tuple[int, ...] = ()
    pressure: float = PRESSURE
    """1 for seats of this machine's own, which dashd bounds by itself: they may all be taken."""

    @property
    def share(self) -> float:
        """Of its capacity, what is in use."""
        return self.load / self.capacity

    @property
    def has_room(self) -> bool:
        """Whether it takes something new."""
        return self.load < self.capacity and self.share <= self.pressure


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a swarm asks of the places of its agents; column `swarm.placement`."""

    policy: Policy = "least-loaded"
    capabilities: tuple[str, ...] = ()
    """All of them."""
    region: str | None = None
    version: str | None = None
    """At least."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What some work asks of its place."""

    capabilities: frozenset[str] = frozenset()
    """All of them."""
    region: str | None = None
    version_min: tuple[int, ...] = ()
    swarm: str | None = None
    session: str | None = None
    """A conversation that exists: its own place comes before all others."""
    turn: str = ""
    """With what it takes turns: whatever asks for the same."""


@dataclass(frozen=True, slots=True)
class Placed:
    """It goes there."""

    place: str
    why: Literal["session", "swarm", "least-loaded", "round-robin"]
    turn: str = ""
    """Whose turn this was; empty where another rule chose."""


@dataclass(frozen=True, slots=True)
class Unplaced:
    """It waits: `saturated` until something ends, `unfit` until a place is added, mended or let back in."""

    kind: Literal["saturated", "unfit"]
    reason: str


@dataclass(slots=True)
class Turns:
    """Whose turn it is, and where swarms and sessions are; a lost one costs nothing but affinity."""

    of_swarm: dict[str, str] = field(default_factory=dict)
    of_session: dict[str, str] = field(default_factory=dict)
    last: dict[str, str] = field(default_factory=dict)
    """The place that was the next in turn last, by `Demand.turn`."""

    def placed(self, demand: Demand, chosen: Placed) -> None:
        """Remembers a choice; a swarm stays with the place of its latest."""
        place = chosen.place
        if chosen.why == "round-robin":
            self.last[chosen.turn] = place
        if demand.swarm is not None:
            self.of_swarm[demand.swarm] = place
        if demand.session is not None:
            self.of_session[demand.session] = place


def choose(
    places: Iterable[Place], demand: Demand, turns: Turns, policy: Policy = "least-loaded"
) -> Placed | Unplaced:
    """Changes nothing: whoever follows the choice says so with `turns.placed`."""
    every = list(places)
    fitting = [place for place in every if misfit(place, demand) is None]
    if not fitting:
        return Unplaced("unfit", _why_unfit(every, demand))
    open_ = {place.id: place for place in fitting if place.has_room}
    if not open_:
        return Unplaced("saturated", _why_saturated(fitting))
    if (home := _home(turns.of_session, demand.session)) in open_:
        return Placed(home, "session")
    if (home := _home(turns.of_swarm, demand.swarm)) in open_:
        return Placed(home, "swarm")
    if policy == "round-robin":
        ids, last = sorted(open_), turns.last.get(demand.turn, "")
        return Placed(next((each for each in ids if each > last), ids[0]), "round-robin", demand.turn)
    return Placed(min(open_.values(), key=lambda place: (place.share, place.id)).id, "least-loaded")


def demand(terms: Terms, swarm: str, session: str | None, turn: str = "") -> Demand:
    """Of a swarm's task. In turn, the swarm has no home: whoever asks for that wants its agents apart."""
    return Demand(
        capabilities=frozenset(terms.capabilities),
        region=terms.region,
        version_min=parsed(terms.version or ""),
        swarm=swarm if terms.policy == "least-loaded" else None,
        session=session,
        turn=turn,
    )


def misfit(place: Place, demand: Demand) -> str | None:
    """Why this place cannot take this work however idle it were; None where it can."""
    if place.health != "alive":
        return place.health
    if place.draining:
        return "draining"
    if missing := demand.capabilities - place.capabilities:
        return f"without {', '.join(sorted(missing))}"
    if demand.region is not None and place.region != demand.region:
        return f"in region {place.region or 'unnamed'}"
    if place.version < demand.version_min:
        return f"of version {dotted(place.version)}"
    return None


def health_after(failures: int) -> Health:
    """What so many probes in a row without an answer mean."""
    if failures == 0:
        return "alive"
    return "dead" if failures >= FAILURES_MAX else "unknown"


def dotted(version: tuple[int, ...]) -> str:
    """`2026.9.6`."""
    return ".".join(map(str, version)) or "unknown"


def parsed(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with; () where there is none: `v2026.9.6-beta` is (2026, 9, 6)."""
    numbers: list[int] = []
    for part in version.strip().removeprefix("v").split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)


def _home(places: Mapping[str, str], whose: str | None) -> str:
    return "" if whose is None else places.get(whose, "")


def _why_unfit(places: list[Place], demand: Demand) -> str:
    if not places:
        return "there is none"
    whys = [f"{place.id} is {misfit(place, demand)}" for place in places[:3]]
    more = f", and {len(places) - 3} more" if len(places) > 3 else ""
    return f"{'; '.join(whys)}{more}"


def _why_saturated(places: list[Place]) -> str:
    load, capacity = sum(place.load for place in places), sum(place.capacity for place in places)
    said = f"{load} of {capacity} runs in use"
    if all(place.pressure >= 1 for place in places):
        return said
    return f"{said}, and above {PRESSURE:.0%} none takes more"
