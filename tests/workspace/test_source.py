"""Kinds of repositories, each taken or refused with a reason."""

import shutil

import pytest

from dashd.workspace import source
from dashd.workspace.errors import UnknownBase, UnsupportedRepository
from dashd.workspace.source import Base
from tests.workspace.world import World


async def test_a_plain_repository(world: World):
    found = await source.inspect(world.repo)
    assert found == source.Source(world.repo, world.repo / ".git", world.repo / ".git")
    assert found.objects == (world.repo / ".git/objects",)
    assert found.zero == "0" * 40


async def test_a_way_through_a_link_leads_to_the_real_folder(world: World):
    (world.folder / "way").symlink_to(world.repo)
    assert (await source.inspect(world.folder / "way")).tree == world.repo


async def test_a_bare_repository(world: World):
    bare = world.folder / "bare.git"
    world.git("clone", "--quiet", "--bare", str(world.repo), str(bare))
    found = await source.inspect(bare)
    assert (found.tree, found.common_dir) == (None, bare)
    assert await source.resolve_base(found) == Base(world.ref("HEAD"), dirty=False)


async def test_a_linked_worktree_has_a_head_of_its_own(world: World):
    linked = world.folder / "linked"
    world.git("worktree", "add", "--quiet", "-b", "side", str(linked))
    world.put("more", b"x", within=linked)
    commit = world.commit("in the worktree", cwd=linked)
    found = await source.inspect(linked)
    assert (found.tree, found.common_dir) == (linked, world.repo / ".git")
    assert found.git_dir == world.repo / ".git/worktrees/linked"
    assert await source.resolve_base(found) == Base(commit, dirty=False)


async def test_a_worktree_that_is_not_known_where_it_points_to_is_refused(world: World):
    """A `.git` file of a stranger could otherwise open any repository of the user's to an agent."""
    linked = world.folder / "linked"
    world.git("worktree", "add", "--quiet", str(linked))
    stranger = world.folder / "stranger"
    stranger.mkdir()
    shutil.copy(linked / ".git", stranger)
    with pytest.raises(UnsupportedRepository, match="does not point back"):
        await source.inspect(stranger)
    (stranger / ".git").write_text(f"gitdir: {world.repo}/.git\n")
    with pytest.raises(UnsupportedRepository, match="does not point back"):
        await source.inspect(stranger)


async def test_a_submodule_is_a_repository(world: World):
    other = World(world.folder / "other")
    other.folder.mkdir()
    other.make_repo()
    world.git("submodule", "--quiet", "add", str(other.repo), "sub")
    found = await source.inspect(world.repo / "sub")
    assert (found.tree, found.git_dir) == (world.repo / "sub", world.repo / ".git/modules/sub")
    assert (await source.resolve_base(found)).commit == other.ref("HEAD")


async def test_a_shallow_clone(world: World):
    world.commit("second")
    shallow = world.folder / "shallow"
    world.git("clone", "--quiet", "--depth=1", f"file://{world.repo}", str(shallow))
    assert (await source.inspect(shallow)).shallow


async def test_sha256(bare_world: World):
    bare_world.make_repo("--object-format=sha256")
    found = await source.inspect(bare_world.repo)
    assert found.object_format == "sha256"
    assert len((await source.resolve_base(found)).commit) == 64


async def test_borrowed_objects_must_have_been_granted(world: World):
    borrower = world.folder / "borrower"
    world.git("clone", "--quiet", "--shared", str(world.repo), str(borrower))
    with pytest.raises(
        UnsupportedRepository, match=r"which agents would then be able to read. Allow it with --read"
    ):
        await source.inspect(borrower)
    found = await source.inspect(borrower, granted=(world.repo,))
    assert found.alternates == (world.repo / ".git/objects",)
    assert await source.resolve_base(found) == Base(world.ref("HEAD"), dirty=False)


