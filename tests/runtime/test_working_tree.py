"""An attempt's tree: made before its launch, taken in before its end, left as it is after a bad one."""

import json

import pytest
import trio

from dashd.domain import repository
from dashd.domain import scope as scopes
from dashd.domain.attempt import Ending
from dashd.jail.view import Folder
from dashd.runtime.jails import view_of
from dashd.store import agents, attempts, session_moves, sessions, stops, workspaces
from dashd.workspace.adding import Left
from tests.fakes.scene import SWARM
from tests.fakes.trees import BASE, COMMIT, TERMS, FakeWorkspaces

SEAT = f"{SWARM}-001"


@pytest.fixture
def trees(bed, tmp_path) -> FakeWorkspaces:
    return bed.world.workspaces


def swarm(bed, *items: str, terms=TERMS, **row):
    scope = scopes.to_json(scopes.parse(write=["src"], read=["."], root="/repo"))
    return bed.scene.swarm(*items, repo=repository.to_json(terms), cwd="/repo/src", scope=scope, **row)


def row(bed, owner=SEAT):
    return workspaces.get(bed.store.db, owner)


async def test_it_is_made_and_taken_in(bed, trees, autojump_clock):
    swarm(bed, "x")
    bed.go()
    holder = await bed.running(f"{SWARM}-t1.1")
    assert bed.launcher.specs[0].cwd == f"{trees.root}/repo-dash-{SEAT}/src"
    assert (row(bed).state, json.loads(row(bed).place)["agent"]) == ("ready", SEAT)
    holder.exits(0)
    await bed.until("swarm.completed")
    assert trees.asked == [("make", SEAT), ("take_in", SEAT)]
    assert trees.more[1]["all_of_it"]
    assert f"Task: {SWARM}-t1" in trees.more[1]["message"]
    assert (row(bed).imported, workspaces.changed_of(row(bed))[0].path) == (COMMIT, "Makefile")


async def test_a_failed_attempt_keeps_its_tree_and_the_next_works_in_it(bed, trees, autojump_clock):
    swarm(bed, "x", retries=1)
    bed.go()
    (await bed.running(f"{SWARM}-t1.1")).exits(1)
    holder = await bed.running(f"{SWARM}-t1.2")
    assert trees.asked == [("make", SEAT), ("make", SEAT)]
    assert bed.scene.kinds().count("worktree.created") == 1
    holder.exits(1)
    await bed.until("swarm.failed")
    assert row(bed).imported is None


async def test_what_cannot_be_made_is_a_failure_with_a_reason_code(bed, trees, autojump_clock):
    swarm(bed, "x", retries=0)
    trees.refuse("make", "no space")
    bed.go()
    await bed.until("task.dead")
    assert bed.scene.task().cause == "workspace_failed: no space"
    assert bed.launcher.specs == []


async def test_what_cannot_be_brought_back_is_no_success(bed, trees, autojump_clock):
    swarm(bed, "x", retries=0)
    trees.refuse("take_in", "its .git is broken")
    bed.go()
    (await bed.running(f"{SWARM}-t1.1")).exits(0)
    await bed.until("task.dead")
    assert "import_failed: its .git is broken" in bed.scene.task().cause


async def test_a_stop_does_not_wait_for_a_workspace(bed, trees, autojump_clock):
    swarm(bed, "x")
    trees.gate = trio.Event()
    bed.go()
    with trio.fail_after(60):
        while not trees.asked:
            await trio.testing.wait_all_tasks_blocked()
        bed.scene.do(lambda tx: stops.kill(tx, agents.get(tx.db, SEAT), requeue=False))
        await bed.until("agent.killed")
    assert bed.launcher.specs == []


async def test_only_the_last_one_in_a_shared_tree_commits_for_others(bed, trees, autojump_clock):
    terms = repository.Terms("/repo", BASE, workspace="swarm")
    swarm(bed, "x", "y", terms=terms, agents_made=2)
    bed.go()
    first, second = await bed.running(f"{SWARM}-t1.1"), await bed.running(f"{SWARM}-t2.1")
    first.exits(0)
    await bed.until("task.completed")
    second.exits(0)
    await bed.until("swarm.completed")
    took = [
        more["all_of_it"]
        for (verb, _), more in zip(trees.asked, trees.more, strict=True)
        if verb == "take_in"
    ]
    assert took == [False, True]
    assert {owner for _, owner in trees.asked} == {SWARM}


