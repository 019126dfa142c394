"""What the rows say when an attempt is taken up."""

import msgspec
import pytest

from dashd.domain import repository
from dashd.domain import scope as scopes
from dashd.domain.brief import Earlier
from dashd.domain.gates import Gate
from dashd.runtime.plan import read_plan
from dashd.store import agents, attempts, gates, inputs, instances, tasks, workspaces
from dashd.store.inputs import InputRow
from dashd.store.instances import InstanceRow
from tests.fakes.scene import SWARM
from tests.fakes.trees import TERMS


@pytest.fixture
def claimed(scene):
    scene.swarm("a", "b", cwd="/w")
    (claim,) = scene.claim(1)
    return claim


def test_its_work_its_clock_and_what_was_said(scene, claimed) -> None:
    row = InputRow(claimed.attempt_id, 1, "ready", b"x", 0, None)
    scene.do(lambda tx: inputs.insert(tx, row))
    scene.do(lambda tx: inputs.add_message(tx, claimed.attempt_id, "hm"))
    found = read_plan(scene.db, claimed, 0)
    assert (found.work.item, found.work.cwd, found.work.task_id) == ("a", "/w", f"{SWARM}-t1")
    assert (found.journal.rows, found.messages) == ((row,), 1)
    assert (found.stop, found.hold, found.spool_offset) == (None, False, 0)
    assert (found.work.write, found.work.earlier) == (None, ())  # without walls nothing limits it


@pytest.mark.parametrize(("driver", "program"), [("pi", "/p/cli.js"), ("command", "")])
def test_a_place_may_say_what_is_run(scene, claimed, driver, program) -> None:
    row = InstanceRow("next", "static", "/p/cli.js", "[]", None, 2)
    scene.do(lambda tx: instances.put(tx, row))
    scene.do(lambda tx: tx.execute("UPDATE swarm SET driver = ?", (driver,)))
    assert read_plan(scene.db, claimed, 0).work.program == ""
    scene.do(lambda tx: tx.execute("UPDATE launch SET place = 'next'"))
    assert (found := read_plan(scene.db, claimed, 0)).place == "next"
    assert found.work.program == program


@pytest.mark.parametrize(
    ("kind", "gated"), [("command", True), ("path", True), ("tool", True), ("money", False)]
)
def test_gates_about_what_it_does_are_noticed(scene, claimed, kind, gated) -> None:
    assert read_plan(scene.db, claimed, 0).work.asks == ()
    gate = Gate("g", kind, "", 0, "ask", "operator", False, 60.0, "deny")
    scene.do(lambda tx: gates.put(tx, gate))
    assert read_plan(scene.db, claimed, 0).work.asks == ((kind,) if gated else ())


KILLED = {"state": "failed", "exit_signal": 9}


@pytest.mark.parametrize(
    ("ends", "first"),
    [
        ([], 1),
        ([KILLED], 1),
        ([{"state": "lost"}, KILLED], 1),
        ([{"state": "failed", "exit_signal": None}], 2),  # what failed by itself begins afresh
        ([{"state": "failed", "exit_signal": 11}], 2),
        ([{"state": "failed"}, KILLED], 2),
        ([KILLED, {"state": "never"}], 1),  # nothing was executed between
    ],
)
def test_whose_session_it_goes_on_with(scene, ends, first) -> None:
    scene.swarm("a", cwd="/w", retries=9)
    for each in ends:
        (claim,) = scene.claim(1)
        if each["state"] != "never":
            scene.start(claim)
        scene.end(claim, reason="so", **each)
        scene.clock.at_ms += 60_000
    (claim,) = scene.claim(1)
    assert read_plan(scene.db, claim, 0).session == f"{SWARM}-t1.{first}"


