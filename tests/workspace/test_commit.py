"""What was left uncommitted, and the locks of a git that was killed."""

import pytest

from dashd.workspace import bundle, commit, diff, removal
from dashd.workspace.errors import OutsideScope
from tests.workspace.world import World

pytestmark = pytest.mark.slow


async def test_what_was_left_is_committed_once(world: World):
    made = await world.workspace()
    world.put("src/new.py", b"x\n", within=made.path)
    world.put("README", b"changed\n", within=made.path)
    first = await commit.commit_rest(made, "dash: left\n\nTask: t1\n")
    assert await commit.commit_rest(made, "again") is None
    assert world.git("rev-parse", "HEAD", cwd=made.path) == first
    assert world.git("log", "-1", "--format=%an|%s|%b", cwd=made.path) == "Dash|dash: left|Task: t1"
    assert world.git("status", "--porcelain", cwd=made.path) == ""


async def test_no_hook_and_no_filter_of_the_agents_gets_out(world: World):
    made = await world.workspace()
    evil = world.hostile_script()
    hook = made.git_dir / "hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.symlink_to(evil)
    world.git("config", "filter.x.clean", str(evil), cwd=made.path)
    world.git("config", "core.fsmonitor", str(evil), cwd=made.path)
    world.put(".gitattributes", b"* filter=x\n", within=made.path)
    assert await commit.commit_rest(made, "left") is not None


async def test_nested_repositories_stay_where_they_are(world: World):
    made = await world.workspace()
    world.put("inner/file", b"x\n", within=made.path)
    world.git("init", "--quiet", cwd=made.path / "inner")
    world.put("beside", b"x\n", within=made.path)
    assert await commit.commit_rest(made, "left") is not None
    assert world.git("ls-tree", "--name-only", "HEAD", cwd=made.path).split() == ["README", "beside", "src"]
    await bundle.bring_back(made)
    assert not await removal.is_imported(made)


async def test_locks_go_and_nothing_else(world: World):
    made = await world.workspace()
    for name in ("index.lock", "HEAD.lock", "refs/heads/dash/s1/a1.lock"):
        (made.git_dir / name).write_bytes(b"")
    world.put("mine.lock", b"x", within=made.path)
    outside = world.put("precious.lock", b"x", within=world.folder)
    (made.git_dir / "link.lock").symlink_to(outside)
    await commit.clear_locks(made)
    assert [path.name for path in made.git_dir.rglob("*.lock")] == ["link.lock"]
    assert outside.exists()
    assert (made.path / "mine.lock").exists()


async def test_commits_outside_of_the_scope_do_not_come_back(world: World):
    made = await world.workspace()
    world.put("src/app.py", b"print(2)\n", within=made.path)
    world.commit("fine", cwd=made.path)
    first = await bundle.bring_back(made, within=["src"])
    world.put("README", b"not mine\n", within=made.path)
    world.commit("not fine", cwd=made.path)
    with pytest.raises(OutsideScope, match=r"Scope violation: .*src: README"):
        await bundle.bring_back(made, within=["src"])
    assert world.ref(made.branch) == first.commit
    assert (await bundle.bring_back(made, within=["."])).moved


async def test_what_came_back_is_shown_with_flags(world: World):
    made = await world.workspace()
    world.put("Makefile", b"all:\n", within=made.path)
    world.commit("build", cwd=made.path)
    found = await bundle.bring_back(made)
    (change,) = await diff.between(made.source, made.base, found.commit)
    assert (change.path, change.status, bool(change.flags)) == ("Makefile", "added", True)
