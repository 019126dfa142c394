"""Rows of instances: what is told of them, and told once; what waits for one."""

import msgspec
import pytest

from dashd.store import agents, instances, seats, session_moves, sessions, tasks
from dashd.store.instances import InstanceRow
from tests.fakes.scene import SWARM

ID = f"{SWARM}-t1.1"
NEXT = InstanceRow("next", "static", "/p/cli.js", "[]", None, 4)


def put(scene, row=NEXT):
    return scene.do(lambda tx: instances.put(tx, row))


def told(scene):
    return [(each["kind"], each["data"]) for each in scene.events() if each["kind"].startswith("system.")]


def test_up_and_down_are_told_once_and_a_new_version_is_news(scene) -> None:
    row = put(scene)
    for stamp, version in (("s1", "1.5"), ("s1", "1.5"), ("s2", "1.5"), ("s3", "1.6")):
        scene.do(lambda tx, stamp=stamp, version=version: instances.set_up(tx, row, stamp, version))
    for _ in range(2):
        scene.do(lambda tx: instances.set_down(tx, row, "it is not there"))
    scene.do(lambda tx: instances.set_up(tx, row, "s3", "1.6"))
    up = {"instance": "next", "health": "alive", "version": "1.5"}
    assert told(scene) == [
        ("system.config", up),
        ("system.config", up | {"version": "1.6"}),
        ("system.alert", {"instance": "next", "health": "dead", "reason": "it is not there"}),
        ("system.config", up | {"version": "1.6"}),
    ]
    assert instances.find(scene.db, "next").stamp == "s3"


def test_of_this_machine_s_own_what_becomes_of_a_pi_is_told_and_not_that_there_was_never_one(scene) -> None:
    row = put(scene, instances.own("local", 4))
    scene.do(lambda tx: instances.set_down(tx, row, "pi is neither installed nor configured"))
    assert (told(scene), instances.find(scene.db, "local").told) == ([], "down")
    scene.do(lambda tx: instances.set_up(tx, row, "s", None))
    scene.do(lambda tx: instances.set_up(tx, row, "s", "1.5"))
    scene.do(lambda tx: instances.set_down(tx, row, "it is gone"))
    assert told(scene) == [
        ("system.config", {"instance": "local", "health": "alive", "version": None}),
        ("system.alert", {"instance": "local", "health": "dead", "reason": "it is gone"}),
    ]


def test_what_became_of_a_former_one_of_the_name_is_not_told(scene) -> None:
    former = put(scene)
    put(scene)
    scene.do(lambda tx: instances.set_up(tx, former, "s", "1"))
    scene.do(lambda tx: instances.set_down(tx, former, "gone"))
    assert told(scene) == []


def test_draining_and_its_end_are_told_and_wake_the_queue(scene) -> None:
    put(scene)
    done = [scene.do(lambda tx, on=on: instances.drain(tx, "next", on=on)) for on in (True, True, False)]
    assert done == [True, False, True]
    assert [data for _, data in told(scene)] == [
        {"instance": "next", "draining": True},
        {"instance": "next", "draining": False},
    ]
    rings = scene.do(lambda tx: instances.drain(tx, "next", on=True) and set(tx.rings))
    assert rings == {"queue", "instances"}


def test_what_dash_finds_is_the_version_of_all_its_own(scene) -> None:
    put(scene)
    for number in (1, 2):
        put(scene, instances.own(f"local-{number}", 2))
    scene.do(lambda tx: instances.set_version(tx, "s", "1.5"))
    assert {row.name: row.version for row in instances.every(scene.db)} == {
        "local-1": "1.5",
        "local-2": "1.5",
        "next": None,
    }
    assert [row.name for row in instances.seats(scene.db)] == ["local-1", "local-2"]


def test_capacity_changes_with_the_settings(scene) -> None:
    row = put(scene, instances.own("local", 2))
    scene.do(lambda tx: instances.resize(tx, row, 3))
    assert instances.find(scene.db, "local") == msgspec.structs.replace(row, capacity=3)


@pytest.fixture
def idle(scene):
    """A swarm of Pis, one that works, and one that is idle."""
    scene.swarm("a", driver="pi", agents_made=2)
    (claim,) = scene.claim()
    scene.start(claim)
    scene.do(lambda tx: sessions.opened(tx, ID, scene.attempt(claim), SWARM, "pi"))
    return next(f"{SWARM}-{number:03d}" for number in (1, 2) if f"{SWARM}-{number:03d}" != claim.agent_id)


def _adds(scene, pinned_to):
    row = tasks.new(scene.row(), 9, "", at_ms=0, text="t", pinned_to=pinned_to)
    scene.do(lambda tx: tasks.insert(tx, row))
    return row.id


def _agree(scene, waiting):
    """What waits for a place is what would be claimed, had it one."""
    assert instances.waiting(scene.db, 100) == waiting
    assert [claim.task_id for claim in scene.claim()] == waiting


def test_what_nobody_may_take_now_waits_for_no_place(scene, idle) -> None:
    _agree(scene, [])
    scene.do(lambda tx: seats.add(tx, SWARM, 1))
    scene.do(lambda tx: agents.set_wanted(tx, f"{SWARM}-003", "pause"))
    pinned = _adds(scene, f"{SWARM}-003")
    _agree(scene, [])
    scene.do(lambda tx: agents.set_wanted(tx, f"{SWARM}-003", "run"))
    _agree(scene, [pinned])


def test_what_goes_on_with_a_session_waits_for_no_place_until_that_is_copied(scene, idle) -> None:
    task = _adds(scene, idle)
    scene.do(lambda tx: session_moves.begin(tx, ID, task, copied=False))
    _agree(scene, [])
    scene.do(lambda tx: tx.execute("UPDATE session_move SET copied = 1"))
    _agree(scene, [task])


def test_one_more_place_like_dead_ones_would_help_nobody(scene) -> None:
    scene.swarm("a", driver="pi", agents_made=1)
    row = put(scene, instances.own("local-1", 1))
    assert len(instances.waiting(scene.db, 100, [row])) == 1
    scene.do(lambda tx: instances.set_down(tx, row, "it is gone"))
    assert instances.waiting(scene.db, 100, instances.seats(scene.db)) == []


def test_other_programs_wait_for_other_places(scene, idle) -> None:
    scene.swarm("b", swarm_id="other1", agents_made=1)
    assert instances.waiting(scene.db, 100) == []
    task = _adds(scene, None)
    assert instances.waiting(scene.db, 100) == [task]
    assert instances.waiting(scene.db, 1) == [], "dashd has no slot for it"
