"""Files of an agent that goes on with another one's conversation."""

import pytest

from dashd.domain import repository
from dashd.domain.repository import Terms
from dashd.service import session_files
from dashd.store import attempts, sessions, workspaces
from tests.fakes.scene import SWARM

ID = f"{SWARM}-t1.1"
OTHER = "other1"
REPO = repository.to_json(Terms("/repo", "b" * 40))
OWNER = f"{SWARM}-001"


@pytest.fixture
def session(scene):
    """Of an agent on a repository, that runs."""

    def made(**changes):
        scene.swarm("a", repo=REPO, cwd="/repo", **changes)
        scene.swarm("w", swarm_id=OTHER, repo=REPO, cwd="/repo")
        claim = next(each for each in scene.claim() if each.swarm_id == SWARM)
        scene.start(claim)
        attempt = attempts.get(scene.db, claim.attempt_id)
        scene.do(lambda tx: sessions.opened(tx, ID, attempt, SWARM, "command"))
        scene.do(lambda tx: workspaces.begin(tx, OWNER, SWARM, "b" * 40))
        scene.do(lambda tx: workspaces.set_ready(tx, OWNER, place="p", path="/w/1", branch="dash/x"))
        return claim, sessions.get(scene.db, ID)

    return made


def test_a_clone_begins_with_what_the_other_has_brought_back(scene, session) -> None:
    claim, row = session()
    scene.do(lambda tx: workspaces.set_imported(tx, OWNER, "d" * 40, []))
    scene.end(claim)
    found = session_files.files(scene.db, row, OTHER, stops=False)
    assert (found.from_owner, found.lost) == (OWNER, False)
    assert f"begins with branch dash/x, what {OWNER} has done" in found.notes[0]
    assert found.told("go on") == "go on"
    scene.do(lambda tx: found.begin(tx, f"{OTHER}-002"))
    made = scene.do(lambda tx: workspaces.begin(tx, f"{OTHER}-002", OTHER, "b" * 40))
    assert made.base == "d" * 40
    assert scene.do(lambda tx: workspaces.begin(tx, f"{OTHER}-003", OTHER, "b" * 40)).base == "b" * 40


def test_where_it_cannot_both_who_asks_and_the_agent_are_told(scene, session) -> None:
    claim, row = session()
    found = session_files.files(scene.db, row, OTHER, stops=False)
    assert found.notes[0].endswith("/w/1, and comes back when that has ended"), "it runs"
    scene.end(claim, "failed", "exit code 1")
    found = session_files.files(scene.db, row, OTHER, stops=False)
    assert (found.from_owner, found.lost) == ("", True)
    where = f"its clone begins at {'b' * 12}; what {OWNER} has done is in the clone of {OWNER}, /w/1"
    assert found.notes == (where,)
    assert found.told("go on") == f"go on\n\nYour files are not those that you saw: {where}."
    stopped = session_files.files(scene.db, row, OTHER, stops=True)
    assert (stopped.from_owner, stopped.lost) == (OWNER, False)
    assert stopped.notes == (f"its clone begins with what {OWNER} has done, once brought back as a branch",)


def test_a_swarm_of_one_has_a_clone_of_its_own_where_the_other_one_shared_its_swarms(scene) -> None:
    shared = repository.to_json(Terms("/repo", "b" * 40, workspace="swarm"))
    scene.swarm("a", repo=shared, cwd="/repo")
    (claim,) = scene.claim()
    scene.start(claim)
    scene.do(lambda tx: sessions.opened(tx, ID, attempts.get(tx.db, claim.attempt_id), SWARM, "command"))
    scene.do(lambda tx: workspaces.begin(tx, SWARM, SWARM, "b" * 40))
    scene.do(lambda tx: workspaces.set_ready(tx, SWARM, place="p", path="/w/1", branch="dash/x"))
    row = sessions.get(scene.db, ID)
    assert session_files.files(scene.db, row, SWARM, stops=False) == session_files.Files(), "they share it"
    found = session_files.files(scene.db, row, "", stops=False)
    assert (found.from_owner, found.lost) == ("", True)
    assert found.notes[0].startswith(f"its clone begins at {'b' * 12}; what {SWARM} has done is")
    scene.do(lambda tx: workspaces.set_imported(tx, SWARM, "d" * 40, []))
    scene.end(claim)
    found = session_files.files(scene.db, row, "", stops=False)
    assert (found.from_owner, found.lost) == (SWARM, False)


def test_another_folder_or_repository_is_said(scene, session) -> None:
    _, row = session()
    scene.swarm("w", swarm_id="third1", cwd="/elsewhere")
    there = session_files.files(scene.db, row, "third1", stops=True)
    assert there.notes == ("it works in /elsewhere, and the other one in a clone of /repo",)
    scene.swarm("w", swarm_id="fourth", repo=repository.to_json(Terms("/two", "e" * 40)), cwd="/two")
    assert session_files.files(scene.db, row, "fourth", stops=True).lost
