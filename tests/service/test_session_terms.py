"""Terms of an agent that goes on with another one's conversation in a new swarm of one."""

import dataclasses

import msgspec
import pytest

from dashd.domain import scope as scopes
from dashd.domain.placement import Terms as PlacementTerms
from dashd.service import session_terms
from dashd.service import swarms as swarm_service
from dashd.service.core import Caller
from dashd.store import budgets, sessions, swarms
from tests.fakes.ports import FakeDrivers, driver_abilities
from tests.fakes.scene import SWARM
from tests.service.test_session_files import ID, OWNER, session
from tests.service.test_walls import FakeWalls

__all__ = ["session"]


def test_the_terms_are_those_of_the_agent_and_never_more(scene, session) -> None:
    scope = scopes.parse(write=["src"], read=[".", "/lib"], hosts=["a.example"], deny=["rm *"], root="/repo")
    _, row = session(walls="required", scope=scopes.to_json(scope), model="m")
    scene.do(lambda tx: budgets.set_limits(tx, OWNER, 2_000_000_000, None))
    found = session_terms.terms(scene.db, row, "")
    assert (found.scope, found.repo, found.base) == (["src"], "/repo", "b" * 40)
    assert "/lib" in found.read
    assert found.hosts == ["a.example"]
    assert (found.model, found.budget, found.unsafe_no_jail) == ("m", 2.0, False)
    assert found.deny_commands == ["rm *"]
    bare = session_terms.without_walls(msgspec.structs.replace(found, unsafe_no_jail=True))
    assert (bare.unsafe_no_jail, bare.scope) == (False, msgspec.UNSET)


class Pi(FakeDrivers):
    """Has that one too."""

    async def choose(self, driver, *, has_argv):
        return driver, "it was asked for"

    def abilities(self, _name):
        return driver_abilities("soft", message=True)

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
    found = session_terms.terms(scene.db, sessions.get(scene.db, ID), "")
    here = dataclasses.replace(core, walls=FakeWalls(), drivers=Pi())
    made = await swarm_service.prepare(here, Caller("operator", 1), found)
    new = swarms.get(scene.db, scene.do(lambda tx: made(tx, "more")).id)
    assert scopes.from_json(new.scope).commands == scope.commands
    assert msgspec.json.decode(new.placement, type=PlacementTerms) == wanted
    assert (new.walls, session_terms.without_walls(found).deny_commands) == (walls, ["git push *"])