async def test_its_walls_leave_open_what_git_needs(bed, trees, autojump_clock):
    swarm(bed, "x", walls="required")
    claim = bed.claim()
    from dashd.runtime.run import Run

    run = Run(bed.world, claim)
    await run.prepare()
    assert await run._enter_tree() is None
    top = f"{trees.root}/repo-dash-{SEAT}"
    seen = view_of(run.plan.asked, run.plan.work.cwd, {})
    assert {folder.at for folder in seen.write} == {f"{top}/src", f"{top}/.git"}
    assert seen.alone == top
    assert Folder("/repo/.git/objects") in seen.read
    assert Folder("/repo/node_modules", "", f"{top}/node_modules") in seen.read
    assert (seen.cwd, trees.more[0]["base"]) == (f"{top}/src", BASE)
    async with run._tree.leaving(Ending("succeeded", "exit code 0"), "x") as (ending, _):
        assert ending.state == "succeeded"
        assert trees.lock(SEAT).locked()
    assert trees.more[-1]["within"] == ("src",)


async def test_in_a_shared_tree_the_last_one_takes_in_what_is_there_even_where_it_failed(
    bed, trees, autojump_clock
):
    terms = repository.Terms("/repo", BASE, workspace="swarm")
    swarm(bed, "x", "y", terms=terms, agents_made=2, retries=0)
    bed.go()
    first, second = await bed.running(f"{SWARM}-t1.1"), await bed.running(f"{SWARM}-t2.1")
    first.exits(0)
    await bed.until("task.completed")
    second.exits(1)
    await bed.until("swarm.completed")
    assert [verb for verb, _ in trees.asked] == ["make", "make", "take_in", "take_in"]
    assert (trees.more[-1]["all_of_it"], row(bed, SWARM).imported) == (True, COMMIT)


async def test_a_repository_that_an_agent_made_is_named_and_flagged(bed, trees, autojump_clock):
    trees.nested = ("vendor",)
    trees.left = (Left(b"\xff", "modified", "it cannot be read"),)
    swarm(bed, "x")
    bed.go()
    (await bed.running(f"{SWARM}-t1.1")).exits(0)
    await bed.until("swarm.completed")
    first, left, made = workspaces.changed_of(row(bed))
    assert (first.path, left.path, made.path) == ("vendor/.git", "\\xff", "Makefile")
    where = f"not in the branch, but in the clone and refs/dash/salvage/{SEAT}"
    assert first.flags == (f"a repository of its own: {where}",)
    assert left.flags == (f"it cannot be read: {where}",)


@pytest.mark.parametrize("shared", [False, True])
async def test_where_a_moved_session_leaves_its_files_behind_its_successor_is_told(
    bed, trees, autojump_clock, shared
):
    """Because they cannot be brought back; or because others still work where they are."""
    terms = repository.Terms("/repo", BASE, workspace="swarm") if shared else TERMS
    swarm(bed, *("xy" if shared else "x"), terms=terms, agents_made=2, retries=0)
    bed.go()
    holder = await bed.running(f"{SWARM}-t1.1")
    if shared:
        await bed.running(f"{SWARM}-t2.1")
    trees.refuse("take_in", "its .git is broken.")
    owner = SWARM if shared else SEAT
    bed.scene.swarm("w", swarm_id="other1", repo=repository.to_json(TERMS), cwd="/repo", state="paused")
    attempt = attempts.get(bed.store.db, f"{SWARM}-t1.1")

    def migrated(tx):
        sessions.opened(tx, attempt.launch_id, attempt, SWARM, "command")
        tx.execute("UPDATE task SET pinned_to = 'other1-001', text = 'go on' WHERE id = 'other1-t1'")
        workspaces.start_with(tx, "other1-001", owner)
        session_moves.begin(tx, attempt.launch_id, "other1-t1", copied=False)
        stops.kill(tx, agents.get(tx.db, attempt.agent_id), requeue=False)

    bed.scene.do(migrated)
    holder.exits(None, sig=9)
    await bed.until("agent.killed")
    why = "others still work in it" if shared else "its .git is broken"
    told = bed.scene.task(1, "other1").text
    assert f"its clone begins at {BASE[:12]}; what {owner} has done is in the clone of {owner}" in told
    assert told.endswith(f"and could not be brought back ({why}).")
