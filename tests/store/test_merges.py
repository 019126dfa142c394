"""Table `merge`."""

import pytest

from dashd.domain import repository
from dashd.domain.repository import Terms
from dashd.store import merges
from dashd.wire import errors
from tests.fakes.scene import SWARM

SEAT = f"{SWARM}-001"


@pytest.fixture
def enqueue(scene):
    scene.swarm("x", repo=repository.to_json(Terms("/my repo", "base")))

    def enqueue(commit="c1", owner=SEAT, target="dash/t"):
        return scene.do(
            lambda tx: merges.enqueue(
                tx, swarm=SWARM, owner=owner, target=target, commit=commit, gates=[["make"]], asked_by="me"
            )
        )

    return enqueue


def test_first_in_first_out_and_a_running_one_before_all(scene, enqueue):
    first, second = enqueue(), enqueue("c2")
    assert (first.id, second.id) == ("m1", "m2")
    assert merges.next_open(scene.db) == first
    scene.do(lambda tx: merges.set_running(tx, first, "b"))
    assert merges.next_open(scene.db).id == "m1"
    assert merges.ahead(scene.db, second) == 1
    scene.do(lambda tx: merges.ended(tx, first, "merged", result="r"))
    assert merges.next_open(scene.db) == second
    assert merges.ahead(scene.db, merges.get(scene.db, "m1")) == 0
    merged = scene.events()[-1]
    assert merged["data"] == {"merge": "m1", "target": "dash/t", "commit": "c1", "result": "r", "before": "b"}
    assert (merged["kind"], merged["agent"]) == ("merge.merged", SEAT)


def test_merges_into_other_targets_are_not_before_it(scene, enqueue):
    enqueue(target="dash/other")
    assert merges.ahead(scene.db, enqueue()) == 0
    assert merges.ahead(scene.db, enqueue("c2")) == 1


def test_where_a_target_is_about_to_be_is_forgotten_when_it_begins_again(scene, enqueue):
    row = enqueue()
    scene.do(lambda tx: merges.set_intended(tx, row, "r"))
    assert merges.get(scene.db, "m1").result is None, "it does not run"
    scene.do(lambda tx: merges.set_running(tx, row, "b"))
    scene.do(lambda tx: merges.set_intended(tx, row, "r"))
    assert merges.get(scene.db, "m1").result == "r"
    scene.do(lambda tx: merges.set_running(tx, row, "c"))
    assert merges.get(scene.db, "m1").result is None


def test_a_conflict_names_its_files_and_is_escalated(scene, enqueue):
    row = enqueue(owner=SWARM)
    files = [f"f{n}" for n in range(merges.PATHS_MAX + 5)]
    scene.do(lambda tx: merges.ended(tx, row, "conflict", problem="both", paths=files))
    conflict, told = scene.events()[-2:]
    assert (conflict["kind"], told["kind"]) == ("merge.conflict", "escalation.raised")
    assert len(conflict["data"]["files"]) == merges.PATHS_MAX
    assert (
        f"by hand: after swarm.land {SWARM}, git -C '/my repo' merge dash/{SWARM}/{SWARM}"
        in (told["data"]["suggestion"])
    )
    assert (
        "swarm.create with repo /my repo and base dash/t, its task to merge c1" in told["data"]["suggestion"]
    )
    assert "agent" not in told
    assert merges.way_on(scene.db, merges.get(scene.db, row.id)) == told["data"]["suggestion"]
    assert merges.way_on(scene.db, enqueue("c9")) == ""


def test_what_is_merged_or_will_be_is_known(scene, enqueue):
    row = enqueue()
    assert merges.known(scene.db, SEAT, "dash/t", "c1") == row
    assert merges.known(scene.db, SEAT, "dash/t", "c2") is None
    scene.do(lambda tx: merges.ended(tx, row, "failed", problem="no"))
    assert merges.known(scene.db, SEAT, "dash/t", "c1") is None


def test_a_rebase_is_the_users_work_and_in_the_queue_once(scene, enqueue):
    def rebase(commit="u1"):
        return scene.do(
            lambda tx: merges.enqueue_rebase(
                tx, swarm=SWARM, target="dash/t", onto="a/b", commit=commit, asked_by="me"
            )
        )

    row = rebase()
    assert (row.owner, row.onto, row.agent, row.gates) == ("refs/heads/a/b", "a/b", None, "[]")
    assert (enqueue().onto, enqueue().agent) == ("", SEAT)
    assert rebase() == row
    assert rebase("u2") != row
    scene.do(lambda tx: merges.ended(tx, row, "conflict", problem="both", paths=["f"]))
    told = scene.events()[-1]
    assert "and base a/b, its task to merge" in told["data"]["suggestion"]
    assert "agent" not in told
    assert rebase() != row


def test_pages_cancels_and_what_is_none(scene, enqueue):
    rows = [enqueue(f"c{n}") for n in range(3)]
    scene.do(lambda tx: merges.want_cancelled(tx, rows[1]))
    assert merges.get(scene.db, "m2").cancel == 1
    assert [row.id for row in merges.page(scene.db, 3, SWARM, '["queued"]', 5)] == ["m2", "m1"]
    assert merges.page(scene.db, 9, "other", "[]", 5) == []
    for name in ("m9", "x", "", "m²"):
        with pytest.raises(errors.NotFound, match="there is no merge"):
            merges.get(scene.db, name)
