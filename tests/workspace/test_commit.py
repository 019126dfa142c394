"""What was left uncommitted, and the locks of a git that was killed."""

import pytest

from dashd.jail import tool
from dashd.workspace import bundle, commit, diff, removal
from dashd.workspace.errors import GitFailed, OutsideScope
from dashd.workspace.place import Workspace
from tests.workspace.world import World

pytestmark = pytest.mark.slow


def head(world: World, made: Workspace) -> str:
    """The commit that the agent's clone is at."""
    return world.git("rev-parse", "HEAD", cwd=made.path)


async def test_what_was_left_is_committed_once(world: World):
    made = await world.workspace()
    world.put("src/new.py", b"x\n", within=made.path)
    world.put("README", b"changed\n", within=made.path)
    assert await commit.commit_rest(made, "dash: left\n\nTask: t1\n") == ()
    first = head(world, made)
    assert await commit.commit_rest(made, "again") == ()
    assert head(world, made) == first != made.base
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
    await commit.commit_rest(made, "left")
    assert head(world, made) != made.base


async def test_nested_repositories_stay_where_they_are(world: World):
    made = await world.workspace()
    world.put("inner/file", b"x\n", within=made.path)
    world.git("init", "--quiet", cwd=made.path / "inner")
    world.put("beside", b"x\n", within=made.path)
    await commit.commit_rest(made, "left")
    assert head(world, made) != made.base
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


async def test_what_git_cannot_take_is_left_and_named_and_everything_else_committed(world: World):
    """Its task has succeeded: over one odd file it would be done again, and fail again."""
    made = await world.workspace()
    world.put("beside", b"x\n", within=made.path)
    world.put("shut", b"x\n", within=made.path).chmod(0)
    world.put("sub/.Git/x", b"x\n", within=made.path)
    world.put("dark/x", b"x\n", within=made.path)
    world.put("blind/x", b"x\n", within=made.path)
    world.put("README", b"changed\n", within=made.path).chmod(0)
    (made.path / "dark").chmod(0o300)
    (made.path / "blind").chmod(0o600)
    left = await commit.commit_rest(made, "left")
    assert world.git("ls-tree", "-r", "--name-only", "HEAD", cwd=made.path).split() == [
        "README",
        "beside",
        "src/app.py",
    ]
    assert world.git("show", "HEAD:README", cwd=made.path) == "hello"
    assert sorted((each.path, each.status, each.why) for each in left) == [
        (b"README", "modified", "it cannot be read"),
        (b"blind/", "added", "it cannot be read"),
        (b"dark/", "added", "it cannot be read"),
        (b"shut", "added", "it cannot be read"),
        (b"sub/.Git/x", "added", "git takes no file of that name"),
    ]
    await bundle.bring_back(made)
    assert not await removal.is_imported(made), "else the clone would go without a salvage"


async def test_what_git_leaves_for_another_reason_fails(world: World, monkeypatch: pytest.MonkeyPatch):
    """A full disk, for example: nothing is called done that another try may do."""
    made = await world.workspace()
    world.put("shut", b"x\n", within=made.path).chmod(0)
    run = tool.run

    async def opened(job: tool.Tool) -> tool.Finished:
        done = await run(job)
        (made.path / "shut").chmod(0o600)
        return done

    monkeypatch.setattr(tool, "run", opened)
    with pytest.raises(GitFailed, match=r"git add left files out: .*shut"):
        await commit.commit_rest(made, "left")
