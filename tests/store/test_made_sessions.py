"""Table `session_made`: one task begins in it, and its name is that task's conversation from then on."""

import pytest

from dashd.domain.task import ENDED
from dashd.store import attempts, made_sessions, sessions, swarms, tasks
from dashd.store.made_sessions import MadeRow
from dashd.wire import errors
from tests.fakes.scene import SWARM


def make(scene, name="refactor", driver="command", cwd=None):
    row = MadeRow(f"s-{name}", name, driver, cwd or swarms.get(scene.db, SWARM).cwd, None, None, 0)
    scene.do(lambda tx: made_sessions.insert(tx, row))
    return row


def begin(scene, task, name="refactor", driver="command"):
    scene.do(lambda tx: sessions.begin_from(tx, f"{SWARM}-{task}", name, driver))


def ends(scene, task, state):
    """However it came to that."""
    scene.do(lambda tx: tx.execute("UPDATE task SET state = ? WHERE id = ?", (state, f"{SWARM}-{task}")))


def test_its_name_is_the_latest_conversation_of_the_task_that_begins_in_it(scene):
    scene.swarm("a", "b")
    make(scene)
    assert [row.name for row in made_sessions.waiting(scene.db)] == ["refactor"]
    assert sessions.swarm_of(scene.db, "refactor") is None
    with pytest.raises(errors.Conflict, match="has not begun") as refused:
        sessions.get(scene.db, "refactor")
    assert "begin_from: 'refactor'" in refused.value.hint
    begin(scene, "t1")
    assert made_sessions.waiting(scene.db) == []
    with pytest.raises(errors.Conflict, match="has not begun") as refused:
        sessions.get(scene.db, "refactor")
    assert f"task {SWARM}-t1" in refused.value.hint
    (claim,) = scene.claim(1)
    attempt = attempts.get(scene.db, claim.attempt_id)
    for session in (attempt.launch_id, attempt.launch_id):
        scene.do(lambda tx, session=session: sessions.opened(tx, session, attempt, SWARM, "command"))
    for wanted in ("refactor", "s-refactor"):
        assert sessions.get(scene.db, wanted).id == attempt.launch_id
        assert sessions.swarm_of(scene.db, wanted) == SWARM
    assert made_sessions.of_session(scene.db, attempt.launch_id).name == "refactor"
    assert sessions.seed(scene.db, f"{SWARM}-t1") is None


@pytest.mark.parametrize(
    ("made", "task", "driver", "error", "why"),
    [
        ({"driver": "pi"}, "t1", "command", errors.Unsupported, "is of pi, and command cannot begin"),
        ({"cwd": "/elsewhere"}, "t1", "command", errors.Conflict, "is of the folder /elsewhere"),
    ],
)
def test_who_cannot_begin_in_it_is_told_why(scene, made, task, driver, error, why):
    scene.swarm("a")
    make(scene, **made)
    with pytest.raises(error, match=why):
        begin(scene, task, driver=driver)
    assert len(made_sessions.waiting(scene.db)) == 1


def test_it_is_begun_once_and_taken_back_only_before_that(scene):
    scene.swarm("a", "b")
    row = make(scene)
    begin(scene, "t1")
    with pytest.raises(errors.Conflict, match=f"was begun by task {SWARM}-t1"):
        begin(scene, "t2")
    scene.do(lambda tx: made_sessions.remove(tx, row))
    assert made_sessions.find(scene.db, "refactor") is not None
    other = make(scene, "other")
    scene.do(lambda tx: made_sessions.remove(tx, other))
    assert made_sessions.find(scene.db, "other") is None


@pytest.mark.parametrize("state", sorted(ENDED))
def test_it_is_free_again_once_its_task_has_ended_without_beginning_it(scene, state):
    scene.swarm("a", "b")
    row = make(scene)
    begin(scene, "t1")
    ends(scene, "t1", state)
    assert made_sessions.waiting(scene.db) == [made_sessions.find(scene.db, "refactor")] == [row]
    assert sessions.swarm_of(scene.db, "refactor") is None
    with pytest.raises(errors.Conflict, match="has not begun") as refused:
        sessions.get(scene.db, "refactor")
    assert "begin_from: 'refactor'" in refused.value.hint
    begin(scene, "t2")
    assert made_sessions.waiting(scene.db) == []
    ends(scene, "t2", state)
    found = made_sessions.find(scene.db, "refactor")
    scene.do(lambda tx: made_sessions.remove(tx, found))
    assert made_sessions.find(scene.db, "refactor") is None


def test_a_task_that_is_tried_again_has_it_unless_another_one_took_it(scene):
    scene.swarm("a", "b")
    make(scene)
    begin(scene, "t1")
    for state in ("cancelled", "ready"):
        scene.do(lambda tx, state=state: tasks.set_state(tx, scene.task(), state))
        assert bool(made_sessions.waiting(scene.db)) is (state == "cancelled")
    scene.do(lambda tx: tasks.set_state(tx, scene.task(), "cancelled"))
    begin(scene, "t2")
    scene.do(lambda tx: tasks.set_state(tx, scene.task(), "ready"))
    claim = next(each for each in scene.claim() if each.task_id == f"{SWARM}-t1")
    attempt = attempts.get(scene.db, claim.attempt_id)
    scene.do(lambda tx: sessions.opened(tx, attempt.launch_id, attempt, SWARM, "command"))
    found = made_sessions.find(scene.db, "refactor")
    assert (found.task_id, found.session_id) == (f"{SWARM}-t2", None)


def test_one_that_was_begun_stays_begun_when_its_task_has_ended(scene):
    scene.swarm("a")
    row = make(scene)
    begin(scene, "t1")
    (claim,) = scene.claim(1)
    scene.start(claim)
    attempt = attempts.get(scene.db, claim.attempt_id)
    scene.do(lambda tx: sessions.opened(tx, attempt.launch_id, attempt, SWARM, "command"))
    scene.end(claim)
    assert (scene.states(), made_sessions.waiting(scene.db)) == (["completed"], [])
    scene.do(lambda tx: made_sessions.remove(tx, row))
    assert made_sessions.of_session(scene.db, attempt.launch_id).task_id == f"{SWARM}-t1"


def test_names_are_taken_once_and_not_too_many_wait(scene, monkeypatch):
    scene.swarm("a")
    make(scene)
    with pytest.raises(errors.Conflict, match="was made already"):
        make(scene)
    monkeypatch.setattr(made_sessions, "WAITING_MAX", 1)
    with pytest.raises(errors.Conflict, match="nobody has begun"):
        make(scene, "other")
