"""Tables `approval` and `approval_vote`."""

import pytest

from dashd.domain.gates import Gate
from dashd.store import approvals, decisions
from dashd.wire import errors

GATE = Gate("g", "tool", "", 0, "ask", "operator", False, 60.0, "deny")


def request(scene, **given):
    question = decisions.Question(kind="tool", what="run it", asked_by="aaaaaa-001", **given)
    return scene.do(lambda tx: decisions.request(tx, GATE, question))


def test_ids_are_numbers_that_grow(scene):
    assert [request(scene).id for _ in range(3)] == ["ap1", "ap2", "ap3"]
    assert approvals.get(scene.db, "ap2").number == 2


@pytest.mark.parametrize("approval_id", ["ap9", "", "ap", "ap-1", "x", "ap" + "9" * 40, "ap²"])
def test_what_is_no_approval(scene, approval_id):
    request(scene)
    with pytest.raises(errors.NotFound, match=r"there is no approval") as caught:
        approvals.get(scene.db, approval_id)
    assert "approval.list" in caught.value.hint


def test_a_yes_said_twice_is_one(scene):
    row = request(scene)
    assert scene.do(lambda tx: approvals.vote(tx, row, "a")) == ["a"]
    assert scene.do(lambda tx: approvals.vote(tx, row, "a")) == ["a"]
    assert scene.do(lambda tx: approvals.vote(tx, row, "b")) == ["a", "b"]


def test_what_is_closed_is_not_closed_again(scene):
    row = request(scene)
    scene.do(lambda tx: approvals.close(tx, row, "allowed", "me", "fine"))
    with pytest.raises(AssertionError, match="is open, not open"):
        scene.do(lambda tx: approvals.close(tx, row, "denied", "me", "no"))
    assert approvals.get(scene.db, row.id).state == "allowed"


def test_pages_and_deadlines(scene, clock):
    rows = [request(scene, swarm="s"), request(scene), request(scene)]
    assert approvals.next_due_ms(scene.db) == clock.now_ms() + 60_000
    assert approvals.due(scene.db, clock.now_ms() + 59_999) == []
    assert len(approvals.due(scene.db, clock.now_ms() + 60_000)) == 3
    scene.do(lambda tx: approvals.close(tx, rows[2], "denied", "me", ""))
    assert [each.id for each in approvals.page(scene.db, 99, "open", "", 10)] == ["ap2", "ap1"]
    assert [each.id for each in approvals.page(scene.db, 99, "", "", 2)] == ["ap3", "ap2"]
    assert [each.id for each in approvals.page(scene.db, 2, "", "s", 10)] == ["ap1"]


def test_what_ends_needs_no_yes_any_more(scene):
    scene.swarm("a")
    (claim,) = scene.claim()
    scene.start(claim)
    held = request(scene, swarm=claim.swarm_id, agent=claim.agent_id)
    other = request(scene, swarm=claim.swarm_id)
    elsewhere = request(scene, swarm="bbbbbb")
    scene.end(claim)
    states = {each.id: (approvals.get(scene.db, each.id).state) for each in (held, other, elsewhere)}
    assert states == {"ap1": "withdrawn", "ap2": "withdrawn", "ap3": "open"}
    assert scene.kinds().count("approval.resolved") == 2