def test_what_was_told_to_stop_leaves_no_session(scene) -> None:
    scene.swarm("a", cwd="/w")
    (claim,) = scene.claim(1)
    scene.start(claim)
    scene.do(lambda tx: attempts.ask_stop(tx, claim.attempt_id, "timeout"))
    scene.end(claim, "failed", exit_signal=9)
    scene.clock.at_ms += 60_000
    (claim,) = scene.claim(1)
    assert read_plan(scene.db, claim, 0).session == claim.attempt_id


@pytest.mark.parametrize(
    ("repo", "first"),
    [(None, 1), (TERMS, 2), (msgspec.structs.replace(TERMS, workspace="swarm"), 1)],
    ids=["one folder", "a workspace each", "one workspace"],
)
def test_in_another_seat_it_goes_on_only_in_the_same_folder(scene, repo, first) -> None:
    row = {"repo": repository.to_json(repo)} if repo else {}
    scene.swarm("a", agents_made=2, cwd=TERMS.path, **row)
    (claim,) = scene.claim(1)
    scene.start(claim)
    scene.end(claim, **KILLED, reason="so")
    scene.do(lambda tx: agents.set_wanted(tx, claim.agent_id, "pause"))
    scene.clock.at_ms += 60_000
    (again,) = scene.claim(1)
    assert again.agent_id != claim.agent_id
    assert read_plan(scene.db, again, 0).session == f"{SWARM}-t1.{first}"


def test_what_earlier_tasks_returned(scene, claimed) -> None:
    scene.end(claimed, result="done a")
    scene.db.execute("INSERT INTO task_edge VALUES (?, ?)", (f"{SWARM}-t1", f"{SWARM}-t2"))
    (claim,) = scene.claim(1)
    assert read_plan(scene.db, claim, 0).work.earlier == (Earlier(f"{SWARM}-t1", "a", "done a"),)
    assert tasks.earlier(scene.db, f"{SWARM}-t2", 0) == []


def test_walls_are_said_as_absolute_folders(scene) -> None:
    asked = scopes.parse(write=["src", "/tmp/x"], read=["."], hosts=[], root="/w")
    scene.swarm("a", cwd="/w", walls="required", scope=scopes.to_json(asked))
    (claim,) = scene.claim(1)
    assert sorted(read_plan(scene.db, claim, 0).work.write or ()) == ["/tmp/x", "/w/src"]


def test_in_a_repository_folders_are_those_of_the_workspace_once_it_is_there(scene):
    scene.swarm("x", repo=repository.to_json(TERMS), cwd="/repo")
    (claim,) = scene.claim()
    assert read_plan(scene.db, claim, 0).asked.cwd == "/repo"

    def ready(tx):
        workspaces.begin(tx, claim.agent_id, SWARM, "b")
        workspaces.set_ready(tx, claim.agent_id, place="{}", path="/ws", branch="x")

    scene.do(ready)
    plan = read_plan(scene.db, claim, 0)
    assert (plan.asked.cwd, plan.repo, plan.work.cwd, plan.cwd) == ("/ws", TERMS, "/ws", "/repo")


def test_without_one_they_are_the_swarms(scene):
    scene.swarm("x", cwd="/here")
    (claim,) = scene.claim()
    plan = read_plan(scene.db, claim, 0)
    assert (plan.asked.cwd, plan.repo, plan.left_s) == ("/here", None, 300.0)


def test_in_a_workspace_an_agent_is_told_of_that_and_not_of_the_repository(scene) -> None:
    asked = scopes.parse(write=["src", "/tmp/x"], read=["."], hosts=[], root="/repo")
    repo = repository.to_json(TERMS)
    scene.swarm("x", repo=repo, cwd="/repo/src", walls="required", scope=scopes.to_json(asked))
    (claim,) = scene.claim()

    def ready(tx):
        workspaces.begin(tx, claim.agent_id, SWARM, "b")
        workspaces.set_ready(tx, claim.agent_id, place="{}", path="/ws", branch="x")

    scene.do(ready)
    work = read_plan(scene.db, claim, 0).work
    assert (work.cwd, sorted(work.write or ())) == ("/ws/src", ["/tmp/x", "/ws/src"])
