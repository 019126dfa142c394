"""Refs that move only from where they were expected, and locks that a killed git has left."""

import pytest

from dashd.workspace import refs
from dashd.workspace.errors import GitFailed, RefMoved
from tests.workspace.world import World

REF = "refs/dash/salvage/a1"


async def test_a_ref_moves_from_where_it_was_expected(world: World):
    source, first = await world.source(), world.ref("HEAD")
    second = world.commit("second")
    await refs.update(source, REF, first, None)
    assert world.ref(REF) == first
    await refs.update(source, REF, second, first)
    assert world.ref(REF) == second


async def test_a_ref_elsewhere_is_not_touched(world: World):
    source, first = await world.source(), world.ref("HEAD")
    second = world.commit("second")
    third = world.commit("third")
    world.git("update-ref", REF, second)
    for old in (None, first):
        with pytest.raises(RefMoved) as caught:
            await refs.update(source, REF, third, old)
        assert (caught.value.expected, caught.value.found) == (old, second)
    assert world.ref(REF) == second


async def test_a_move_that_was_done_before_is_done(world: World):
    source, first = await world.source(), world.ref("HEAD")
    world.git("update-ref", REF, first)
    await refs.update(source, REF, first, None)


async def test_a_symbolic_ref_does_not_lead_elsewhere(world: World):
    """Otherwise a ref of ours could move a branch of the user's."""
    source, first = await world.source(), world.ref("HEAD")
    second = world.commit("second")
    world.git("symbolic-ref", REF, "refs/heads/main")
    await refs.update(source, REF, first, second)
    assert world.ref("refs/heads/main") == second
    assert world.ref(REF) == first


async def test_hooks_do_not_run(world: World):
    world.put(
        ".git/hooks/reference-transaction", f"#!/bin/sh\necho ran >> {world.canary}\n".encode(), mode=0o755
    )
    await refs.update(await world.source(), REF, world.ref("HEAD"), None)
    assert not world.canary.exists()


@pytest.mark.parametrize("packed", [False, True])
async def test_delete(world: World, packed: bool):
    source = await world.source()
    await refs.delete(source, REF)
    await refs.update(source, REF, world.ref("HEAD"), None)
    if packed:
        world.git("pack-refs", "--all")
    await refs.delete(source, REF)
    assert world.ref(REF) == ""
    assert world.ref("refs/heads/main")


async def test_only_refs_of_dash_are_deleted(world: World):
    with pytest.raises(AssertionError):
        await refs.delete(await world.source(), "refs/heads/main")


@pytest.mark.slow
async def test_a_lock_that_a_killed_git_left_on_a_ref_of_ours_goes(world: World):
    source = await world.source()
    world.put(f".git/{REF}.lock", b"")
    await refs.update(source, REF, world.ref("HEAD"), None)
    assert world.ref(REF)


@pytest.mark.slow
async def test_what_a_git_that_was_killed_as_it_deleted_has_left_goes(world: World, monkeypatch):
    """The ref itself had gone already."""
    monkeypatch.setattr(refs, "THEIR_LOCK_MS_MAX", 50)
    source = await world.source()
    locks = [world.put(f".git/{name}.lock", b"") for name in (REF, "packed-refs")]
    await refs.delete(source, REF)
    assert not any(lock.exists() for lock in locks)


async def test_a_lock_on_packed_refs_that_somebody_works_with_stays(world: World, monkeypatch):
    monkeypatch.setattr(refs, "THEIR_LOCK_MS_MAX", 50)
    source = await world.source()
    lock = world.put(".git/packed-refs.lock", b"")
    looks = []

    def look(paths):
        looks.append(real(paths))
        if len(looks) == 3:
            lock.write_bytes(b"x")
        return real(paths)

    real = refs._look
    monkeypatch.setattr(refs, "_look", look)
    await refs._outwait(refs._packed(source))
    assert lock.exists()
    assert len(looks) == 3


async def test_a_pin_is_where_it_is_wanted_whatever_was_left(world: World):
    source, first = await world.source(), world.ref("HEAD")
    second = world.commit("second")
    await refs.pin(source, REF, first)
    world.put(f".git/{REF}.lock", b"")
    await refs.pin(source, REF, second)
    assert world.ref(REF) == second
    with pytest.raises(AssertionError):
        await refs.pin(source, "refs/heads/main", first)


@pytest.mark.slow
async def test_a_lock_on_another_ref_stays(world: World):
    source, first = await world.source(), world.ref("HEAD")
    second = world.commit("second")
    lock = world.put(".git/refs/heads/main.lock", b"")
    with pytest.raises(GitFailed, match="File exists"):
        await refs.update(source, "refs/heads/main", first, second)
    assert lock.exists()


@pytest.mark.slow
async def test_a_lock_on_packed_refs_goes_only_if_it_was_left(world: World):
    source = await world.source()
    await refs.update(source, REF, world.ref("HEAD"), None)
    world.put(".git/packed-refs.lock", b"")
    await refs.delete(source, REF)
    assert world.ref(REF) == ""
    assert not (world.repo / ".git/packed-refs.lock").exists()


async def test_the_way_to_a_lock_follows_no_link(world: World):
    source = await world.source()
    outside = world.folder / "outside"
    outside.mkdir()
    (outside / "a1.lock").write_text("precious")
    world.put(".git/refs/dash/x", b"")
    (world.repo / ".git/refs/dash/salvage").symlink_to(outside)
    with pytest.raises(GitFailed):
        await refs.update(source, REF, world.ref("HEAD"), None)
    assert (outside / "a1.lock").exists()
