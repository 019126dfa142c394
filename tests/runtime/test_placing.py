"""Places are chosen in the claim's transaction, by what was known before it and by the rows as they are."""

import msgspec
import pytest

from dashd.domain.placement import Terms
from dashd.runtime import placing as module
from dashd.runtime.placing import Placing, Round
from dashd.store import added_gateways, attempts, queue
from dashd.store.added_gateways import AddedGatewayRow, Look
from dashd.store.queue import Claim
from tests.fakes.scene import SWARM

PLACED = msgspec.json.encode(Terms()).decode()
IN_TURN = msgspec.json.encode(Terms(policy="round-robin")).decode()


class Places:
    """Gateways in the rows, and what was last seen of them."""

    def __init__(self, scene) -> None:
        self.scene = scene
        self.looks: dict[str, Look] = {}
        self.placing = Placing({}, lambda: self.looks)

    def add(self, name: str, capacity: int = 10, *, health: str = "alive", **row: object) -> None:
        made = AddedGatewayRow(name, "ws://127.0.0.1:1", "file", None, "[]", None, capacity, 0)
        made = msgspec.structs.replace(made, **row)
        added = self.scene.do(lambda tx: added_gateways.put(tx, made))
        self.looks[name] = Look(added.added_at_ms, health, "2026.9.6")  # type: ignore[arg-type]

    def claim(self, agents_max: int = 100) -> list[Claim]:
        seen = self.placing.look()
        claims = self.scene.do(lambda tx: queue.claim(tx, agents_max, Round(seen))).claims
        self.placing.followed(claims)
        return claims

    def where(self, agents_max: int = 100) -> list[str | None]:
        return [claim.place for claim in self.claim(agents_max)]


@pytest.fixture
def places(scene) -> Places:
    return Places(scene)


def test_a_claim_and_its_place_are_one_row_more(places, scene) -> None:
    places.add("g1")
    scene.swarm("a", placement=PLACED)
    (claim,) = places.claim()
    assert claim.place == "g1"
    assert attempts.launch(scene.db, scene.attempt(claim).launch_id).place == "g1"
    assert attempts.open_by_place(scene.db) == {"g1": 1}
    assert scene.events()[-1]["data"] == {"attempt": 1, "place": "g1"}
    scene.end(claim)
    assert attempts.open_by_place(scene.db) == {}


def test_a_swarm_without_terms_is_not_placed(places, scene) -> None:
    places.add("g1")
    scene.swarm("a")
    assert places.where() == [None]


def test_a_swarm_stays_where_it_is_until_that_is_nearly_full(places, scene) -> None:
    places.add("g1", 10)
    places.add("g2", 10)
    scene.swarm(*"abcdefghijklm", agents_made=13, placement=PLACED)
    assert places.where(4) == ["g1"] * 4
    assert places.where() == ["g1"] * 6 + ["g2"] * 3


def test_the_next_swarm_goes_to_the_least_loaded(places, scene) -> None:
    places.add("g1", 10)
    places.add("g2", 20)
    scene.swarm(*"abc", agents_made=3, placement=PLACED)
    places.claim()
    scene.swarm(*"abc", swarm_id="bbbbbb", agents_made=3, placement=PLACED)
    assert places.where() == ["g2"] * 3


def test_in_turn_means_apart(places, scene) -> None:
    for name in ("g1", "g2", "g3"):
        places.add(name)
    scene.swarm(*"abcdefg", agents_made=7, placement=IN_TURN)
    assert places.where(2) == ["g1", "g2"]
    assert places.where() == ["g3", "g1", "g2", "g3", "g1"]


def test_a_lost_run_goes_on_where_its_session_is(places, scene, clock) -> None:
    places.add("g1")
    scene.swarm("a", "b", placement=PLACED)
    (claim,) = places.claim()
    scene.start(claim)
    scene.end(claim, "lost")
    places.add("g2")
    places.placing = Placing({}, lambda: places.looks)  # a new daemon has no swarm's home in mind
    scene.swarm("x", swarm_id="bbbbbb", placement=PLACED, priority=0)
    clock.advance(60_000)
    found = {each.task_id: each.place for each in places.claim()}
    assert found == {"bbbbbb-t1": "g1", f"{SWARM}-t1": "g1"}


@pytest.mark.parametrize("why", ["dead", "unknown", "draining", "another row", "full"])
def test_what_cannot_be_placed_waits_and_holds_up_nobody(places, scene, why) -> None:
    places.add("g1", 1, health=why if why in ("dead", "unknown") else "alive")
    if why == "draining":
        scene.do(lambda tx: added_gateways.drain(tx, "g1", on=True))
    elif why == "another row":
        places.looks["g1"] = Look(-1, "alive", None)
    elif why == "full":
        scene.swarm("x", swarm_id="cccccc", placement=PLACED)
        places.claim()
    scene.swarm("a", "b", agents_made=2, placement=PLACED, priority=0)
    scene.swarm("c", "d", swarm_id="bbbbbb", agents_made=2, priority=3)
    assert [claim.task_id for claim in places.claim()] == ["bbbbbb-t1", "bbbbbb-t2"]
    assert scene.states() == ["ready", "ready"]


def test_homes_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr(module, "HOMES_MAX", 2)
    placing = Placing({}, dict)
    placing.followed([Claim("a", "s", "t", swarm, f"g{swarm}") for swarm in "1231"])
    assert placing.look().homes == {"3": "g3", "1": "g1"}
    assert placing.look().last == "g1"
