"""Table `session_move`: a move is made once, and its task waits for the end of what ran."""

import pytest

from dashd.store import attempts, session_moves, sessions, tasks
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
