"""`worktree.*` and `agent.diff`: written down, waited for, answered by how it came out."""

import dataclasses

import pytest
import trio

from dashd.domain import repository
from dashd.domain.repository import Terms
from dashd.service import ports
from dashd.service import worktrees as service
from dashd.store import workspaces
from dashd.store.workspaces import Changed
from dashd.wire import errors
from tests.fakes import absent
from tests.fakes.scene import SWARM

A = f"{SWARM}-001"


@pytest.fixture
def swarm(scene):
    return scene.swarm("x", repo=repository.to_json(Terms("/repo", "base")))


def ready(scene, owner=A):
    def operation(tx):
        workspaces.begin(tx, owner, SWARM, "base")
        workspaces.set_ready(tx, owner, place="{}", path="/ws", branch="dash/x")

    scene.do(operation)


async def serves(scene, core, end):
    """The runtime's part: does what is wanted first."""
    while (row := scene.do(workspaces.next_wanted)) is None:
        await core.store.bells.workspaces.ticket().wait()
    end(row)


async def test_a_cleanup_is_waited_for(call, core, scene, swarm, nursery):
    ready(scene)
    seen = []

    def end(row):
        seen.append((row.owner, row.wanted))
        scene.do(lambda tx: workspaces.set_saved(tx, A, "s1", {}))
        scene.do(lambda tx: workspaces.set_removed(tx, A))

    nursery.start_soon(serves, scene, core, end)
    (found,) = (await call("worktree.cleanup", swarm=swarm, give_up=True)).items
    assert (found.id, found.state, found.salvage, seen) == (A, "removed", "s1", [(A, "give-up")])
    assert found.removed_at is not None
    assert (await call("worktree.cleanup", worktree=A)).items[0].state == "removed"  # nothing to wait for
    with pytest.raises(errors.Conflict, match="is gone") as caught:
        await call("worktree.salvage", worktree=A)
    assert "s1" in caught.value.hint


async def test_what_stays_says_why(call, core, scene, swarm, nursery):
    ready(scene)
    nursery.start_soon(
        serves, scene, core, lambda row: scene.do(lambda tx: workspaces.set_kept(tx, A, "the disk is full"))
    )
    (found,) = (await call("worktree.salvage", worktree=A)).items
    assert (found.state, found.problem) == ("ready", "the disk is full")


async def test_one_is_made_ahead_and_only_where_it_makes_sense(call, core, scene, swarm, nursery):
    def end(row):
        assert row.wanted == "make"
        ready(scene)
        scene.do(lambda tx: workspaces.set_kept(tx, A, ""))

    nursery.start_soon(serves, scene, core, end)
    assert (await call("worktree.create", agent=A)).items[0].state == "ready"
    assert (await call("worktree.create", agent=A)).items[0].state == "ready"
    scene.run("succeeded")
    with pytest.raises(errors.SwarmEnded):
        await call("worktree.create", agent=A)


async def test_nobody_is_disturbed_at_work(call, scene, swarm):
    ready(scene)
    scene.claim()
    for method in ("worktree.cleanup", "worktree.salvage"):
        with pytest.raises(errors.Conflict, match="somebody works in worktree"):
            await call(method, worktree=A)
    for given in ({}, {"worktree": A, "swarm": swarm}):
        with pytest.raises(errors.InvalidParams, match="name a worktree, or a swarm"):
            await call("worktree.cleanup", **given)
    with pytest.raises(errors.NotFound):
        await call("worktree.cleanup", worktree="nobody")


async def test_a_shared_one_is_worked_in_by_all(call, scene):
    terms = Terms("/repo", "base", workspace="swarm")
    scene.swarm("x", repo=repository.to_json(terms))
    ready(scene, SWARM)
    scene.claim()
    with pytest.raises(errors.Conflict, match="somebody works in"):
        await call("worktree.cleanup", worktree=SWARM)


async def test_it_does_not_wait_for_ever(call, scene, swarm, monkeypatch, autojump_clock):
    monkeypatch.setattr(service, "WAIT_S_MAX", 5.0)
    ready(scene)
    before = trio.current_time()
    assert (await call("worktree.salvage", worktree=A)).items[0].state == "ready"
    assert trio.current_time() - before >= 5.0


async def test_the_list(call, scene, swarm):
    ready(scene)
    scene.do(
        lambda tx: workspaces.set_imported(
            tx, A, "c1", [Changed("a", "added"), Changed("Makefile", "added", ("build script",))]
        )
    )
    page = await call("worktree.list", swarm=swarm, limit=1)
    (found,) = page.items
    assert (found.files, found.flagged, found.commit, found.branch) == (2, ["Makefile"], "c1", "dash/x")
    assert page.next_cursor
    assert (await call("worktree.list", cursor=page.next_cursor)).items == []
    assert (await call("worktree.list", states=["removed"])).items == []
    with pytest.raises(errors.UnknownSwarm):
        await call("worktree.list", swarm="nope")


async def test_a_diff(core, caller, scene, swarm):
    from dashd.wire.methods import worktree as wire

    class Repositories(absent.NoRepositories):
        async def diff(self, owner, patch_bytes_max, files_max):
            assert (owner, patch_bytes_max, files_max) == (A, 10, 200)
            file = ports.FileSeen("Makefile", "added", 1, 0, "", ("build script",))
            return ports.DiffSeen("base", [file], 0, ("inner",), "diff", cut=True)

    seeing = dataclasses.replace(core, repositories=Repositories())
    found = await service.diff(seeing, caller, wire.DiffAgent(agent=A, patch_bytes=10))
    assert (found.files[0].flags, found.nested, found.patch_cut) == (["build script"], ["inner"], True)
    with pytest.raises(errors.Conflict, match="is not there"):
        await service.diff(core, caller, wire.DiffAgent(agent=A))


async def test_a_clone_that_is_gone_was_not_saved_as_none(call, scene, swarm):
    ready(scene)
    scene.do(lambda tx: workspaces.set_removed(tx, A))
    with pytest.raises(errors.Conflict) as caught:
        await call("worktree.salvage", worktree=A)
    assert caught.value.hint == "there is nothing of it"
    scene.do(lambda tx: workspaces.set_imported(tx, A, "c1", []))
    with pytest.raises(errors.Conflict) as caught:
        await call("worktree.salvage", worktree=A)
    assert caught.value.hint == "all of it was in branch dash/x"


async def test_a_diff_of_what_is_gone_is_that_of_what_it_has_left(core, caller, scene, swarm):
    from dashd.wire.methods import worktree as wire

    class Repositories(absent.NoRepositories):
        async def diff_kept(self, repo, base, commit, patch_bytes_max, files_max, *, salvage, granted=()):
            patch = f"{repo} {commit} {patch_bytes_max} {salvage}"
            return ports.DiffSeen(base, [], 0, (), patch, cut=False)

    seeing = dataclasses.replace(core, repositories=Repositories())
    ready(scene)
    scene.do(lambda tx: workspaces.set_saved(tx, A, "s1", {}))
    found = await service.diff(seeing, caller, wire.DiffAgent(agent=A, patch_bytes=10))
    assert (found.base, found.patch) == ("base", "/repo s1 10 True")
    scene.do(lambda tx: workspaces.set_imported(tx, A, "c1", []))
    found = await service.diff(seeing, caller, wire.DiffAgent(agent=A, patch_bytes=10))
    assert found.patch == "/repo c1 10 False"
