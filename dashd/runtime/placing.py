"""Where claimed work goes: what is known of the places, frozen for each round of claiming.

    Placing (trio's thread) ── look ─▶ Seen ─▶ Round (writer's thread, in the claim's transaction) ─▶ claims
       └────────────────────────────── followed, after COMMIT ◀────────────────────────────────────────┘

What the rows know, the round reads itself: capacity, drains, and the load, which is the attempts that have
not ended. Kept in memory is what nobody could know after a start: who answers, and whose turn it is. Places
of one kind are the gateways that were added, for swarms with terms; of another, the instances where Pis run,
for every swarm of that driver.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from dashd.domain import placement
from dashd.domain.placement import Place, Placed, Turns, Unplaced
from dashd.store import attempts, gateways, placements, queue, swarms
from dashd.store.queue import Claim
from dashd.store.registry import Look
from dashd.store.rows import Snapshot, SwarmRow, TaskRow

HOMES_MAX = 1_000
"""Swarms whose place is remembered; the one placed longest ago is forgotten first."""
TURNS_MAX = 1_000
"""Of those who take turns, the same."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known when a round begins."""

    at_once: Mapping[str, int]
    """How many agents of some drivers may run here."""
    looks: Mapping[str, Look]
    homes: Mapping[str, str]
    """Swarm to place."""
    last: Mapping[str, str]
    """Whose turn it was, by `Demand.turn`."""
    up: Collection[str]
    """Swarms whose own gateway is up."""


class Round:
    """`store.queue.Placing` over what was seen; made anew in each transaction, as one may be rolled back.

    Inside it the rows are read once: they change by nothing but the round's own choices, which only add load,
    so that what found no place finds none for the rest of it.
    """

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._turns = Turns(dict(seen.homes), last=dict(seen.last))
        self._places: dict[str, dict[str, Place]] = {}
        """By what they are called, and by name."""
        self._unplaced: dict[tuple[str, str], Unplaced] = {}
        """By that, and by what was asked for."""

    def full(self, db: Snapshot) -> Collection[str]:
        """See the protocol."""
        return queue.full(db, self._seen.at_once)

    def choose(self, db: Snapshot, task: TaskRow, _seat: str, swarm: SwarmRow) -> Placed | Unplaced | None:
        """See the protocol."""
        noun = placements.noun(swarm)
        if not noun:
            return self._without_gateway(swarm)
        if noun not in self._places:
            every = placements.places(db, noun, self._seen.looks)
            self._places[noun] = {place.id: place for place in every}
        asked = noun, swarm.placement
        if (known := self._unplaced.get(asked)) is not None:
            return known
        terms = swarms.terms(swarm)
        if task.attempts + task.lost and (before := attempts.last_place(db, task.id)) is not None:
            self._turns.of_session[task.id] = before
        demand = placement.demand(terms, swarm.id, task.id, " ".join(asked))
        found = self._places[noun]
        chosen = placement.choose(found.values(), demand, self._turns, terms.policy)
        if isinstance(chosen, Placed):
            taken = found[chosen.place]
            found[chosen.place] = replace(taken, load=taken.load + 1)
            self._turns.placed(demand, chosen)
        else:
            self._unplaced[asked] = chosen
        return chosen

    def _without_gateway(self, swarm: SwarmRow) -> Unplaced | None:
        """There is nothing to choose from; but a gateway of the swarm's own must be there first."""
        if swarm.mode != gateways.MODE or swarm.id in self._seen.up:
            return None
        return Unplaced("unfit", "its gateway is not up")


class Placing:
    """What lasts from round to round."""

    def __init__(
        self,
        at_once: Mapping[str, int],
        looks: Callable[[], Mapping[str, Look]],
        up: Callable[[], Collection[str]],
    ) -> None:
        """`at_once` is how many agents of some drivers may run here; `looks` is of gateways and instances
        that were added, and `up` are the swarms whose own gateway is.
        """
        self._at_once = at_once
        self._looks = looks
        self._up = up
        self._homes: dict[str, str] = {}
        self._last: dict[str, str] = {}

    def look(self) -> Seen:
        """What is known now; it does not change any more. No swarm's home is where nothing new may go."""
        looks = dict(self._looks())
        gone = {name for name, look in looks.items() if look.health != "alive"}
        self._homes = {swarm: place for swarm, place in self._homes.items() if place not in gone}
        return Seen(self._at_once, looks, dict(self._homes), dict(self._last), self._up())

    def followed(self, claims: Collection[Claim]) -> None:
        """These were committed."""
        for claim in claims:
            if claim.place is not None:
                _remember(self._homes, claim.swarm_id, claim.place, HOMES_MAX)
                if claim.turn:
                    _remember(self._last, claim.turn, claim.place, TURNS_MAX)


def _remember(places: dict[str, str], whose: str, place: str, most: int) -> None:
    places.pop(whose, None)
    places[whose] = place
    if len(places) > most:
        del places[next(iter(places))]
