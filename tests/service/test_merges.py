"""`merge.*`."""

import pytest

from dashd.domain import repository
from dashd.domain.repository import Terms
from dashd.store import merges, workspaces
from dashd.wire import errors
from tests.fakes.scene import SWARM

A, B = f"{SWARM}-001", f"{SWARM}-002"


@pytest.fixture
def swarm(scene):
    """Two agents; the first has brought something back, the second nothing new."""
    scene.swarm("x", "y", agents_made=2, repo=repository.to_json(Terms("/repo", "base")))
    for owner, commit in ((A, "c1"), (B, "base")):

        def ready(tx, owner=owner, commit=commit):
            workspaces.begin(tx, owner, SWARM, "base")
            workspaces.set_ready(tx, owner, place="{}", path="/ws", branch=f"dash/{SWARM}/{owner}")
            workspaces.set_imported(tx, owner, commit, [])

        scene.do(ready)
    return SWARM


async def test_what_came_back_is_queued_once(call, swarm):
    made = await call("merge.enqueue", swarm=swarm, gates=[["make"]])
    assert [(row.worktree, row.target, row.commit, row.gates) for row in made.items] == [
        (A, f"dash/{swarm}/result", "c1", [["make"]])
    ]
    again = await call("merge.enqueue", swarm=swarm)
    assert (again.items, again.notes) == ([], [f"{A}: in the queue, or merged, already"])
    assert again.known == made.items
    named = await call("merge.enqueue", swarm=swarm, agents=[B, A], target=f"dash/{swarm}/try.1")
    assert [row.worktree for row in named.items] == [B, A]
    assert [row.ahead for row in named.items] == [0, 1]


async def test_the_same_key_queues_once(call, swarm):
    first = await call("merge.enqueue", swarm=swarm, idempotency_key="k")
    again = await call("merge.enqueue", swarm=swarm, idempotency_key="k")
    assert (again.deduplicated, again.items) == (True, first.items)


@pytest.mark.parametrize(
    "target",
    [
        "main",
        "dash/other/result",
        f"dash/{SWARM}/{A}",
        f"dash/{SWARM}/",
        f"dash/{SWARM}/a..b",
        f"dash/{SWARM}/x.lock",
        f"dash/{SWARM}/a b",
    ],
)
async def test_what_cannot_be_a_target(call, swarm, target):
    with pytest.raises((errors.InvalidParams, ValueError)):
        await call("merge.enqueue", swarm=swarm, target=target)


async def test_what_there_is_nothing_of(call, swarm, scene):
    with pytest.raises(errors.Conflict, match="nobody has brought nothing back"):
        await call("merge.enqueue", swarm=swarm, agents=["nobody"])
    scene.do(lambda tx: workspaces.set_imported(tx, A, "base", []))
    with pytest.raises(errors.Conflict, match="has brought anything back"):
        await call("merge.enqueue", swarm=swarm)
    plain = scene.swarm("x", swarm_id="bbbbbb")
    with pytest.raises(errors.Unsupported, match="on no repository"):
        await call("merge.enqueue", swarm=plain)


async def test_the_queue_is_shown_and_left(call, swarm, scene):
    await call("merge.enqueue", swarm=swarm)
    await call("merge.enqueue", swarm=swarm, agents=[B])
    assert [row.id for row in (await call("merge.list", swarm=swarm, limit=1)).items] == ["m2"]
    assert (await call("merge.list", limit=1)).next == 2
    assert (await call("merge.list", before=2)).items[0].id == "m1"
    cancelled = await call("merge.cancel", merge="m2")
    assert (cancelled.changed, cancelled.state) == (True, "queued")
    assert not (await call("merge.cancel", merge="m2")).changed
    scene.do(lambda tx: merges.ended(tx, merges.get(tx.db, "m1"), "conflict", problem="p", paths=["a"]))
    found = await call("merge.status", merge="m1")
    assert (found.state, found.files, found.problem) == ("conflict", ["a"], "p")
    assert not (await call("merge.cancel", merge="m1")).changed


async def test_where_a_target_is_about_to_be_is_not_said(call, swarm, scene):
    await call("merge.enqueue", swarm=swarm)
    scene.do(lambda tx: merges.set_running(tx, merges.get(tx.db, "m1"), "b"))
    scene.do(lambda tx: merges.set_intended(tx, merges.get(tx.db, "m1"), "r"))
    assert (await call("merge.status", merge="m1")).result is None
    scene.do(lambda tx: merges.ended(tx, merges.get(tx.db, "m1"), "merged", result="r"))
    assert (await call("merge.status", merge="m1")).result == "r"


async def test_a_queue_has_an_end(call, swarm, monkeypatch):
    from dashd.service import merges as service

    monkeypatch.setattr(service, "QUEUE_MAX", 1)
    await call("merge.enqueue", swarm=swarm)
    with pytest.raises(errors.Conflict, match="merges wait already"):
        await call("merge.enqueue", swarm=swarm, agents=[B])
