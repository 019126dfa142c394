"""What the rows say of an attempt, as far as tests of runs do not."""

from dashd.domain import repository
from dashd.runtime.plan import read_plan
from dashd.store import workspaces
from tests.fakes.scene import SWARM
from tests.fakes.trees import TERMS


def test_in_a_repository_folders_are_those_of_the_workspace_once_it_is_there(scene):
    scene.swarm("x", repo=repository.to_json(TERMS), cwd="/repo")
    (claim,) = scene.claim()
    assert read_plan(scene.db, claim, 0).asked.cwd == "/repo"

    def ready(tx):
        workspaces.begin(tx, claim.agent_id, SWARM, "b")
        workspaces.set_ready(tx, claim.agent_id, place="{}", path="/ws", branch="x")

    scene.do(ready)
    plan = read_plan(scene.db, claim, 0)
    assert (plan.asked.cwd, plan.repo, plan.work.cwd) == ("/ws", TERMS, "/repo")


def test_without_one_they_are_the_swarms(scene):
    scene.swarm("x", cwd="/here")
    (claim,) = scene.claim()
    plan = read_plan(scene.db, claim, 0)
    assert (plan.asked.cwd, plan.repo, plan.left_s) == ("/here", None, 300.0)
