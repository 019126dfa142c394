"""Landing: ref, index and files together, also after a kill."""

import os
import shutil
from pathlib import Path

import pytest

from dashd.workspace import bundle, land, refs, source
from dashd.workspace.errors import CheckedOut, CheckoutNotClean, GitFailed, NotAhead, WorkspaceError
from tests.workspace.world import World, picture

MAIN = "refs/heads/main"


async def result(world: World) -> str:
    """A commit ahead of main: a file changed, one added, one removed, one in a new folder."""
    made = await world.workspace()
    world.put("README", b"landed\n", within=made.path)
    world.put("deep/down/new", b"x" * 3000, within=made.path)
    world.put("tool", b"#!/bin/sh\n", within=made.path, mode=0o755)
    (made.path / "src/app.py").unlink()
    world.commit("work", cwd=made.path)
    return (await bundle.bring_back(made)).commit


async def land_it(world: World, commit: str, branch: str = MAIN) -> str:
    return await land.land(world.root, await world.source(), branch=branch, commit=commit)


def is_landed(world: World, commit: str) -> bool:
    return world.ref(MAIN) == commit and world.git("status", "--porcelain") == ""


async def test_ref_index_and_files_move_together(world: World):
    before, commit = world.ref(MAIN), await result(world)
    world.put("untracked", b"mine")
    assert await land_it(world, commit) == before
    assert world.ref(MAIN) == commit
    assert world.git("status", "--porcelain") == "?? untracked"
    assert (world.repo / "README").read_bytes() == b"landed\n"
    assert not (world.repo / "src").exists()
    assert world.git("reflog", "-1", "--format=%H", "main") == commit
    assert await land_it(world, commit) == commit


@pytest.mark.parametrize("change", ["edit", "stage", "delete", "mode", "merge"])
async def test_a_checkout_that_is_not_clean_is_refused_with_the_paths(world: World, change: str):
    before, commit = world.ref(MAIN), await result(world)
    if change == "delete":
        (world.repo / "src/app.py").unlink()
    elif change == "mode":
        (world.repo / "src/app.py").chmod(0o755)
    elif change == "merge":
        world.put(".git/MERGE_HEAD", b"")
    else:
        world.put("src/app.py", b"mine")
    if change == "stage":
        world.git("add", "--all")
    state = picture(world.repo)
    with pytest.raises(CheckoutNotClean) as caught:
        await land_it(world, commit)
    assert caught.value.paths == ("MERGE_HEAD" if change == "merge" else "src/app.py",)
    assert world.ref(MAIN) == before
    assert picture(world.repo) == state


async def test_a_file_that_git_does_not_know_is_not_overwritten(world: World):
    before, commit = world.ref(MAIN), await result(world)
    world.put("tool", b"mine")
    with pytest.raises(CheckoutNotClean) as caught:
        await land_it(world, commit)
    assert caught.value.paths == ("tool",)
    assert (world.repo / "tool").read_bytes() == b"mine"
    assert world.ref(MAIN) == before


IN_THE_WAY = {  # what the user has, and git ignores; what the agent has; what would be lost
    "file": ("secret", "secret", "secret"),
    "folder": ("build/deep/precious", "build", "build/deep/precious"),
    "above": ("cache", "cache/new", "cache"),
}


async def ignoring(world: World, where: str) -> None:
    world.put(where, b"secret\nbuild\ncache\n")
    world.commit("what is ignored")


async def of_agent(world: World, path: str) -> str:
    made = await world.workspace()
    world.put(path, b"agent", within=made.path)
    world.git("add", "--force", path, cwd=made.path)
    world.commit("work", cwd=made.path)
    return (await bundle.bring_back(made)).commit


@pytest.mark.parametrize("where", [".gitignore", ".git/info/exclude"])
@pytest.mark.parametrize("kind", IN_THE_WAY)
async def test_what_git_ignores_is_not_overwritten(world: World, kind: str, where: str):
    mine, theirs, lost = IN_THE_WAY[kind]
    await ignoring(world, where)
    before, commit = world.ref(MAIN), await of_agent(world, theirs)
    world.put(mine, b"mine")
    state = picture(world.repo)
    with pytest.raises(CheckoutNotClean, match="does not track would be lost") as caught:
        await land_it(world, commit)
    assert caught.value.paths == (lost,)
    assert (picture(world.repo), world.ref(MAIN)) == (state, before)
    (world.repo / mine).unlink()
    await land_it(world, commit)
    assert is_landed(world, commit)
    assert (world.repo / theirs).read_bytes() == b"agent"


async def test_what_git_tracks_makes_room(world: World):
    world.put("to/folder/x", b"1")
    world.put("to-folder", b"1")
    world.commit("both ways")
    made = await world.workspace()
    shutil.rmtree(made.path / "to")
    world.put("to", b"a file now", within=made.path)
    (made.path / "to-folder").unlink()
    world.put("to-folder/x", b"2", within=made.path)
    world.commit("work", cwd=made.path)
    commit = (await bundle.bring_back(made)).commit
    await land_it(world, commit)
    assert is_landed(world, commit)