async def test_a_partial_clone_is_refused(world: World):
    partial = world.folder / "partial"
    world.git("config", "uploadpack.allowFilter", "true")
    world.git("clone", "--quiet", "--filter=blob:none", f"file://{world.repo}", str(partial))
    with pytest.raises(UnsupportedRepository, match=r"partial clone.*--refetch"):
        await source.inspect(partial)


async def test_parts_that_are_links_are_refused(world: World):
    """A jail would see, or write, what they lead to."""
    for name in ("objects", "refs"):
        part, real = world.repo / ".git" / name, world.folder / name
        part.rename(real)
        part.symlink_to(real)
        with pytest.raises(UnsupportedRepository, match="not a plain folder"):
            await source.inspect(world.repo)
        part.unlink()
        real.rename(part)
    (world.repo / ".git/commondir").write_text("/elsewhere\n")
    with pytest.raises(UnsupportedRepository, match="commondir"):
        await source.inspect(world.repo)


async def test_a_dot_git_that_is_a_link_is_refused(world: World):
    (world.folder / "other").mkdir()
    (world.folder / "other/.git").symlink_to(world.repo / ".git")
    with pytest.raises(UnsupportedRepository, match="symbolic link"):
        await source.inspect(world.folder / "other")


@pytest.mark.parametrize("what", ["missing", "file", "empty"])
async def test_what_is_no_repository_is_refused(bare_world: World, what: str):
    path = bare_world.folder / "it"
    if what == "file":
        path.write_text("x")
    elif what == "empty":
        path.mkdir()
    with pytest.raises(UnsupportedRepository, match="is not a"):
        await source.inspect(path)


@pytest.mark.parametrize("name", [b"a\nb", b'a"b', b"a\xff"])
async def test_a_path_that_cannot_be_written_down_is_refused(bare_world: World, name: bytes):
    path = bare_world.put(name + b"/x", b"", within=bare_world.folder).parent
    with pytest.raises(UnsupportedRepository, match=r"^The path "):
        await source.inspect(path)


async def test_a_base_is_resolved_once(world: World):
    first = world.ref("HEAD")
    world.git("tag", "-a", "-m", "x", "v1")
    second = world.commit("second")
    found = await world.source()
    for name, commit in (
        ("HEAD", second),
        ("main", second),
        ("v1", first),
        ("HEAD~1", first),
        (first[:10], first),
    ):
        assert (await source.resolve_base(found, name)).commit == commit


@pytest.mark.parametrize("name", ["nothing", "--all", "HEAD:README", "", "HEAD^{tree}"])
async def test_a_base_that_is_no_commit_is_refused(world: World, name: str):
    with pytest.raises(UnknownBase, match="names no commit"):
        await source.resolve_base(await world.source(), name)


async def test_a_repository_without_a_commit_has_no_base(bare_world: World):
    bare_world.repo.mkdir()
    bare_world.git("init", "--quiet")
    with pytest.raises(UnknownBase, match="Commit something first"):
        await source.resolve_base(await bare_world.source())


@pytest.mark.parametrize("change", ["edit", "stage", "untracked", "delete", "mode"])
async def test_changes_of_the_user_are_told(world: World, change: str):
    found = await world.source()
    assert not (await source.resolve_base(found)).dirty
    if change == "edit":
        world.put("README", b"mine")
    elif change == "stage":
        world.put("README", b"mine")
        world.git("add", "README")
    elif change == "untracked":
        world.put("new", b"mine")
    elif change == "delete":
        (world.repo / "README").unlink()
    else:
        (world.repo / "README").chmod(0o755)
    index = (world.repo / ".git/index").read_bytes()
    assert (await source.resolve_base(found)).dirty
    assert (world.repo / ".git/index").read_bytes() == index


async def test_ignored_files_are_no_changes(world: World):
    world.put(".gitignore", b"build\n")
    world.commit("ignore")
    world.put("build/x", b"x")
    assert not (await source.resolve_base(await world.source())).dirty
