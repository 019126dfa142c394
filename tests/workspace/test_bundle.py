"""Results on their way into the user's repository."""

import os
from pathlib import Path

import pytest

from dashd.workspace import bundle, refs
from dashd.workspace.bundle import Imported
from dashd.workspace.errors import GitFailed, OutsideScope, RefMoved
from tests.workspace.world import World

BRANCH = "refs/heads/dash/s1/a1"


async def test_what_an_agent_committed_is_its_branch(world: World):
    made = await world.workspace()
    world.put("new", b"work", within=made.path)
    commit = world.commit("work", cwd=made.path)
    assert await bundle.bring_back(made) == Imported(BRANCH, commit, moved=True)
    assert world.ref(BRANCH) == commit
    assert world.git("show", f"{BRANCH}:new") == "work"
    assert world.git("status", "--porcelain") == ""
    world.git("fsck")


async def test_again_there_is_only_what_is_new(world: World):
    made = await world.workspace()
    world.put("new", b"work", within=made.path)
    first = world.commit("work", cwd=made.path)
    await bundle.bring_back(made)
    assert await bundle.bring_back(made) == Imported(BRANCH, first, moved=False)
    second = world.commit("more", cwd=made.path)
    assert await bundle.bring_back(made) == Imported(BRANCH, second, moved=True)


async def test_no_commit_of_its_own_is_the_base(world: World):
    made = await world.workspace()
    assert await bundle.bring_back(made) == Imported(BRANCH, made.base, moved=True)


async def test_it_is_the_head_that_counts_whatever_branch_it_is_on(world: World):
    made = await world.workspace()
    world.git("checkout", "--quiet", "-b", "own-idea", cwd=made.path)
    commit = world.commit("on another branch", cwd=made.path)
    assert (await bundle.bring_back(made)).commit == commit
    world.git("checkout", "--quiet", "--detach", cwd=made.path)
    commit = world.commit("on none", cwd=made.path)
    assert (await bundle.bring_back(made)).commit == commit


async def test_rewritten_commits_replace_the_earlier_ones(world: World):
    made = await world.workspace()
    world.commit("work", cwd=made.path)
    await bundle.bring_back(made)
    world.git("commit", "--quiet", "--amend", "--allow-empty", "-m", "better", cwd=made.path)
    await bundle.bring_back(made)
    assert world.git("log", "-1", "--format=%s", BRANCH) == "better"