@pytest.mark.parametrize("kind", IN_THE_WAY)
async def test_what_the_user_made_meanwhile_is_not_cleared_away(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str
):
    mine, theirs, lost = IN_THE_WAY[kind]
    await ignoring(world, ".gitignore")
    commit = await of_agent(world, theirs)
    await interrupted(world, commit, monkeypatch, "files")
    world.put(mine, b"mine")
    (landed,) = await land.recover(world.root)
    assert landed.outcome == "blocked"
    assert lost in landed.problem
    assert (world.repo / mine).read_bytes() == b"mine"
    (world.repo / mine).unlink()
    assert [landed.outcome for landed in await land.recover(world.root)] == ["landed"]
    assert is_landed(world, commit)


async def test_a_folder_of_the_users_in_the_place_of_a_changed_file_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    commit = await result(world)
    await interrupted(world, commit, monkeypatch, "files")
    (world.repo / "README").unlink()
    world.put("README/mine", b"mine")
    assert [landed.outcome for landed in await land.recover(world.root)] == ["blocked"]
    assert (world.repo / "README/mine").read_bytes() == b"mine"


async def test_a_branch_with_other_commits_is_refused(world: World):
    commit = await result(world)
    mine = world.commit("mine")
    with pytest.raises(NotAhead, match="has commits that"):
        await land_it(world, commit)
    assert world.ref(MAIN) == mine


async def test_a_branch_that_is_not_there_is_refused(world: World):
    with pytest.raises(WorkspaceError, match="There is no refs/heads/nothing"):
        await land_it(world, world.ref(MAIN), "refs/heads/nothing")


async def test_a_branch_that_nobody_has_checked_out_moves_alone(world: World):
    commit = await result(world)
    world.git("branch", "other")
    world.put("README", b"mine")
    await land_it(world, commit, "refs/heads/other")
    assert world.ref("refs/heads/other") == commit
    assert (world.repo / "README").read_bytes() == b"mine"


async def test_a_branch_of_another_worktree_is_refused(world: World):
    commit = await result(world)
    world.git("worktree", "add", "--quiet", "-b", "side", str(world.folder / "linked"))
    with pytest.raises(CheckedOut):
        await land_it(world, commit, "refs/heads/side")


async def test_a_linked_worktree_lands_too(world: World):
    commit, linked = await result(world), world.folder / "linked"
    world.git("worktree", "add", "--quiet", "-b", "side", str(linked))
    from dashd.workspace import source

    await land.land(world.root, await source.inspect(linked), branch="refs/heads/side", commit=commit)
    assert world.git("status", "--porcelain", cwd=linked) == ""
    assert (linked / "README").read_bytes() == b"landed\n"
    assert world.git("status", "--porcelain") == ""


async def test_what_a_filter_fills_is_not_landed_and_does_not_make_a_checkout_dirty(world: World):
    world.git("config", "filter.fill.clean", "echo pointer")
    world.git("config", "filter.fill.smudge", "cat; echo filled")
    world.git("config", "filter.fill.required", "true")
    world.put(".gitattributes", b"*.bin filter=fill\n")
    # Older than the index, so that git believes the index about it.
    os.utime(world.put("a.bin", b"the real content\n"), (1_700_000_000, 1_700_000_000))
    world.commit("large files")
    commit = await result(world)
    await land_it(world, commit)
    assert is_landed(world, commit)
    assert (world.repo / "a.bin").read_bytes() == b"the real content\n"
    made = await world.workspace("a2")
    assert (made.path / "a.bin").read_bytes() == b"pointer\n"
    world.put("a.bin", b"other\n", within=made.path)
    world.commit("work", cwd=made.path)
    commit = (await bundle.bring_back(made)).commit
    with pytest.raises(CheckoutNotClean, match=r"LFS.*: a.bin\. No filter runs here"):
        await land_it(world, commit)


