"""`service.ports.Repositories` over real repositories."""

import pytest

from dashd.domain.repository import Terms
from dashd.runtime.workspaces import Workspaces
from dashd.wire import errors
from dashd.workspace_ports import RepositoryPort
from tests.fakes import jails
from tests.workspace.world import World

pytestmark = pytest.mark.slow


@pytest.fixture
def world(tmp_path):
    jails.needed()
    made = World(tmp_path.resolve())
    made.make_repo()
    return made


@pytest.fixture
def port(world):
    return RepositoryPort(Workspaces(world.root), [world.folder / "state"])


async def test_a_repository_is_looked_at(world, port):
    seen = await port.look(str(world.repo), "HEAD", folders=["src", "none", "src/app.py"])
    assert (seen.path, seen.commit, seen.head) == (str(world.repo), world.ref("main"), "main")
    assert (seen.dirty, seen.missing) == (False, ("none",))
    world.put("README", b"changed\n")
    assert (await port.look(str(world.repo), "main")).dirty


async def test_links_in_the_commit_are_told_with_where_they_lead(world, port):
    (world.repo / "lib").symlink_to("src")
    (world.repo / "src/up").symlink_to("../src")
    world.commit("links")
    folders = ["lib", "src/app.py", "src/up/app.py", "src"]
    assert (await port.look(str(world.repo), "HEAD", folders=folders)).links == {
        "lib": "src",
        "src/up": "../src",
    }
    assert (await port.look(str(world.repo), "HEAD~1", folders=folders)).links == {}
    assert (await port.look(str(world.repo), "HEAD")).links == {}


async def test_what_is_refused_says_what_would_help(world, port):
    with pytest.raises(errors.InvalidParams, match="names no commit") as caught:
        await port.look(str(world.repo), "nope")
    assert caught.value.path == "base"
    with pytest.raises(errors.InvalidParams, match="a folder in a repository") as inside:
        await port.look(str(world.repo / "src"), "HEAD")
    assert f"repo: {world.repo}" in inside.value.hint
    (world.folder / "plain").mkdir()
    with pytest.raises(errors.Unsupported, match="is not a git repository"):
        await port.look(str(world.folder / "plain"), "HEAD")
    for repo in (world.folder, world.folder / "state" / "x"):
        with pytest.raises(errors.InvalidParams, match="dashd's own"):
            await port.look(str(repo), "HEAD")


async def test_a_repository_of_somebody_else_is_refused(world, port):
    (world.repo / ".git/refs").chmod(0o500)
    with pytest.raises(errors.Unsupported, match=r"may not write .*refs"):
        await port.look(str(world.repo), "HEAD")


async def test_branches_and_diffs(world, port):
    assert await port.tip(str(world.repo), "main") == world.ref("main")
    assert await port.tip(str(world.repo), "dash/x/result") is None
    assert await port.diff("s1-001", 100, 10) is None
    trees = Workspaces(world.root)
    made = await trees.make("s1-001", "s1", Terms(str(world.repo), ""), world.ref("main"), alone=True)
    world.put("Makefile", b"all:\n", within=made.path)
    found = await port.diff("s1-001", 20, 10)
    assert found is not None
    assert [(each.path, bool(each.flags)) for each in found.files] == [("Makefile", True)]
    assert (found.cut, len(found.patch)) == (True, 20)


async def test_a_diff_of_what_a_workspace_has_left(world, port):
    trees, base = Workspaces(world.root), world.ref("main")
    made = await trees.make("s1-001", "s1", Terms(str(world.repo), ""), base, alone=True)
    world.put("Makefile", b"all:\n", within=made.path)
    saved = await trees.save(made, 0)
    assert saved is not None
    taken = await trees.take_in(made, "m", within=None, all_of_it=True)
    for commit, salvage in ((saved.commit, True), (taken.commit, False)):
        found = await port.diff_kept(str(world.repo), base, commit, 999, 10, salvage=salvage)
        assert [(each.path, bool(each.flags)) for each in found.files] == [("Makefile", True)]
        assert "+all:" in found.patch
        assert "dash-kept" not in found.patch
    with pytest.raises(errors.Unavailable):
        await port.diff_kept(str(world.repo), base, "d" * 40, 999, 10, salvage=False)


async def test_git_alone_leads_back_from_a_salvage(world):
    """By the commands that the README names."""
    trees, base = Workspaces(world.root), world.ref("main")
    made = await trees.make("s1-001", "s1", Terms(str(world.repo), ""), base, alone=True)
    world.put("src/new", b"1\n", within=made.path)
    world.put("vendor/file", b"2\n", within=made.path)
    world.git("init", "-q", cwd=made.path / "vendor")
    assert await trees.save(made, 0) is not None
    await trees.remove(made, give_up=False)
    saved, ref = world.folder / "saved", "refs/dash/salvage/s1-001"
    world.git("worktree", "add", "--detach", str(saved), ref)
    assert (saved / "src/new").read_bytes() + (saved / "vendor/file").read_bytes() == b"1\n2\n"
    for folder in (saved, saved / "vendor"):
        assert (folder / "dash-kept.git/HEAD").is_file()
    assert (saved / "dash-kept-manifest").is_file()
    world.git("restore", f"--source={ref}", "--", "src")
    assert (world.repo / "src/new").read_bytes() == b"1\n"
