"""Plans: what goes to bubblewrap, what to the stage, and what each grade lacks."""

import json

import pytest

from dashd.jail import launch, view
from dashd.jail.view import Folder

B = launch.Walls("B", "/usr/bin/bwrap", 7)
C = launch.Walls("C", "", 7)


SEEN = view.View("/w", (Folder("/w"),), (Folder("/r"),))
OUTSIDE = launch.Outside(("/secret",))


def plan(walls=B, seen=SEEN, **options):
    return launch.plan(walls, seen, python="/usr/bin/python3", outside=OUTSIDE, **options)


def test_a_plan_is_json():
    assert json.loads(json.dumps(plan()))["policy"]["selftest"]["files"] == ["/secret"]


def test_folders_around_others_come_first_and_writing_wins():
    seen = view.View("/w", (Folder("/w/src"), Folder("/b")), (Folder("/w"), Folder("/b"), Folder("/a")))
    binds = [(at, writable) for at, _, _, writable in plan(seen=seen)["binds"]]
    assert binds == [("/a", False), ("/b", True), ("/w", False), ("/w/src", True)]


def test_grade_c_has_no_bubblewrap_no_listener_and_one_port():
    planned = plan(C, port=4711, scratch="/s")
    assert planned["bwrap"] is None
    assert planned["policy"]["listener"] is None
    assert planned["policy"]["landlock"]["ports"] == [(4711, 2)]
    assert "NPROC" not in planned["policy"]["limits"]
    assert not planned["policy"]["selftest"]["isolated"]


def test_every_layer_that_can_be_left_out_makes_a_difference():
    whole = plan() | {"policy": plan()["policy"] | {"selftest": None}}
    for layer in launch.LAYERS:
        assert plan(without=frozenset({layer})) != whole, layer


def test_a_layer_that_is_none_is_a_mistake_of_ours():
    with pytest.raises(AssertionError):
        plan(without=frozenset({"wall"}))


@pytest.mark.parametrize("grade", ["A", "B", "C", "0"])
def test_every_bound_has_an_enforcer_that_is_named(grade):
    held = launch.enforcers(grade, view.Bounds())
    assert all(by for _, by in held.values())
    assert {what for what, (bound, _) in held.items() if not bound} == {"wall_time", "output"}, (
        "told by others"
    )
    assert ("cpu" in held) == (grade == "A"), "it is not bounded"
    bound, by = launch.enforcers(grade, view.Bounds(cpu_s=7))["cpu"]
    assert bound.startswith("7 s of each process")
    assert by.startswith("rlimit")
    assert held["files"] == ("655360 more", "watchdog")
    assert held["tmp_files"] == ("131072" + (" in each" if grade in "AB" else ""), "watchdog")


@pytest.mark.parametrize(("grade", "kept"), [("B", 546), ("C", None)])
def test_the_kernel_keeps_processes_a_little_above_the_bound_or_far_above(grade, kept, tmp_path) -> None:
    seen = view.View(str(tmp_path), (view.Folder(str(tmp_path)),))
    walls = launch.Walls(grade, "/usr/bin/bwrap", 7)
    policy = launch.plan(walls, seen, python="p", outside=launch.Outside(), scratch="/s")["policy"]
    assert policy["limits"].get("NPROC") == kept
    assert policy["processes_more"] == (None if kept else 8 * 512)