async def interrupted(world: World, commit: str, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """A landing that was killed: before git moved anything, or after files and index had moved."""

    async def killed(*_: object, **__: object) -> None:
        raise InterruptedError

    if at == "files":
        monkeypatch.setattr(land, "_move", killed)
    else:
        monkeypatch.setattr(refs, "update", killed)
    with pytest.raises(InterruptedError):
        await land_it(world, commit)
    monkeypatch.undo()


@pytest.mark.parametrize("at", ["files", "ref"])
async def test_a_landing_that_was_killed_is_finished(world: World, monkeypatch: pytest.MonkeyPatch, at: str):
    commit = await result(world)
    await interrupted(world, commit, monkeypatch, at)
    assert world.ref(MAIN) != commit
    assert [landed.outcome for landed in await land.recover(world.root)] == ["landed"]
    assert is_landed(world, commit)
    assert await land.recover(world.root) == []


@pytest.mark.parametrize("half", ["nothing", "README", "deep/down/new", "tool", "src/app.py", "lock", "all"])
async def test_files_half_written_by_a_killed_git_are_finished(
    world: World, monkeypatch: pytest.MonkeyPatch, half: str
):
    commit = await result(world)
    await interrupted(world, commit, monkeypatch, "files")
    monkeypatch.setattr(land, "LOCK_S_MAX", 0.1)
    if half in ("README", "all"):
        (world.repo / "README").unlink()
    if half in ("deep/down/new", "all"):
        world.put("deep/down/new", b"x" * 1000)
    if half in ("tool", "all"):
        world.put("tool", b"#!/bin/sh\n", mode=0o755)
    if half in ("src/app.py", "all"):
        (world.repo / "src/app.py").unlink()
    if half in ("lock", "all"):
        world.put(".git/index.lock", b"")
    assert [landed.outcome for landed in await land.recover(world.root)] == ["landed"]
    assert is_landed(world, commit)


@pytest.mark.parametrize("at", ["files", "ref"])
@pytest.mark.parametrize("lock", [f"{MAIN}.lock", "HEAD.lock"])
async def test_a_lock_of_the_git_that_was_to_move_the_branch_goes(
    world: World, monkeypatch: pytest.MonkeyPatch, lock: str, at: str
):
    commit = await result(world)
    await interrupted(world, commit, monkeypatch, at)
    monkeypatch.setattr(land, "LOCK_S_MAX", 0.1)
    left = world.put(f".git/{lock}", b"")
    assert [landed.outcome for landed in await land.recover(world.root)] == ["landed"]
    assert is_landed(world, commit)
    assert not left.exists()


@pytest.mark.parametrize("path", ["README", "tool", "src/app.py"])
async def test_what_the_user_wrote_meanwhile_is_not_touched(
    world: World, monkeypatch: pytest.MonkeyPatch, path: str
):
    before, commit = world.ref(MAIN), await result(world)
    await interrupted(world, commit, monkeypatch, "files")
    world.put(path, b"mine")
    (landed,) = await land.recover(world.root)
    assert landed.outcome == "blocked"
    assert path in landed.problem
    assert (world.repo / path).read_bytes() == b"mine"
    assert world.ref(MAIN) == before
    with pytest.raises(WorkspaceError, match="interrupted landing"):
        await land_it(world, commit)
    world.git("stash", "--quiet", "--include-untracked")
    assert [landed.outcome for landed in await land.recover(world.root)] == ["landed"]


async def test_a_branch_that_the_user_moved_meanwhile_ends_it(world: World, monkeypatch: pytest.MonkeyPatch):
    commit = await result(world)
    await interrupted(world, commit, monkeypatch, "files")
    mine = world.commit("mine")
    assert [landed.outcome for landed in await land.recover(world.root)] == ["given up"]
    assert world.ref(MAIN) == mine
    assert await land.recover(world.root) == []


async def test_an_index_that_the_user_changed_meanwhile_blocks(world: World, monkeypatch: pytest.MonkeyPatch):
    commit = await result(world)
    await interrupted(world, commit, monkeypatch, "files")
    world.put("mine", b"x")
    world.git("add", "mine")
    assert [landed.outcome for landed in await land.recover(world.root)] == ["blocked"]
    assert world.git("status", "--porcelain") == "A  mine"


async def test_a_repository_that_is_gone_blocks(world: World, monkeypatch: pytest.MonkeyPatch):
    commit = await result(world)
    await interrupted(world, commit, monkeypatch, "files")
    shutil.move(world.repo, world.folder / "moved")
    assert [landed.outcome for landed in await land.recover(world.root)] == ["blocked"]


async def test_hooks_of_the_user_do_not_run(world: World):
    script = world.hostile_script().read_bytes()
    for hook in ("post-checkout", "post-merge", "reference-transaction", "post-index-change"):
        world.put(f".git/hooks/{hook}", script, mode=0o755)
    commit = await result(world)
    await land_it(world, commit)
    assert is_landed(world, commit) or not world.canary.exists()
    world.canary.unlink(missing_ok=True)


async def test_a_landing_that_git_refuses_leaves_a_journal_that_the_next_one_finishes(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    commit = await result(world)

    async def fails(*_: object, **__: object) -> None:
        raise GitFailed("no room")

    monkeypatch.setattr(land, "_move", fails)
    with pytest.raises(GitFailed):
        await land_it(world, commit)
    monkeypatch.undo()
    assert await land_it(world, commit) == commit
    assert is_landed(world, commit)


def test_journals_are_told_from_records(tmp_path: Path):
    (tmp_path / ".dash").mkdir()
    for name in ("landing-0123456789abcdef", "landing-0123456789abcdef.tmp", "a1.json"):
        (tmp_path / ".dash" / name).touch()
    assert [path.name for path in land._journals(tmp_path)] == ["landing-0123456789abcdef"]
    assert land._journals(tmp_path / "none") == []
    assert os.listdir(tmp_path) == [".dash"]


async def test_a_branch_of_a_bare_repository_moves_alone(world: World):
    """There is no checkout to be kept in step; its HEAD names the branch all the same."""
    before, commit = world.ref(MAIN), await result(world)
    bare = world.folder / "bare.git"
    world.git("clone", "--quiet", "--bare", str(world.repo), str(bare))
    found = await source.inspect(bare)
    assert await land.land(world.root, found, branch=MAIN, commit=commit) == before
    assert world.git("rev-parse", MAIN, cwd=bare) == commit
    assert world.ref(MAIN) == before
