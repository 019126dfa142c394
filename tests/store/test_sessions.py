"""Tables `session`, `checkpoint` and `session_seed`."""

import pytest

from dashd.store import attempts, sessions
from dashd.store.sessions import CheckpointRow
from dashd.wire import errors
from tests.fakes.scene import SWARM

ID = f"{SWARM}-t1.1"


@pytest.fixture
def session(scene):
    """One that an attempt has."""
    scene.swarm("a")
    (claim,) = scene.claim(1)
    attempt = attempts.get(scene.db, claim.attempt_id)
    assert scene.do(lambda tx: sessions.opened(tx, ID, attempt, SWARM, "pi"))
    assert not scene.do(lambda tx: sessions.opened(tx, ID, attempt, SWARM, "pi"))
    return sessions.get(scene.db, ID)


def kept(scene, number, kind="automatic", name=""):
    """A copy of ten bytes; gives the ids of those that are no more."""
    row = CheckpointRow(f"c-{number}", ID, kind, name, f"step{number}", number, 10, 0)
    if kind != "automatic":
        return scene.do(lambda tx: sessions.keep(tx, row, 1_000))
    gone, why_not = scene.do(lambda tx: sessions.keep_newest(tx, row, 1_000, needed=False))
    assert why_not == ""
    return gone


def test_it_is_found_by_its_id_and_by_its_agent(scene, session):
    assert sessions.get(scene.db, session.agent_id) == session
    with pytest.raises(errors.NotFound, match="is no session, no agent"):
        sessions.get(scene.db, "x")
    (shown, _, total) = sessions.page(scene.db, SWARM, "", 0, 10)
    assert (shown, total) == ([session], 1)
    assert sessions.page(scene.db, "", "other", 0, 10) == ([], 0, 0)


def test_an_agent_without_one_says_why(scene):
    scene.swarm("a")
    with pytest.raises(errors.NotFound, match="its program keeps none"):
        sessions.get(scene.db, f"{SWARM}-001")


def test_the_newest_automatic_copy_takes_the_place_of_those_before(scene, session):
    assert kept(scene, 1) == []
    assert kept(scene, 2, "named", "good") == []
    assert kept(scene, 3) == ["c-1"]
    assert [row.id for row in sessions.checkpoints(scene.db, ID)] == ["c-2", "c-3"]
    assert sessions.fullest(scene.db, ID).id == "c-3"
    assert sessions.kept(scene.db) == {"c-2", "c-3"}


def test_a_copy_that_something_goes_on_from_stays(scene, session):
    kept(scene, 1)
    scene.do(lambda tx: sessions.set_head(tx, ID, "c-1"))
    assert kept(scene, 2) == []
    scene.do(lambda tx: sessions.begin_from(tx, session.task_id, "c-2", "pi"))
    scene.do(lambda tx: sessions.set_head(tx, ID, None))
    assert kept(scene, 3) == ["c-1"]
    assert sessions.seed(scene.db, session.task_id) == "c-2"
    assert sessions.seed(scene.db, "other") is None


def test_a_name_is_given_once(scene, session):
    kept(scene, 1, "named", "good")
    with pytest.raises(errors.Conflict, match="has a checkpoint 'good'"):
        kept(scene, 2, "named", "good")
    assert sessions.checkpoint(scene.db, ID, "good").id == "c-1"
    assert sessions.checkpoint(scene.db, ID, "c-1").id == "c-1"
    assert sessions.checkpoint(scene.db, "other", "c-1") is None
    assert sessions.of_checkpoint(scene.db, "c-1").id == ID
    for wanted, driver, error in (("c-9", "pi", errors.NotFound), ("c-1", "command", errors.Unsupported)):
        with pytest.raises(error, match=wanted):
            sessions.refuse_foreign(scene.db, wanted, driver)


def test_one_session_has_so_many_copies_and_no_more(scene, session, monkeypatch):
    monkeypatch.setattr(sessions, "OF_SESSION_MAX", 2)
    kept(scene, 1, "named")
    kept(scene, 2, "fork")
    with pytest.raises(errors.Conflict, match="has 2 checkpoints"):
        kept(scene, 3, "named")
    kept(scene, 4)  # the end of an attempt is never refused its own


def test_in_a_gateway_no_session_begins_with_a_copy(scene, session):
    kept(scene, 1, kind="named", name="one")
    scene.swarm("b", swarm_id="other1", driver="openclaw", mode="gateway")
    for begun in ("c-1", "nothing"):
        with pytest.raises(errors.Unsupported, match="other1 is of mode gateway") as refused:
            scene.do(lambda tx, begun=begun: sessions.begin_from(tx, "other1-t1", begun, "openclaw"))
        assert (refused.value.path, "mode: jailed" in refused.value.hint) == ("begin_from", True)
    scene.do(lambda tx: sessions.begin_from(tx, "other1-t1", None, "openclaw"))
    assert sessions.seed(scene.db, "other1-t1") is None
