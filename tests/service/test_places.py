"""What gateways and instances have in common; draining is tried in the files of both."""

import pytest

from dashd.service import places
from dashd.store import added_gateways, instances
from dashd.store.added_gateways import AddedGatewayRow
from dashd.store.instances import InstanceRow
from dashd.wire import errors


@pytest.fixture
def both(scene):
    desk = AddedGatewayRow("desk", "ws://127.0.0.1:1", "file", None, "[]", None, 4, 0)
    scene.do(lambda tx: added_gateways.put(tx, desk))
    scene.do(lambda tx: instances.put(tx, InstanceRow("next", "static", "/p/cli.js", "[]", None, 4)))


@pytest.mark.parametrize(
    ("noun", "name", "free"),
    [
        ("gateway", "next", False),
        ("gateway", "local", False),
        ("gateway", "local-7", False),
        ("gateway", "desk", True),
        ("instance", "desk", False),
        ("instance", "next", True),
    ],
)
def test_a_name_says_of_which_kind_it_is(scene, both, noun, name, free) -> None:
    if free:
        return places.refuse_taken(scene.db, noun, name)
    with pytest.raises(errors.Conflict) as refused:
        places.refuse_taken(scene.db, noun, name)
    assert refused.value.path == "name"
    return None


def test_whatever_works_there_is_named_up_to_three(scene) -> None:
    scene.swarm(*"abcde", agents_made=5)
    places.refuse_busy(scene.db, "instance", "next", "removed")
    for claim in scene.claim():
        scene.do(
            lambda tx, claim=claim: tx.execute(
                "UPDATE launch SET place = 'next' WHERE id = ?", (claim.attempt_id,)
            )
        )
    with pytest.raises(errors.Conflict, match="aaaaaa-003 and 2 more work in it") as refused:
        places.refuse_busy(scene.db, "instance", "next", "removed")
    assert "dashctl instance drain next --wait" in refused.value.hint


@pytest.mark.parametrize(("known", "hint"), [([], "instance add"), (["a", "b"], "instances: a, b")])
def test_an_unknown_name_is_told_the_known_ones(known, hint) -> None:
    found = places.unknown("instance", "x", known)
    assert hint in found.hint
    assert "no instance 'x'" in found.message
