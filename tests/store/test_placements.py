"""Among which places a swarm's agents are placed."""

import msgspec
import pytest

from dashd.domain.placement import Terms
from dashd.store import added_gateways, instances, placements, swarms
from dashd.store.added_gateways import AddedGatewayRow
from dashd.store.instances import InstanceRow
from dashd.store.registry import Look

TERMS = Terms(region="eu")


@pytest.fixture
def looks(scene):
    gateway = AddedGatewayRow("desk", "ws://127.0.0.1:1", "file", None, "[]", None, 4, 0)
    pi = InstanceRow("next", "static", "/p/cli.js", "[]", None, 4)
    gateway = scene.do(lambda tx: added_gateways.put(tx, gateway))
    pi = scene.do(lambda tx: instances.put(tx, pi))
    return {row.name: Look(row.added_at_ms, "alive", None) for row in (gateway, pi)}


@pytest.mark.parametrize(
    ("driver", "terms", "found"),
    [
        ("pi", None, ["next"]),
        ("pi", TERMS, ["next"]),
        ("openclaw", TERMS, ["desk"]),
        ("openclaw", None, None),
        ("command", None, None),
    ],
)
def test_each_driver_has_places_of_its_own_kind(scene, looks, driver, terms, found) -> None:
    stored = msgspec.json.encode(terms).decode() if terms else ""
    swarm = swarms.get(scene.db, scene.swarm(driver=driver, placement=stored))
    noun = placements.noun(swarm)
    places = placements.places(scene.db, noun, looks) if noun else None
    assert found == (None if places is None else [place.id for place in places])
    assert {place.health for place in places or ()} <= {"alive"}
    assert swarms.terms(swarm) == (terms or Terms())
    chosen = placements.next_of(scene.db, swarm, looks)
    assert (chosen is None) == (found is None)


def test_a_new_swarm_is_told_where_none_fits(scene, looks) -> None:
    found = placements.choose(scene.db, "instance", looks, Terms(capabilities=("gpu",)))
    assert (found.kind, found.reason) == ("unfit", "next is without gpu")
    assert placements.choose(scene.db, "gateway", looks, Terms()).place == "desk"
