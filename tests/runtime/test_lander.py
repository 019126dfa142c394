"""Landings: done or refused, and taken up again after a death."""

import pytest

from dashd.domain import repository
from dashd.runtime import lander
from dashd.store import landings
from dashd.workspace.errors import CheckoutNotClean, NotAhead
from tests.fakes.scene import SWARM
from tests.fakes.trees import TERMS


@pytest.fixture
def trees(bed):
    bed.scene.swarm("x", repo=repository.to_json(TERMS))
    bed.world.workspaces.tips["main"] = "b"
    return bed.world.workspaces


def ask(bed):
    def operation(tx):
        row = landings.insert(tx, swarm=SWARM, onto="main", commit="c", asked_by="me")
        landings.queue(tx, row.number)
        return row

    return bed.scene.do(operation)


async def test_it_is_landed(bed, trees, autojump_clock):
    ask(bed)
    bed.nursery.start_soon(lander.run, bed.world)
    event = await bed.until("swarm.landed")
    assert event["data"] == {"target": "main", "commit": "c", "before": "b", "by": "me"}
    assert trees.tips["main"] == "c"


async def test_a_checkout_that_is_not_clean_is_refused_with_its_paths(bed, trees, autojump_clock):
    row = ask(bed)
    trees.refusals["land"] = CheckoutNotClean("It has changes", ["a", "b"], hint="Commit them.")
    bed.nursery.start_soon(lander.run, bed.world)
    while landings.get(bed.store.db, row.number).state != "refused":
        await bed.store.bells.merges.ticket().wait()
    found = landings.get(bed.store.db, row.number)
    assert (found.paths, found.hint, trees.tips["main"]) == ('["a","b"]', "Commit them.", "b")
    assert "swarm.landed" not in bed.scene.kinds()


async def test_a_branch_that_has_moved_on_is_told_with_the_next_step(bed, trees, autojump_clock):
    row = ask(bed)
    trees.refusals["land"] = NotAhead("main has commits that c has not.")
    bed.nursery.start_soon(lander.run, bed.world)
    while landings.get(bed.store.db, row.number).state != "refused":
        await bed.store.bells.merges.ticket().wait()
    hint = landings.get(bed.store.db, row.number).hint
    assert hint.startswith(f"swarm.land {SWARM} --onto main --rebase (rebase: true) puts the result")


async def test_after_a_death_it_says_where_the_branch_was(bed, trees, autojump_clock):
    row = ask(bed)
    bed.scene.do(lambda tx: landings.set_running(tx, row, "b"))
    trees.tips["main"] = "c"  # it had moved, and nobody wrote it down
    bed.nursery.start_soon(lander.run, bed.world)
    assert (await bed.until("swarm.landed"))["data"]["before"] == "b"
