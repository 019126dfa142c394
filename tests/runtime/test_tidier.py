"""Saved, then removed, in that order whatever happens; what an agent runs in is left alone."""

import pytest

from dashd.domain import repository
from dashd.domain.repository import Terms
from dashd.runtime import tidier
from dashd.store import audit, workspaces
from dashd.workspace.tree import Unsaved
from tests.fakes.scene import SWARM
from tests.fakes.trees import BASE, COMMIT, TERMS

SEAT = f"{SWARM}-001"


@pytest.fixture
def trees(bed):
    return bed.world.workspaces


async def ended(bed, *, code=0, terms=TERMS, **row):
    """A swarm on a repository that has run to its end."""
    bed.scene.swarm("x", repo=repository.to_json(terms), retries=0, **row)
    bed.go()
    bed.nursery.start_soon(tidier.run, bed.world)
    (await bed.running(f"{SWARM}-t1.1")).exits(code)
    await bed.until("swarm.completed" if code == 0 else "swarm.failed")


def row(bed):
    return workspaces.get(bed.store.db, SEAT)


async def settled(bed):
    """Returns once nothing is wanted of any workspace."""
    while row(bed).wanted or row(bed).due_ms is not None:
        await bed.store.bells.workspaces.ticket().wait()


def want(bed, wanted):
    bed.scene.do(lambda tx: workspaces.want(tx, workspaces.get(tx.db, SEAT), wanted, "asked for"))


async def test_what_succeeded_is_removed_at_its_swarms_end(bed, trees, autojump_clock):
    await ended(bed)
    event = await bed.until("worktree.removed")
    assert trees.asked[2:] == [("save", SEAT), ("remove", SEAT)]
    assert event["data"]["imported"] == COMMIT
    assert "worktree.salvaged" not in bed.scene.kinds()  # all of it was in the repository


async def test_what_failed_stays_until_it_is_asked_for(bed, trees, autojump_clock):
    trees.imported = False
    await ended(bed, code=1)
    assert (row(bed).state, trees.asked) == ("ready", [("make", SEAT)])
    want(bed, "save")
    assert (await bed.until("worktree.salvaged"))["data"]["files"] == 3
    await settled(bed)
    assert row(bed).state == "ready"
    want(bed, "remove")
    await bed.until("worktree.removed")
    kinds = [kind for kind in bed.scene.kinds() if kind.startswith("worktree.")]
    assert kinds == ["worktree.created", "worktree.salvaged", "worktree.removed"]


async def test_what_cannot_be_saved_is_not_removed(bed, trees, autojump_clock):
    trees.refuse("save", "the disk is full")
    await ended(bed)
    await settled(bed)
    assert (row(bed).state, row(bed).problem) == ("ready", "the disk is full")
    assert "remove" not in [verb for verb, _ in trees.asked]
    del trees.refusals["save"]
    want(bed, "give-up")
    await bed.until("worktree.removed")
    assert trees.more[-1] == {"give_up": True}


async def test_a_delayed_cleanup_comes_by_the_clock(bed, trees, autojump_clock):
    await ended(bed, terms=Terms("/repo", BASE, cleanup="delayed", cleanup_after_s=3_600))
    at_ms = bed.world.clock.now_ms()
    await bed.until("worktree.removed")
    assert bed.world.clock.now_ms() - at_ms >= 3_600_000


async def test_a_tree_that_is_run_in_is_left_alone(bed, trees, autojump_clock):
    bed.scene.swarm("x", repo=repository.to_json(TERMS))
    bed.go()
    bed.nursery.start_soon(tidier.run, bed.world)
    await bed.running(f"{SWARM}-t1.1")
    want(bed, "remove")
    await settled(bed)
    assert "an agent works in it" in row(bed).problem
    assert trees.asked == [("make", SEAT)]


async def test_what_somebody_took_away_is_told_as_removed(bed, trees, autojump_clock):
    await ended(bed, code=1)
    trees.there.clear()
    want(bed, "remove")
    await bed.until("worktree.removed")
    want(bed, "remove")
    await settled(bed)
    assert trees.asked == [("make", SEAT)]


async def test_it_can_be_made_ahead(bed, trees, autojump_clock):
    bed.scene.swarm(repo=repository.to_json(TERMS))
    bed.scene.do(lambda tx: workspaces.begin(tx, SEAT, SWARM, BASE))
    want(bed, "make")
    bed.nursery.start_soon(tidier.run, bed.world)
    await bed.until("worktree.created")
    await settled(bed)
    assert row(bed).state == "ready"
    trees.refuse("make", "no")
    want(bed, "make")
    await settled(bed)
    assert row(bed).problem == "no"


async def test_a_death_right_after_the_clone_loses_nothing(bed, trees, autojump_clock):
    bed.scene.swarm(repo=repository.to_json(TERMS))
    bed.scene.do(lambda tx: workspaces.begin(tx, SEAT, SWARM, BASE))
    await trees.make(SEAT, SWARM, TERMS, BASE, alone=True)  # and the row says `creating`
    want(bed, "remove")
    bed.nursery.start_soon(tidier.run, bed.world)
    await bed.until("worktree.removed")
    assert trees.asked[1:] == [("save", SEAT), ("remove", SEAT)]


BIG = Unsaved("data/big.bin", "file", 300 << 20, "larger than 32 MiB")


async def test_what_was_given_up_is_told_and_on_record(bed, trees, autojump_clock):
    trees.imported, trees.unsaved = False, (Unsaved("fifo", "fifo", 0, "a FIFO"), BIG, BIG)
    await ended(bed, code=1)
    want(bed, "give-up")
    event = await bed.until("worktree.removed")
    assert (event["data"]["given_up"], event["data"]["first"]) == (2, ["data/big.bin", "data/big.bin"])
    await settled(bed)
    assert row(bed).problem.startswith("given up, and lost: data/big.bin (file, 314572800 bytes: larger")
    assert row(bed).problem.endswith(", and 1 more")
    (noted,) = [each for each in audit.after(bed.store.db, 0, 99) if each.action == "worktree.removed"]
    assert (noted.subject, "data/big.bin" in noted.data) == (SEAT, True)


async def test_nothing_is_said_to_be_given_up_where_all_is_saved(bed, trees, autojump_clock):
    trees.imported = False
    await ended(bed, code=1)
    want(bed, "give-up")
    assert "given_up" not in (await bed.until("worktree.removed"))["data"]
    assert row(bed).problem == ""


async def test_a_salvage_that_is_not_whole_says_what_it_lacks(bed, trees, autojump_clock):
    trees.imported, trees.unsaved = False, (BIG,)
    await ended(bed, code=1)
    want(bed, "save")
    await bed.until("worktree.salvaged")
    await settled(bed)
    assert row(bed).problem.startswith("not in its salvage: data/big.bin")
