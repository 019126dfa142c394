"""What may be removed, and what proves it."""

import dataclasses
import os
import shutil

import pytest

from dashd.workspace import bundle, place, removal, salvage
from dashd.workspace.errors import NotSaved, OutsideRoot
from dashd.workspace.tree import Limits
from tests.workspace.world import AT_MS, World, picture


async def test_what_is_saved_can_go(world: World):
    made = await world.workspace()
    world.put("new", b"x", within=made.path)
    await salvage.salvage(made, at_ms=AT_MS)
    assert await removal.remove(made) == ""
    assert os.listdir(world.root) == [".dash", ".spool"] or sorted(os.listdir(world.root)) == [
        ".dash",
        ".spool",
    ]
    assert place.read_records(world.root) == []
    assert world.ref(made.base_ref) == ""
    assert world.git("show", f"{made.salvage_ref}:new") == "x"


@pytest.mark.parametrize("change", ["edit", "new", "delete", "mode", "folder", "staged", "commit", "never"])
async def test_what_is_not_saved_stays(world: World, change: str):
    made = await world.workspace()
    world.put("kept", b"x", within=made.path)
    if change != "never":
        await salvage.salvage(made, at_ms=AT_MS)
    if change == "edit":
        world.put("kept", b"y", within=made.path)
    elif change == "new":
        world.put("more", b"y", within=made.path)
    elif change == "delete":
        (made.path / "README").unlink()
    elif change == "mode":
        (made.path / "kept").chmod(0o755)
    elif change == "folder":
        (made.path / "hollow").mkdir()
    elif change == "staged":
        world.git("add", "kept", cwd=made.path)
    elif change == "commit":
        world.commit("work", cwd=made.path)
    before = picture(made.path)
    with pytest.raises(NotSaved):
        await removal.remove(made)
    assert picture(made.path) == before
    assert place.read_records(world.root) == [made]
    assert world.ref(made.base_ref)


async def test_what_a_salvage_only_lists_is_given_up_by_word_alone(world: World):
    made = await world.workspace()
    world.put("big", b"x" * 5000, within=made.path)
    limits = Limits(file_bytes_max=1000)
    await salvage.salvage(made, at_ms=AT_MS, limits=limits)
    with pytest.raises(NotSaved, match="'big': it is larger than 1000 bytes"):
        await removal.remove(made, limits=limits)
    await removal.remove(made, limits=limits, accept_unsaved=True)
    assert not made.path.exists()


async def test_a_fifo_is_nothing_to_lose(world: World):
    made = await world.workspace()
    os.mkfifo(made.path / "fifo")
    await salvage.salvage(made, at_ms=AT_MS)
    await removal.remove(made)


async def test_a_tree_that_is_an_imported_commit_needs_no_salvage(world: World):
    made = await world.workspace()
    world.put("new", b"x", within=made.path)
    world.commit("work", cwd=made.path)
    assert not await removal.is_imported(made)
    await bundle.bring_back(made)
    assert await removal.is_imported(made)
    await removal.remove(made)
    assert world.git("show", f"{made.branch}:new") == "x"
    assert world.ref(made.salvage_ref) == ""


@pytest.mark.parametrize(
    "change", ["file", "ignored", "commit", "branch", "stash", "staged", "amended", "nested"]
)
async def test_a_tree_with_anything_else_is_no_imported_commit(world: World, change: str):
    made = await world.workspace()
    world.put(".gitignore", b"built\n", within=made.path)
    world.commit("work", cwd=made.path)
    await bundle.bring_back(made)
    at = made.path
    if change in ("file", "ignored", "stash", "staged"):
        world.put("built" if change == "ignored" else "README", b"x", within=at)
    if change == "commit":
        world.commit("more", cwd=at)
    elif change == "branch":
        world.git("checkout", "--quiet", "-b", "other", cwd=at)
        world.commit("more", cwd=at)
        world.git("checkout", "--quiet", "-", cwd=at)
    elif change == "stash":
        world.git("stash", "--quiet", cwd=at)
    elif change == "staged":
        world.git("add", "README", cwd=at)
        world.put("README", b"hello\n", within=at)
    elif change == "amended":
        world.commit("more", cwd=at)
        world.git("reset", "--quiet", "--hard", "HEAD~1", cwd=at)
    elif change == "nested":
        world.put("lib/.git/HEAD", b"x", within=at)
    assert not await removal.is_imported(made)
    with pytest.raises(NotSaved):
        await removal.remove(made)


async def test_a_broken_git_directory_is_no_imported_commit(world: World):
    made = await world.workspace()
    await bundle.bring_back(made)
    (made.git_dir / "HEAD").write_text("rubbish")
    assert not await removal.is_imported(made)


async def test_only_a_workspace_that_the_root_knows_is_removed(world: World):
    made = await world.workspace()
    await salvage.salvage(made, at_ms=AT_MS)
    precious = world.folder / "precious"
    precious.mkdir()
    for wrong in (
        dataclasses.replace(made, name="../precious"),
        dataclasses.replace(made, name=".dash"),
        dataclasses.replace(made, agent="a2"),
        dataclasses.replace(made, root=world.folder, name="precious"),
    ):
        with pytest.raises(OutsideRoot):
            await removal.remove(wrong)
    assert precious.exists()
    assert made.path.exists()


async def test_a_link_in_the_place_of_a_workspace_is_not_followed(world: World):
    made = await world.workspace()
    await salvage.salvage(made, at_ms=AT_MS)
    elsewhere = world.folder / "elsewhere"
    made.path.rename(elsewhere)
    made.path.symlink_to(elsewhere)
    with pytest.raises(OutsideRoot):
        await removal.remove(made)
    assert (elsewhere / "README").exists()
    made.path.unlink()
    with pytest.raises(OutsideRoot):
        await removal.remove(made)


async def test_links_out_of_the_tree_are_removed_and_not_what_they_name(world: World):
    made = await world.workspace()
    outside = world.folder / "outside"
    outside.mkdir()
    (outside / "x").write_text("x")
    (made.path / "way").symlink_to(outside)
    await salvage.salvage(made, at_ms=AT_MS)
    await removal.remove(made)
    assert (outside / "x").exists()


async def test_a_repository_that_is_gone_keeps_the_workspace(world: World):
    made = await world.workspace()
    await salvage.salvage(made, at_ms=AT_MS)
    shutil.rmtree(world.repo)
    with pytest.raises(Exception, match=r"."):
        await removal.remove(made)
    assert made.path.exists()
