"""Table `swarm`."""

import pytest

from dashd.store import swarms
from dashd.wire import errors
from tests.fakes.scene import SWARM, swarm_row


def test_a_swarm_comes_back_as_it_was_put_in(scene) -> None:
    scene.do(lambda tx: swarms.insert(tx, swarm_row(argv='["a","{item}"]')))
    assert scene.row() == swarm_row(argv='["a","{item}"]')
    assert swarms.argv(scene.row()) == ("a", "{item}")
    assert swarms.find(scene.db, "zzzzzz") is None


def test_an_unknown_swarm_is_refused_with_the_open_ones(scene) -> None:
    with pytest.raises(errors.UnknownSwarm) as caught:
        swarms.get(scene.db, "zzzzzz")
    assert caught.value.hint == "no swarm is open; swarm.list shows ended ones"
    scene.swarm("a")
    scene.do(lambda tx: swarms.insert(tx, swarm_row("bbbbbb", state="completed")))
    with pytest.raises(errors.UnknownSwarm, match="'zzzzzz'") as caught:
        swarms.get(scene.db, "zzzzzz")
    assert (caught.value.hint, caught.value.path) == (f"open swarms: {SWARM}", "swarm")


def test_an_ended_state_gets_its_instant_and_its_outcome(scene, clock) -> None:
    scene.swarm("a")
    clock.advance(5)
    scene.do(lambda tx: swarms.set_state(tx, scene.row(), "paused"))
    assert scene.row().ended_at_ms is None
    scene.do(lambda tx: swarms.set_state(tx, scene.row(), "completed", outcome="partial"))
    assert (scene.row().state, scene.row().outcome, scene.row().ended_at_ms) == (
        "completed",
        "partial",
        clock.now_ms(),
    )
    with pytest.raises(errors.IllegalTransition):
        scene.do(lambda tx: swarms.set_state(tx, scene.row(), "active"))


def test_numbers_are_given_once(scene) -> None:
    scene.swarm("a", "b", agents_made=1)
    assert scene.do(lambda tx: swarms.take_numbers(tx, SWARM, agents=2, tasks=3)) == (2, 3)
    assert scene.do(lambda tx: swarms.take_numbers(tx, SWARM, tasks=1)) == (4, 6)


def test_wishes_are_kept(scene) -> None:
    scene.swarm("a")
    scene.do(lambda tx: swarms.want_destroyed(tx, SWARM))
    scene.do(lambda tx: swarms.set_agents_max(tx, SWARM, 7))
    assert (scene.row().wanted, scene.row().agents_max) == ("destroy", 7)


def test_pages_go_from_new_to_old_and_meet_each_swarm_once(scene, clock) -> None:
    for letter in "abcde":
        scene.swarm("x", swarm_id=letter * 6)
        clock.advance(0 if letter == "b" else 10)  # b and c are of the same instant
    seen, before = [], (2**62, "")
    while True:
        page, total = swarms.page(scene.db, "[]", before, 2)
        assert total == 5
        if not page:
            break
        seen += [row.id[0] for row in page]
        before = (page[-1].created_at_ms, page[-1].id)
    assert seen == ["e", "d", "c", "b", "a"]


def test_a_page_of_some_states(scene) -> None:
    scene.swarm("x", swarm_id="aaaaaa")
    scene.swarm("x", swarm_id="bbbbbb", state="paused")
    page, total = swarms.page(scene.db, '["paused","failed"]', (2**62, ""), 9)
    assert ([row.id for row in page], total) == (["bbbbbb"], 1)
    assert swarms.counts(scene.db) == {"active": 1, "paused": 1}


def test_places_are_told_once_with_all_their_swarms_and_a_page_may_be_of_some(scene) -> None:
    for letter, cwd in ("a", "/one"), ("b", "/two"), ("c", "/one"):
        scene.swarm("x", swarm_id=letter * 6, cwd=cwd)
    assert {place.cwd: sorted(ids) for place, ids in swarms.places(scene.db)} == {
        "/one": ["aaaaaa", "cccccc"],
        "/two": ["bbbbbb"],
    }
    page, total = swarms.page(scene.db, "[]", (2**62, ""), 9, '["aaaaaa","cccccc"]')
    assert (sorted(row.id for row in page), total) == (["aaaaaa", "cccccc"], 2)
    assert swarms.page(scene.db, "[]", (2**62, ""), 9, "[]") == ([], 0)
