"""Terms and files of an agent that goes on with another one's conversation."""

import dataclasses

import msgspec
import pytest

from dashd.domain import repository
from dashd.domain import scope as scopes
from dashd.domain.placement import Terms as PlacementTerms
from dashd.domain.repository import Terms
from dashd.service import session_places
from dashd.service import swarms as swarm_service
from dashd.service.core import Caller
from dashd.service.ports import DriverAbilities
from dashd.store import attempts, budgets, sessions, swarms, workspaces
from tests.fakes.ports import FakeDrivers
from tests.fakes.scene import SWARM
from tests.service.test_walls import FakeWalls

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
    found = session_places.files(scene.db, row, OTHER, stops=False)
    assert (found.from_owner, found.lost) == (OWNER, False)
    assert f"begins with branch dash/x, what {OWNER} has done" in found.notes[0]
    assert found.told("go on") == "go on"
    scene.do(lambda tx: found.begin(tx, f"{OTHER}-002"))
    made = scene.do(lambda tx: workspaces.begin(tx, f"{OTHER}-002", OTHER, "b" * 40))
    assert made.base == "d" * 40
    assert scene.do(lambda tx: workspaces.begin(tx, f"{OTHER}-003", OTHER, "b" * 40)).base == "b" * 40


def test_where_it_cannot_both_who_asks_and_the_agent_are_told(scene, session) -> None:
    claim, row = session()
    found = session_places.files(scene.db, row, OTHER, stops=False)
    assert found.notes[0].endswith("/w/1, and comes back when that has ended"), "it runs"
    scene.end(claim, "failed", "exit code 1")
    found = session_places.files(scene.db, row, OTHER, stops=False)
    assert (found.from_owner, found.lost) == ("", True)
    where = f"its clone begins at {'b' * 12}; what {OWNER} has done is in the clone of {OWNER}, /w/1"
    assert found.notes == (where,)
    assert found.told("go on") == f"go on\n\nYour files are not those that you saw: {where}."
    stopped = session_places.files(scene.db, row, OTHER, stops=True)
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
    assert session_places.files(scene.db, row, SWARM, stops=False) == session_places.Files(), "they share it"
    found = session_places.files(scene.db, row, "", stops=False)
    assert (found.from_owner, found.lost) == ("", True)
    assert found.notes[0].startswith(f"its clone begins at {'b' * 12}; what {SWARM} has done is")
    scene.do(lambda tx: workspaces.set_imported(tx, SWARM, "d" * 40, []))
    scene.end(claim)
    found = session_places.files(scene.db, row, "", stops=False)
    assert (found.from_owner, found.lost) == (SWARM, False)


def test_another_folder_or_repository_is_said(scene, session) -> None:
    _, row = session()
    scene.swarm("w", swarm_id="third1", cwd="/elsewhere")
    there = session_places.files(scene.db, row, "third1", stops=True)
    assert there.notes == ("it works in /elsewhere, and the other one in a clone of /repo",)
    scene.swarm("w", swarm_id="fourth", repo=repository.to_json(Terms("/two", "e" * 40)), cwd="/two")
    assert session_places.files(scene.db, row, "fourth", stops=True).lost


def test_the_terms_are_those_of_the_agent_and_never_more(scene, session) -> None:
    scope = scopes.parse(write=["src"], read=[".", "/lib"], hosts=["a.example"], deny=["rm *"], root="/repo")
    _, row = session(walls="required", scope=scopes.to_json(scope), model="m")
    scene.do(lambda tx: budgets.set_limits(tx, OWNER, 2_000_000_000, None))
    found = session_places.terms(scene.db, row, "")
    assert (found.scope, found.repo, found.base) == (["src"], "/repo", "b" * 40)
    assert "/lib" in found.read
    assert found.hosts == ["a.example"]
    assert (found.model, found.budget, found.unsafe_no_jail) == ("m", 2.0, False)
    assert found.deny_commands == ["rm *"]
    bare = session_places.without_walls(msgspec.structs.replace(found, unsafe_no_jail=True))
    assert (bare.unsafe_no_jail, bare.scope) == (False, msgspec.UNSET)


class Pi(FakeDrivers):
    """Has that one too."""

    async def choose(self, driver, *, has_argv):
        return driver, "it was asked for"

    def abilities(self, _name):
        return DriverAbilities(pause="soft", message=True)

    def remarks(self, _name, _argv):
        return []


@pytest.mark.parametrize("walls", ["required", "none"])
async def test_rules_about_commands_and_where_it_runs_stay_with_walls_or_without(core, scene, walls) -> None:
    scope = scopes.parse(write=["."], read=["."], hosts=[], allow=["ls *"], deny=["git push *"], root="/")
    wanted = PlacementTerms("round-robin", ("browser",), "eu", "1.6")
    asked = msgspec.json.encode(wanted).decode()
    row = {"walls": walls, "scope": scopes.to_json(scope), "placement": asked, "driver": "pi"}
    scene.swarm("a", **row)
    (claim,) = scene.claim()
    scene.start(claim)
    scene.do(lambda tx: sessions.opened(tx, ID, scene.attempt(claim), SWARM, "pi"))
    scene.end(claim)
    found = session_places.terms(scene.db, sessions.get(scene.db, ID), "")
    here = dataclasses.replace(core, walls=FakeWalls(), drivers=Pi())
    made = await swarm_service.prepare(here, Caller("operator", 1), found)
    new = swarms.get(scene.db, scene.do(lambda tx: made(tx, "more")).id)
    assert scopes.from_json(new.scope).commands == scope.commands
    assert msgspec.json.decode(new.placement, type=PlacementTerms) == wanted
    assert (new.walls, session_places.without_walls(found).deny_commands) == (walls, ["git push *"])