async def test_a_branch_that_somebody_moved_between_is_not_touched(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    made = await world.workspace()
    mine = world.commit("work", cwd=made.path)
    fetch = bundle.fetch

    async def fetch_and_meddle(*args: object) -> str:
        commit = await fetch(*args)  # type: ignore[arg-type]
        world.git("update-ref", BRANCH, made.base)
        return commit

    monkeypatch.setattr(bundle, "fetch", fetch_and_meddle)
    with pytest.raises(RefMoved):
        await bundle.bring_back(made)
    assert world.ref(BRANCH) == made.base
    monkeypatch.undo()
    assert (await bundle.bring_back(made)).commit == mine


async def test_a_crash_between_import_and_ref_is_repaired_by_the_next_call(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    made = await world.workspace()
    commit = world.commit("work", cwd=made.path)

    async def killed(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(refs, "update", killed)
    with pytest.raises(InterruptedError):
        await bundle.bring_back(made)
    assert world.ref(BRANCH) == ""
    monkeypatch.undo()
    assert (await bundle.bring_back(made)).commit == commit


async def test_sha256_and_shallow(bare_world: World):
    bare_world.make_repo("--object-format=sha256")
    made = await bare_world.workspace()
    commit = bare_world.commit("work", cwd=made.path)
    assert (await bundle.bring_back(made)).commit == commit


async def test_objects_that_git_refuses_stay_outside(world: World):
    """A tree with a `.git` in it would be a trap for whoever checks it out."""
    made = await world.workspace()
    blob = world.git("hash-object", "-w", "README", cwd=made.path)
    tree = _mktree(world, made.path, blob)
    commit = world.git("commit-tree", "-p", "HEAD", "-m", "trap", tree, cwd=made.path)
    world.git("update-ref", "HEAD", commit, cwd=made.path)
    with pytest.raises(GitFailed, match="hasDotgit"):
        await bundle.bring_back(made)
    assert world.ref(BRANCH) == ""


async def test_no_commit_may_leave_the_scope_not_even_one_that_a_later_one_takes_back(world: World):
    made = await world.workspace()
    world.put("src/app.py", b"print(2)\n", within=made.path)
    inside = world.commit("inside", cwd=made.path)
    assert (await bundle.bring_back(made, within=["src"])).commit == inside
    world.put("README", b"planted\n", within=made.path)
    world.commit("outside", cwd=made.path)
    with pytest.raises(OutsideScope, match="README") as last:
        await bundle.bring_back(made, within=["src"])
    assert last.value.hint == ""
    world.put("README", b"hello\n", within=made.path)
    world.commit("as if nothing had happened", cwd=made.path)
    with pytest.raises(OutsideScope, match="outside of src: README") as earlier:
        await bundle.bring_back(made, within=["src"])
    assert world.ref(BRANCH) == inside

    # The hint is a way on.
    assert f"git reset --soft {made.base[:12]}" in earlier.value.hint
    world.git("reset", "--quiet", "--soft", made.base, cwd=made.path)
    again = world.commit("again", cwd=made.path)
    assert (await bundle.bring_back(made, within=["src"])).commit == again
    assert world.ref(BRANCH) == again


async def test_a_side_branch_is_no_way_out_of_the_scope(world: World):
    made = await world.workspace()
    world.git("checkout", "--quiet", "-b", "side", cwd=made.path)
    world.put("README", b"planted\n", within=made.path)
    world.commit("outside", cwd=made.path)
    world.git("checkout", "--quiet", made.branch.removeprefix("refs/heads/"), cwd=made.path)
    world.git("merge", "--quiet", "--strategy=ours", "--no-ff", "-m", "merged", "side", cwd=made.path)
    with pytest.raises(OutsideScope, match="README"):
        await bundle.bring_back(made, within=["src", "docs"])
    assert world.ref(BRANCH) == ""
    await bundle.bring_back(made, within=["src", "README"])


def _mktree(world: World, cwd: Path, blob: str) -> str:
    content = b"100644 .git\0" + bytes.fromhex(blob)
    file = world.put("raw", content, within=world.folder)
    return world.git("hash-object", "-w", "-t", "tree", "--literally", str(file), cwd=cwd)


@pytest.mark.parametrize("what", ["link", "hard link", "rubbish", "other name", "missing parent"])
async def test_a_bundle_that_is_not_one_is_refused(world: World, what: str):
    source, file = await world.source(), world.root / "x" / "result.bundle"
    file.parent.mkdir(parents=True)
    world.git("bundle", "create", "--quiet", str(world.folder / "real"), "main")
    if what == "link":
        file.symlink_to(world.folder / "real")
    elif what == "hard link":
        os.link(world.folder / "real", file)
    elif what == "rubbish":
        file.write_bytes(b"# v2 git bundle\n\xff\xff HEAD\n\nPACK")
    elif what == "missing parent":
        file.write_bytes(f"# v2 git bundle\n-{'1' * 40} x\n{'2' * 40} HEAD\n\nPACK".encode())
    else:
        (world.folder / "real").rename(file)
    with pytest.raises(GitFailed):
        await bundle.fetch(source, file, "HEAD")


async def test_the_jail_that_imports_sees_no_tree_of_an_agent(world: World, monkeypatch: pytest.MonkeyPatch):
    made = await world.workspace()
    world.commit("work", cwd=made.path)
    seen: list[tuple[Path, ...]] = []
    from dashd.jail import tool

    run = tool.run

    async def watched(job: tool.Tool) -> tool.Finished:
        seen.append((*job.read, *job.write))
        assert not job.write or not (
            made.source.common_dir in job.write and made.path in (*job.read, *job.write)
        )
        return await run(job)

    monkeypatch.setattr(tool, "run", watched)
    await bundle.bring_back(made)
    assert any(made.path in paths for paths in seen)
    assert any(made.source.common_dir in paths for paths in seen)


async def test_what_there_is_no_thread_to_remove_is_left_to_the_next_one(world: World, scarce):
    spool = await bundle.fresh_spool(made := await world.workspace())
    scarce(1)
    await bundle.drop_spool(made)
    assert spool.exists()
    await bundle.drop_spool(made)
    assert not spool.exists()
