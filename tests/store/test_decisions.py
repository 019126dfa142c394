"""Asking, deciding, and what follows, each in one transaction."""

import msgspec
import pytest

from dashd.domain.gates import Gate
from dashd.store import approvals, budgets, decisions, gates, swarms
from dashd.store.decisions import Question

SOON = Gate("soon", "tool", "", 0, "ask", "operator", False, 60.0, "deny")


@pytest.fixture
def put(scene):
    def put(**changes):
        made = {name: getattr(SOON, name) for name in SOON.__slots__} | changes
        scene.do(lambda tx: gates.put(tx, Gate(**made)))

    return put


def asking(scene, by="aaaaaa-001", kind="tool", **given):
    question = Question(kind=kind, what="run bash", asked_by=by, **given)
    return scene.do(lambda tx: decisions.ask(tx, question))


def test_without_a_gate_it_is_allowed_and_leaves_nothing(scene):
    assert asking(scene).verdict == "allow"
    assert scene.kinds() == []


@pytest.mark.parametrize("verdict", ["allow", "deny"])
def test_a_gate_that_decides_by_itself_asks_nobody(scene, put, verdict):
    put(verdict=verdict)
    assert asking(scene) == decisions.Asked(verdict, "soon")
    assert scene.kinds() == []


def test_a_request_is_told_with_what_a_decision_needs(scene, put, clock):
    put(who="orchestrator")
    asked = asking(scene, swarm="s", agent="a", context={"file": "x"})
    assert (asked.verdict, asked.approval.id) == ("wait", "ap1")
    (event,) = scene.events()
    assert (event["kind"], event["swarm"], event["agent"]) == ("approval.requested", "s", "a")
    data = event["data"]
    assert (data["approval"], data["what"], data["context"]) == ("ap1", "run bash", {"file": "x"})
    assert data["suggestion"].startswith("approval.resolve {approvals: [ap1], decision: allow}")
    put(who="operator")
    asking(scene)
    assert scene.events()[1]["data"]["suggestion"] == (
        "tell the operator: dashctl approval resolve ap2 allow (or deny)"
    )


def test_an_operators_own_act_is_its_own_yes_unless_two_must_agree(scene, put):
    put()
    assert asking(scene, by="operator:uid-0").verdict == "allow"
    put(two_person=True)
    assert asking(scene, by="operator:alice").verdict == "wait"
    put(verdict="deny")
    assert asking(scene, by="operator:uid-0").verdict == "deny"


def test_asked_again_under_the_same_reference_it_is_there_once(scene, put):
    put()
    first = asking(scene, ref="launch-1/3")
    assert asking(scene, ref="launch-1/3").approval == first.approval
    scene.do(lambda tx: decisions.decide(tx, first.approval, "allow", "me", ""))
    assert asking(scene, ref="launch-1/3").verdict == "allow"
    assert asking(scene, ref="launch-1/4").verdict == "wait"
    assert scene.kinds().count("approval.requested") == 2


@pytest.mark.parametrize(("at_deadline", "state"), [("allow", "allowed"), ("deny", "denied")])
def test_what_nobody_decides_is_decided_at_the_deadline(scene, put, clock, at_deadline, state):
    put(at_deadline=at_deadline)
    row = asking(scene).approval
    assert scene.do(decisions.expire) == clock.now_ms() + 60_000
    assert approvals.get(scene.db, row.id).state == "open"
    clock.advance(60_000)
    assert scene.do(decisions.expire) is None
    decided = approvals.get(scene.db, row.id)
    assert (decided.state, decided.decided_by, decided.note) == (state, "deadline", "nobody decided in time")


def creating(scene):
    scene.swarm("a", "b", agents_made=2, state="creating")
    question = Question(
        kind="tool", what="start", asked_by="orchestrator:c", swarm="aaaaaa", act="swarm.start"
    )
    return scene.do(lambda tx: decisions.request(tx, SOON, question))


def test_a_swarm_that_waits_starts_nothing_until_it_is_allowed(scene):
    row = creating(scene)
    assert scene.claim() == []
    scene.do(lambda tx: decisions.decide(tx, row, "allow", "me", ""))
    assert scene.row().state == "active"
    assert len(scene.claim()) == 2


def test_a_swarm_that_is_denied_is_over_with_the_reason(scene):
    row = creating(scene)
    scene.do(lambda tx: decisions.decide(tx, row, "deny", "operator:uid-0", "too dear"))
    assert scene.row().state == "destroyed"
    assert scene.states() == ["cancelled", "cancelled"]
    assert scene.task().cause == "approval ap1 was denied by operator:uid-0: too dear"
    assert scene.seat_states() == ["killed", "killed"]


def test_a_swarm_destroyed_while_it_waits_is_not_brought_back(scene):
    row = creating(scene)

    def destroy(tx):
        from dashd.store import lifecycle, stops, tasks

        swarms.want_destroyed(tx, "aaaaaa")
        for task in tasks.open_tasks(tx.db, "aaaaaa"):
            stops.cancel(tx, task, "its swarm was destroyed")
        lifecycle.settle_swarm(tx, "aaaaaa")

    scene.do(destroy)
    assert approvals.get(scene.db, row.id).state == "withdrawn"
    assert scene.row().state == "destroyed"


@pytest.mark.parametrize(("decision", "limit"), [("allow", 15), ("deny", 10)])
def test_a_budget_is_extended_by_the_decision_itself(scene, decision, limit):
    scene.do(lambda tx: budgets.set_limits(tx, "project", 10, None))
    question = Question(
        kind="money",
        what="extend",
        asked_by="orchestrator:c",
        act="budget.extend",
        args={"budget": "project", "nusd": 5, "why": "more"},
    )
    row = scene.do(lambda tx: decisions.request(tx, SOON, question))
    assert budgets.get(scene.db, "project").limit_nusd == 10
    scene.do(lambda tx: decisions.decide(tx, row, decision, "me", ""))
    assert budgets.get(scene.db, "project").limit_nusd == limit


def test_what_is_to_follow_must_be_known(scene):
    question = Question(kind="tool", what="x", asked_by="y", act="nonsense")
    with pytest.raises(AssertionError, match="nonsense"):
        scene.do(lambda tx: decisions.request(tx, SOON, question))


def test_long_texts_are_cut(scene, put):
    put()
    question = Question(kind="tool", what="x" * 9_999, asked_by="y")
    row = scene.do(lambda tx: decisions.ask(tx, question)).approval
    assert len(row.what) == decisions.TEXT_CHARS_MAX
    assert msgspec.json.decode(row.context) == {}
