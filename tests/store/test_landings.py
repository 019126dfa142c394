"""Table `landing`, and what a decision about one leads to."""

import pytest

from dashd.domain.gates import Gate
from dashd.store import decisions, gates, landings
from tests.fakes.scene import SWARM

GATE = Gate("trunk", "landing", "main", 0, "ask", "operator", True, 60.0, "deny")


@pytest.fixture
def insert(scene):
    scene.swarm("x")
    return lambda: scene.do(
        lambda tx: landings.insert(tx, swarm=SWARM, onto="main", commit="c", asked_by="me")
    )


def test_one_waits_until_it_may(scene, insert):
    row = insert()
    assert landings.next_open(scene.db) is None
    scene.do(lambda tx: landings.queue(tx, row.number))
    assert landings.next_open(scene.db).number == row.number
    scene.do(lambda tx: landings.set_running(tx, row, "b"))
    scene.do(lambda tx: landings.set_running(tx, row, "seen after a death"))
    scene.do(lambda tx: landings.landed(tx, row))
    assert landings.next_open(scene.db) is None
    event = scene.events()[-1]
    assert (event["kind"], event["swarm"]) == ("swarm.landed", SWARM)
    assert event["data"] == {"target": "main", "commit": "c", "before": "b", "by": "me"}


def test_a_refusal_says_why_and_is_no_event(scene, insert):
    row, seq = insert(), scene.seq
    scene.do(lambda tx: landings.refused(tx, row, "not clean", hint="commit", paths=["a"]))
    found = landings.get(scene.db, row.number)
    assert (found.state, found.problem, found.hint, found.paths) == (
        "refused", "not clean", "commit", '["a"]',
    )  # fmt: skip
    assert scene.seq == seq
    scene.do(lambda tx: landings.queue(tx, row.number))
    assert landings.get(scene.db, row.number).state == "refused"


@pytest.mark.parametrize(("decision", "state"), [("allow", "queued"), ("deny", "refused")])
def test_a_decision_survives_the_end_of_the_swarm(scene, insert, decision, state):
    row = insert()
    scene.do(lambda tx: gates.put(tx, GATE))
    question = decisions.Question(
        kind="landing", what="land it", text="main", asked_by="operator:me", swarm=SWARM,
        act="swarm.land", args={"landing": row.number},
    )  # fmt: skip
    asked = scene.do(lambda tx: decisions.ask(tx, question))
    assert asked.verdict == "wait"
    scene.run("succeeded")
    scene.do(lambda tx: decisions.decide(tx, asked.approval, decision, "me", ""))
    assert landings.get(scene.db, row.number).state == state
    # A second decision about an ended one changes nothing.
    scene.do(lambda tx: landings.refused(tx, row, "over"))
    scene.do(lambda tx: decisions.ACTS["swarm.land"](tx, asked.approval))
    assert landings.get(scene.db, row.number).problem == "over"
