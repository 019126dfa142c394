"""The queue: what each end of a merge leads to, and a cancel that may come too late."""

import pytest
import trio

from dashd.domain import repository
from dashd.runtime import merger
from dashd.store import merges
from dashd.workspace.errors import GateFailed, GitFailed, MergeConflict
from tests.fakes.scene import SWARM
from tests.fakes.trees import TERMS

RESULT = f"dash/{SWARM}/result"


@pytest.fixture
def trees(bed):
    bed.scene.swarm("x", repo=repository.to_json(TERMS))
    return bed.world.workspaces


def enqueue(bed, commit="c1", gates=()):
    return bed.scene.do(
        lambda tx: merges.enqueue(
            tx, swarm=SWARM, owner=f"{SWARM}-001", target=RESULT, commit=commit, gates=gates, asked_by="me"
        )
    )


def row(bed, merge="m1"):
    return merges.get(bed.store.db, merge)


async def test_one_after_the_other(bed, trees, autojump_clock):
    enqueue(bed, "c1", [["make", "test"]])
    enqueue(bed, "c2")
    bed.nursery.start_soon(merger.run, bed.world)
    await bed.until("merge.merged", 2)
    assert [more["commit"] for more in trees.more] == ["c1", "c2"]
    (gate,) = trees.more[0]["gates"]
    assert (gate.argv, gate.env) == (("make", "test"), {"PATH": "/usr/bin:/bin"})
    assert (row(bed).before, row(bed).result, row(bed, "m2").before) == (None, "c1", "c1")


@pytest.mark.parametrize(
    ("error", "state", "says"),
    [
        (MergeConflict("Both sides changed", ["a", "bad\udcff"]), "conflict", "Both sides changed"),
        (GateFailed(["make"], 3, "it broke"), "failed", "it broke"),
        (GitFailed("no space"), "failed", "no space"),
    ],
)
async def test_what_goes_wrong_is_told_and_the_next_has_its_turn(
    bed, trees, autojump_clock, error, state, says
):
    enqueue(bed)
    enqueue(bed, "c2")
    trees.refusals["merge"] = error
    bed.nursery.start_soon(merger.run, bed.world)
    await bed.until(f"merge.{state}", 2)
    assert says in row(bed).problem
    assert row(bed).paths == ('["a","bad\\\\xff"]' if state == "conflict" else "[]")
    assert row(bed).result is None


async def test_the_target_is_put_on_top_of_the_users_branch_behind_the_gates_of_its_merges(
    bed, trees, autojump_clock
):
    enqueue(bed, "c1", [["make"], ["make", "test"]])
    enqueue(bed, "c2", [["make"], ["lint"]])
    bed.nursery.start_soon(merger.run, bed.world)
    await bed.until("merge.merged", 2)
    made = bed.scene.do(
        lambda tx: merges.enqueue_rebase(
            tx, swarm=SWARM, target=RESULT, onto="main", commit="u1", asked_by="me"
        )
    )
    await bed.until("merge.merged", 3)
    assert trees.asked[-1] == ("rebase", made.id)
    assert trees.more[-1]["onto"] == "u1"
    assert [gate.argv for gate in trees.more[-1]["gates"]] == [("make",), ("make", "test"), ("lint",)]
    assert (row(bed, made.id).before, row(bed, made.id).result) == ("c2", "c2 on u1")


async def test_a_repository_that_is_gone_is_a_failure(bed, trees, autojump_clock):
    enqueue(bed)
    trees.refuse("tip", "it is no repository")
    bed.nursery.start_soon(merger.run, bed.world)
    assert (await bed.until("merge.failed"))["data"]["why"] == "it is no repository"


async def test_one_that_waits_is_taken_out(bed, trees, autojump_clock):
    enqueue(bed)
    bed.scene.do(lambda tx: merges.want_cancelled(tx, merges.get(tx.db, "m1")))
    bed.nursery.start_soon(merger.run, bed.world)
    await bed.until("merge.cancelled")
    assert trees.asked == []


@pytest.mark.parametrize("moved_by_us", [False, True])
async def test_one_that_runs_is_let_go_unless_it_has_moved_its_target(
    bed, trees, autojump_clock, moved_by_us
):
    enqueue(bed)
    setattr(trees, "moved" if moved_by_us else "merging", trio.Event())  # nobody sets it
    bed.nursery.start_soon(merger.run, bed.world)
    with trio.fail_after(60):
        while RESULT not in trees.tips if moved_by_us else ("merge", "m1") not in trees.asked:
            await trio.testing.wait_all_tasks_blocked()
    bed.scene.do(lambda tx: merges.want_cancelled(tx, merges.get(tx.db, "m1")))
    await bed.until("merge.merged" if moved_by_us else "merge.cancelled")
    assert trees.asked.count(("merge", "m1")) == 1
    assert row(bed).result == ("c1" if moved_by_us else None)


async def test_a_target_that_somebody_else_has_moved_does_not_make_a_cancelled_merge_merged(
    bed, trees, autojump_clock
):
    enqueue(bed, "c1", [["make"]])
    trees.merging = trio.Event()  # the gate does not end
    bed.nursery.start_soon(merger.run, bed.world)
    with trio.fail_after(60):
        while ("merge", "m1") not in trees.asked:
            await trio.testing.wait_all_tasks_blocked()
    trees.tips[RESULT] = "c1"
    bed.scene.do(lambda tx: merges.want_cancelled(tx, merges.get(tx.db, "m1")))
    await bed.until("merge.cancelled")
    assert trees.asked.count(("merge", "m1")) == 1


@pytest.mark.parametrize("tip", ["c1", "c9"])
async def test_after_a_death_a_target_that_it_has_not_moved_goes_behind_the_gates(
    bed, trees, autojump_clock, tip
):
    made = enqueue(bed, "c1", [["make"]])
    bed.scene.do(lambda tx: merges.set_running(tx, made, None))
    if tip == "c9":
        bed.scene.do(lambda tx: merges.set_intended(tx, made, "c1"))
    trees.tips[RESULT] = tip
    bed.nursery.start_soon(merger.run, bed.world)
    await bed.until("merge.merged")
    assert [gate.argv for gate in trees.more[0]["gates"]] == [("make",)]


async def test_a_death_takes_the_same_merge_up_again(bed, trees, autojump_clock):
    made = enqueue(bed)
    bed.scene.do(lambda tx: merges.set_running(tx, made, "b"))
    bed.scene.do(lambda tx: merges.set_intended(tx, made, "c1"))
    trees.tips[RESULT] = "c1"  # it had moved, and nobody wrote it down
    bed.nursery.start_soon(merger.run, bed.world)
    await bed.until("merge.merged")
    assert (row(bed).result, row(bed).before, trees.asked) == ("c1", "b", [])
