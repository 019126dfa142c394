"""Table `workspace`: letters of its machine, what its swarm's end means, what falls due."""

import pytest

from dashd.domain import repository
from dashd.domain.repository import Terms
from dashd.store import workspaces
from dashd.store.workspaces import Changed
from dashd.wire import errors
from tests.fakes.scene import SWARM

SEAT = f"{SWARM}-001"
REPO = repository.to_json(Terms("/repo", "base"))


def begin(scene, owner=SEAT):
    return scene.do(lambda tx: workspaces.begin(tx, owner, SWARM, "base"))


def ready(scene, owner=SEAT):
    begin(scene, owner)
    scene.do(lambda tx: workspaces.set_ready(tx, owner, place="{}", path="/ws", branch="refs/heads/dash/a/b"))


def test_it_is_made_once_and_told_once(scene):
    scene.swarm("x", repo=REPO)
    assert begin(scene).state == "creating"
    ready(scene)
    ready(scene)
    assert begin(scene).state == "ready"
    told = [event for event in scene.events() if event["kind"] == "worktree.created"]
    assert [each["data"] for each in told] == [{"path": "/ws", "branch": "dash/a/b", "base": "base"}]
    assert told[0]["agent"] == SEAT


def test_after_a_removal_work_goes_on_from_what_came_back(scene):
    scene.swarm("x", repo=REPO)
    ready(scene)
    scene.do(lambda tx: workspaces.set_imported(tx, SEAT, "c1", []))
    scene.do(lambda tx: workspaces.set_removed(tx, SEAT))
    scene.do(lambda tx: workspaces.set_removed(tx, SEAT))
    assert scene.kinds().count("worktree.removed") == 1
    again = begin(scene)
    assert (again.state, again.base, again.removed_at_ms) == ("creating", "c1", None)


def test_what_came_back_is_bounded_and_flagged_files_come_first(scene):
    scene.swarm("x", repo=REPO)
    ready(scene)
    many = [Changed(f"f{n}", "added") for n in range(workspaces.CHANGED_MAX + 5)]
    many[3] = Changed("Makefile", "modified", ("build script",))
    scene.do(lambda tx: workspaces.set_imported(tx, SEAT, "c1", many))
    row = workspaces.get(scene.db, SEAT)
    assert row.changed_more == 5
    assert workspaces.changed_of(row)[0] == many[3]


@pytest.mark.parametrize(
    ("cleanup", "ending", "due"),
    [
        ("on-success", "succeeded", True),
        ("on-success", "failed", False),
        ("immediate", "failed", True),
        ("manual", "succeeded", False),
    ],
)
def test_a_swarms_end(scene, cleanup, ending, due):
    terms = Terms("/repo", "base", cleanup=cleanup)
    scene.swarm("x", repo=repository.to_json(terms), retries=0)
    (claim,) = scene.claim()
    ready(scene)
    scene.start(claim)
    scene.end(claim, ending)
    assert (scene.do(workspaces.next_wanted) is not None) is due


def test_with_a_shared_one_all_tasks_must_have_completed(scene):
    terms = Terms("/repo", "base", workspace="swarm")
    scene.swarm("x", "y", repo=repository.to_json(terms), retries=0, agents_made=1)
    ready(scene, SWARM)
    scene.run("succeeded", "failed")
    assert scene.row().outcome == "partial"
    assert scene.do(workspaces.next_wanted) is None


def test_delayed_falls_due_by_the_clock(scene, clock):
    terms = Terms("/repo", "base", cleanup="delayed", cleanup_after_s=60.0)
    scene.swarm("x", repo=repository.to_json(terms))
    ready(scene)
    scene.run("succeeded")
    assert workspaces.next_due_ms(scene.db) == clock.now_ms() + 60_000
    assert scene.do(workspaces.next_wanted) is None
    clock.at_ms += 60_000
    found = scene.do(workspaces.next_wanted)
    assert (found.owner, found.wanted) == (SEAT, "remove")
    assert workspaces.next_due_ms(scene.db) is None


def test_what_stays_says_why_and_is_not_asked_for_again(scene):
    scene.swarm("x", repo=REPO)
    ready(scene)
    scene.do(lambda tx: workspaces.want(tx, workspaces.get(tx.db, SEAT), "remove", "asked for"))
    scene.do(lambda tx: workspaces.set_state(tx, SEAT, "saving"))
    scene.do(lambda tx: workspaces.set_kept(tx, SEAT, "2 entries are not saved"))
    row = workspaces.get(scene.db, SEAT)
    assert (row.state, row.wanted, row.problem) == ("ready", "", "2 entries are not saved")
    assert scene.do(workspaces.next_wanted) is None
    assert workspaces.kept_count(scene.db, SWARM) == 1


def test_the_same_salvage_is_told_once(scene):
    scene.swarm("x", repo=REPO)
    ready(scene)
    for _ in range(2):
        scene.do(lambda tx: workspaces.set_saved(tx, SEAT, "c9", {"files": 1}))
    assert scene.kinds().count("worktree.salvaged") == 1


def test_pages_and_unknown_ones(scene):
    scene.swarm("x", repo=REPO, agents_made=3)
    for number in (1, 2, 3):
        ready(scene, f"{SWARM}-00{number}")
    found, after = workspaces.page(scene.db, SWARM, "[]", 0, 2)
    assert [row.owner for row in found] == [f"{SWARM}-001", f"{SWARM}-002"]
    assert [row.owner for row in workspaces.page(scene.db, "", '["ready"]', after, 2)[0]] == [f"{SWARM}-003"]
    with pytest.raises(errors.NotFound, match="nobody has no workspace"):
        workspaces.get(scene.db, "nobody")


def test_idle_again(scene):
    scene.swarm("x", repo=REPO)
    ready(scene)
    scene.do(lambda tx: workspaces.want(tx, workspaces.get(tx.db, SEAT), "save", "asked for"))
    scene.do(lambda tx: workspaces.set_idle(tx, SEAT))
    assert workspaces.get(scene.db, SEAT).wanted == ""
