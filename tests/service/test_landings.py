"""`swarm.land`."""

import dataclasses
from functools import partial

import pytest
import trio

from dashd.domain import repository
from dashd.domain.repository import Terms
from dashd.service import landings as service
from dashd.service.core import Caller
from dashd.store import landings, merges
from dashd.wire import errors
from dashd.wire.methods import worktree as wire
from tests.fakes.scene import SWARM
from tests.service.test_repositories import FakeRepositories

RESULT = f"dash/{SWARM}/result"


@pytest.fixture
def repositories():
    made = FakeRepositories()
    made.tips[RESULT] = "c1"
    return made


@pytest.fixture
def core(core, repositories):
    return dataclasses.replace(core, repositories=repositories)


@pytest.fixture
def swarm(scene):
    return scene.swarm("x", repo=repository.to_json(Terms("/repo", "base")))


async def landed_by(scene, core, end):
    """The runtime's part: ends the landing as soon as it may be done."""
    while (row := landings.next_open(scene.db)) is None:
        await core.store.bells.merges.ticket().wait()
    scene.do(lambda tx: landings.set_running(tx, row, "b1"))
    scene.do(partial(end, row=row))


def landed(tx, row):
    landings.landed(tx, row)


def refused(tx, row):
    landings.refused(tx, row, "It has changes: a.", hint="Commit.", paths=["a"])


async def test_it_waits_for_the_end(call, core, scene, swarm, nursery):
    nursery.start_soon(landed_by, scene, core, landed)
    found = await call("swarm.land", swarm=swarm)
    assert (found.state, found.onto, found.commit, found.before) == ("landed", "main", "c1", "b1")


async def test_a_refusal_is_an_error_with_the_paths(call, core, scene, swarm, nursery):
    nursery.start_soon(landed_by, scene, core, refused)
    with pytest.raises(errors.Conflict, match="It has changes") as caught:
        await call("swarm.land", swarm=swarm, onto="trunk")
    assert (caught.value.data, caught.value.hint) == ({"paths": ["a"]}, "Commit.")


async def merged_by(scene, core, state, **more):
    """The runtime's part: ends the merge that is queued."""
    while (row := merges.next_open(scene.db)) is None:
        await core.store.bells.merges.ticket().wait()
    assert (row.onto, row.commit_id, row.target) == ("main", "u1", RESULT)
    scene.do(lambda tx: merges.ended(tx, row, state, **more))


async def test_the_result_is_put_on_top_of_the_branch_first(call, core, scene, swarm, nursery, repositories):
    repositories.tips["main"] = "u1"
    nursery.start_soon(partial(merged_by, scene, core, "merged", result="c1 on u1"))
    nursery.start_soon(landed_by, scene, core, landed)
    found = await call("swarm.land", swarm=swarm, rebase=True)
    assert (found.state, found.onto, found.commit) == ("landed", "main", "c1 on u1")
    assert [row.onto for row in merges.page(scene.db, 99, swarm, "[]", 9)] == ["main"]


async def test_what_cannot_be_put_on_top_is_not_landed(call, core, scene, swarm, nursery, repositories):
    repositories.tips["main"] = "u1"
    told = partial(merged_by, scene, core, "conflict", problem="Both sides", paths=["f"])
    nursery.start_soon(told)
    with pytest.raises(errors.Conflict, match=r"merge m1: conflict\): Both sides") as caught:
        await call("swarm.land", swarm=swarm, rebase=True)
    assert caught.value.data == {"paths": ["f"]}
    assert landings.next_open(scene.db) is None
    repositories.tips.pop(RESULT)
    with pytest.raises(errors.Conflict, match="nothing of swarm aaaaaa was merged yet"):
        await call("swarm.land", swarm=swarm, rebase=True)


async def test_a_rebase_that_takes_long_goes_on_and_is_not_done_twice(
    call, scene, swarm, repositories, monkeypatch, autojump_clock
):
    repositories.tips["main"] = "u1"
    monkeypatch.setattr(service, "WAIT_S_MAX", 5.0)
    for _ in range(2):
        with pytest.raises(errors.DeadlinePassed, match="merge m1 goes on") as caught:
            await call("swarm.land", swarm=swarm, rebase=True)
    assert f"swarm.land {swarm} again" in caught.value.hint
    assert landings.next_open(scene.db) is None


async def test_one_that_takes_long_says_how_it_stands(call, swarm, monkeypatch, autojump_clock):
    monkeypatch.setattr(service, "WAIT_S_MAX", 5.0)
    before = trio.current_time()
    assert (await call("swarm.land", swarm=swarm)).state == "queued"
    assert trio.current_time() - before >= 5.0


async def test_a_gate_makes_an_orchestrator_wait_and_may_forbid(call, core, swarm, scene):
    await call("gate.set", name="trunk", kind="landing", pattern="ma*")
    asker = Caller("orchestrator", 1, key="claude")
    found = await service.land(core, asker, wire.LandSwarm(swarm=swarm))
    assert (found.state, found.approval) == ("waiting", "ap1")
    assert landings.next_open(scene.db) is None
    await call("approval.resolve", approvals=["ap1"], decision="allow")
    assert landings.next_open(scene.db).onto == "main"
    await call("gate.set", name="trunk", kind="landing", pattern="main", verdict="deny")
    with pytest.raises(errors.Forbidden, match="gate trunk forbids it"):
        await service.land(core, asker, wire.LandSwarm(swarm=swarm))
    assert len(scene.db.execute("SELECT * FROM landing").fetchall()) == 1


async def test_what_cannot_be_landed(call, swarm, repositories, scene):
    with pytest.raises(errors.InvalidParams, match="one of Dash's own branches"):
        await call("swarm.land", swarm=swarm, onto=f"dash/{swarm}/x")
    repositories.seen = dataclasses.replace(repositories.seen, head="")
    with pytest.raises(errors.InvalidParams, match="on no branch"):
        await call("swarm.land", swarm=swarm)
    repositories.tips.clear()
    with pytest.raises(errors.Conflict, match="nothing of swarm aaaaaa was merged yet") as caught:
        await call("swarm.land", swarm=swarm)
    assert "merge.enqueue" in caught.value.hint
    with pytest.raises(errors.Unsupported, match="on no repository"):
        await call("swarm.land", swarm=scene.swarm("x", swarm_id="bbbbbb"))


@pytest.mark.parametrize(("bare", "says"), [(True, "/repo is a bare repository"), (False, "is on no branch")])
async def test_where_no_branch_is_checked_out_one_has_to_be_named(
    call, repositories, swarm, scene, bare, says
):
    repositories.seen = dataclasses.replace(repositories.seen, head="", bare=bare)
    with pytest.raises(errors.InvalidParams, match=says) as caught:
        await call("swarm.land", swarm=swarm)
    assert f"dashctl swarm land {swarm} --onto main" in caught.value.hint
    assert ("It alone moves" in caught.value.hint) == bare
    assert landings.next_open(scene.db) is None
