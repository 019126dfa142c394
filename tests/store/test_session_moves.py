"""Table `session_move`: a move is made once, and its task waits for the end of what ran."""

import pytest

from dashd.domain import repository
from dashd.domain.repository import Terms
from dashd.store import attempts, session_moves, sessions, tasks, workspaces
from dashd.store.sessions import CheckpointRow
from dashd.wire import errors
from tests.fakes.scene import SWARM

ID = f"{SWARM}-t1.1"
NEXT = f"{SWARM}-t2"


@pytest.fixture
def moving(scene):
    """A session that runs and is migrated to the task after it."""
    scene.swarm("a", "b", agents_made=2)
    (claim,) = scene.claim(1)
    scene.start(claim)
    attempt = attempts.get(scene.db, claim.attempt_id)
    scene.do(lambda tx: sessions.opened(tx, ID, attempt, SWARM, "pi"))
    scene.do(lambda tx: session_moves.begin(tx, ID, NEXT, copied=False))
    return claim


def test_its_task_waits_for_the_copy(scene, moving) -> None:
    assert session_moves.is_stopping(scene.db, moving.attempt_id)
    assert scene.claim() == []
    row = CheckpointRow("c-1", ID, "automatic", "", "n1", 1, 1, 0)
    scene.do(lambda tx: sessions.keep_newest(tx, row, 1_000, needed=True))
    scene.do(lambda tx: session_moves.ended(tx, ID, "c-1", ""))
    assert not session_moves.is_stopping(scene.db, moving.attempt_id)
    assert (sessions.seed(scene.db, NEXT), sessions.is_broken_off(scene.db, NEXT)) == ("c-1", True)
    assert [claim.task_id for claim in scene.claim()] == [NEXT]
    scene.do(lambda tx: session_moves.ended(tx, ID, "c-1", ""))  # a second end changes nothing


def test_it_is_moved_once(scene, moving) -> None:
    with pytest.raises(errors.Conflict, match="was migrated"):
        scene.do(lambda tx: session_moves.begin(tx, ID, NEXT, copied=True))


def test_what_could_not_be_copied_ends_its_task(scene, moving) -> None:
    scene.do(lambda tx: session_moves.ended(tx, ID, None, "no room"))
    found = tasks.get(scene.db, NEXT)
    assert (found.state, found.cause) == ("cancelled", f"session {ID} could not be copied: no room")
    scene.do(lambda tx: session_moves.ended(tx, "other", None, ""))


def refused(scene) -> errors.Conflict:
    with pytest.raises(errors.Conflict) as refusal:
        scene.do(lambda tx: session_moves.refuse_moved(tx.db, ID))
    return refusal.value


def test_who_goes_on_with_it_is_named_whatever_has_become_of_that(scene, moving) -> None:
    assert refused(scene).message.endswith(f"swarm {SWARM} goes on with it in task {NEXT}")
    scene.do(lambda tx: tasks.pin(tx, NEXT, f"{SWARM}-002"))
    agent, fork = f"agent {SWARM}-002 of swarm {SWARM}", f"session.fork {ID} begins another agent"
    assert refused(scene).message.endswith(f"{agent} goes on with it in task {NEXT}")
    assert refused(scene).hint == f"task.get {NEXT} shows it; {fork}"
    row = CheckpointRow("c-1", ID, "automatic", "", "n1", 1, 1, 0)
    scene.do(lambda tx: sessions.keep_newest(tx, row, 1_000, needed=True))
    scene.do(lambda tx: session_moves.ended(tx, ID, "c-1", ""))
    (claim,) = scene.claim()
    scene.start(claim)
    attempt = scene.attempt(claim)
    scene.do(lambda tx: sessions.opened(tx, attempt.launch_id, attempt, SWARM, "pi"))
    assert refused(scene).message.endswith(f"{agent} goes on with it in task {NEXT}")
    scene.end(claim)
    scene.do(lambda tx: tasks.unpin(tx, f"{SWARM}-002"))
    assert refused(scene).message.endswith(f"{agent} went on with it in task {NEXT}, which is completed")
    assert refused(scene).hint == f"session.get {attempt.launch_id} shows it; {fork}"


def test_where_nobody_began_to_go_on_with_it_that_is_said(scene, moving) -> None:
    scene.do(lambda tx: session_moves.ended(tx, ID, None, "no room"))
    assert refused(scene).message.endswith(
        f"swarm {SWARM} was to go on with it in task {NEXT}, which is cancelled"
    )
    assert refused(scene).hint.startswith(f"task.get {NEXT} shows it; ")


@pytest.fixture
def on_repo(scene):
    """A session that runs on a repository; the agent of `other1` goes on with it, and with its files."""
    repo = repository.to_json(Terms("/repo", "b" * 40))
    scene.swarm("a", repo=repo, cwd="/repo")
    scene.swarm("w", swarm_id="other1", repo=repo, cwd="/repo")
    claim = next(each for each in scene.claim(1) if each.swarm_id == SWARM)
    attempt = attempts.get(scene.db, claim.attempt_id)

    def operation(tx):
        sessions.opened(tx, ID, attempt, SWARM, "pi")
        workspaces.begin(tx, f"{SWARM}-001", SWARM, "b" * 40)
        workspaces.set_ready(tx, f"{SWARM}-001", place="p", path="/w/1", branch="dash/x")
        tx.execute("UPDATE task SET pinned_to = 'other1-001', text = 'go on' WHERE id = 'other1-t1'")
        session_moves.begin(tx, ID, "other1-t1", copied=False)

    scene.do(operation)
    return claim


@pytest.mark.parametrize("imported", ["", "d" * 40])
def test_what_could_not_be_brought_back_is_told_to_who_was_to_begin_with_it(scene, on_repo, imported) -> None:
    owner = f"{SWARM}-001"
    if imported:
        scene.do(lambda tx: workspaces.set_imported(tx, owner, imported, []))
    scene.do(lambda tx: session_moves.files_left(tx, on_repo.attempt_id, owner, "no room"))
    assert tasks.get(scene.db, "other1-t1").text == "go on", "it was not to begin with it"
    scene.do(lambda tx: workspaces.start_with(tx, "other1-001", owner))
    scene.do(lambda tx: session_moves.files_left(tx, on_repo.attempt_id, owner, "no room"))
    note = (
        f"its clone begins at {(imported or 'b' * 40)[:12]}; what {owner} has done is in the clone of"
        f" {owner}, /w/1, and could not be brought back (no room)"
    )
    assert tasks.get(scene.db, "other1-t1").text == f"go on\n\nYour files are not those that you saw: {note}."
    assert session_moves.find(scene.db, ID).note == note
    event = scene.events()[-1]
    assert (event["kind"], event["agent"], event["data"]["reason"]) == ("session.error", "other1-001", note)
    made = scene.do(lambda tx: workspaces.begin(tx, "other1-001", "other1", "b" * 40))
    assert made.base == (imported or "b" * 40), "as it was told"


def test_an_attempt_whose_session_stays_tells_nobody(scene, on_repo) -> None:
    before = scene.seq
    scene.do(lambda tx: session_moves.files_left(tx, "another", f"{SWARM}-001", "no room"))
    assert scene.seq == before
