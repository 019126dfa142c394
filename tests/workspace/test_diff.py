"""What an agent has changed, however it tries to hide it."""

import os

import pytest

from dashd.workspace import bundle, diff, salvage
from dashd.workspace.diff import FileChange
from tests.workspace.world import AT_MS, World, picture


async def test_committed_and_not_committed_alike(world: World):
    made = await world.workspace()
    world.put("committed", b"1\n2\n", within=made.path)
    world.commit("work", cwd=made.path)
    world.put("README", b"hello\nworld\n", within=made.path)
    world.put("staged", b"x", within=made.path)
    world.git("add", "staged", cwd=made.path)
    (made.path / "src/app.py").rename(made.path / "src/main.py")
    before = picture(made.path)
    found = await diff.diff(made)
    assert found.files == (
        FileChange("README", "modified", "100644", 1, 0),
        FileChange("committed", "added", "100644", 2, 0),
        FileChange("src/main.py", "renamed", "100644", 0, 0, "src/app.py"),
        FileChange("staged", "added", "100644", 1, 0),
    )
    assert b"+world" in found.patch
    assert (found.patch_cut, found.more_files, found.nested, found.flagged) == (False, 0, (), ())
    assert picture(made.path) == before


async def test_nothing_changed(world: World):
    made = await world.workspace()
    found = await diff.diff(made)
    assert (found.files, found.patch) == ((), b"")
    assert found.tree == world.git("rev-parse", f"{made.base}^{{tree}}")


async def test_deleted_binary_retyped_and_executable(world: World):
    made = await world.workspace()
    (made.path / "README").unlink()
    world.put("blob", b"\0\1" * 50, within=made.path, mode=0o755)
    (made.path / "src/app.py").unlink()
    (made.path / "src/app.py").symlink_to("../README")
    assert (await diff.diff(made)).files == (
        FileChange("README", "deleted", "000000", 0, 1),
        FileChange("blob", "added", "100755", None, None),
        FileChange("src/app.py", "retyped", "120000", 1, 1),
    )


async def test_odd_names_come_through(world: World):
    made = await world.workspace()
    names = [b"a\nb", b"\xff", b"-rf", b" ", b'"', b"\t\t"]
    for name in names:
        world.put(name, b"x", within=made.path)
    found = await diff.diff(made)
    assert sorted(os.fsencode(change.path) for change in found.files) == sorted(names)


async def test_ignored_and_shared_files_are_left_out(world: World):
    world.put(".gitignore", b"built\n")
    world.commit("ignore")
    world.put("node_modules/x", b"x")
    made = await world.workspace()
    world.put("built/x", b"x", within=made.path)
    world.put("node_modules/x", b"x", within=made.path)
    assert (await diff.diff(made)).files == ()


async def test_sizes_are_bounded(world: World):
    made = await world.workspace()
    for n in range(10):
        world.put(f"f{n}", b"line\n" * 1000, within=made.path)
    found = await diff.diff(made, patch_bytes_max=2000, files_max=4)
    assert (len(found.files), found.more_files, len(found.patch), found.patch_cut) == (4, 6, 2000, True)


async def test_what_is_executed_on_trust_is_flagged(world: World):
    made = await world.workspace()
    for path in ("Makefile", ".vscode/tasks.json", "plain", "lib/one/.git/HEAD", "lib/two/.git"):
        world.put(path, b"x", within=made.path)
    (made.path / "out").symlink_to("/etc/passwd")
    (made.path / "in").symlink_to("README")
    found = await diff.diff(made)
    flags = {change.path: change.flags for change in found.files}
    assert flags == {
        ".vscode/tasks.json": ("editor settings",),
        "Makefile": ("build script",),
        "in": (),
        "out": ("link to outside",),
        "plain": (),
    }
    assert found.nested == ("lib/one", "lib/two")
    assert set(found.flagged) == {".vscode/tasks.json", "Makefile", "out", "lib/one", "lib/two"}


async def test_an_agent_cannot_hide_a_change(world: World):
    """In its own git directory all of these make `git status` say that nothing has changed."""
    world.put("secret.py", b"x\n")
    world.commit("more")
    made = await world.workspace()
    world.git("config", "filter.hide.clean", "echo hello", cwd=made.path)
    world.put(".git/info/attributes", b"README filter=hide\nsecret.py -diff\n", within=made.path)
    world.put(".git/info/exclude", b"new\n", within=made.path)
    world.git("update-index", "--assume-unchanged", "src/app.py", cwd=made.path)
    world.git("update-index", "--skip-worktree", "secret.py", cwd=made.path)
    for path in ("README", "src/app.py", "secret.py", "new"):
        world.put(path, b"evil!\n", within=made.path)
    assert world.git("status", "--porcelain", cwd=made.path) == ""
    found = await diff.diff(made)
    assert [change.path for change in found.files] == ["README", "new", "secret.py", "src/app.py"]
    assert found.patch.count(b"+evil") == 4


async def test_attributes_in_the_tree_do_not_turn_text_into_a_blank(world: World):
    made = await world.workspace()
    world.put(".gitattributes", b"* -diff\n", within=made.path)
    world.put("README", b"evil\n", within=made.path)
    assert b"+evil" in (await diff.diff(made)).patch


async def test_attributes_that_cannot_be_followed_are_left_aside(world: World):
    made = await world.workspace()
    world.put(".gitattributes", b"*.u working-tree-encoding=UTF-16\n", within=made.path)
    world.put("a.u", b"odd", within=made.path)
    assert [change.path for change in (await diff.diff(made)).files] == [".gitattributes", "a.u"]


@pytest.mark.parametrize("rights", [0, 0o200])
async def test_a_file_that_cannot_be_read_does_not_hide_the_others(world: World, rights: int):
    made = await world.workspace()
    world.put("closed", b"x", within=made.path).chmod(rights)
    world.put("open", b"x", within=made.path)
    os.mkfifo(made.path / "fifo")
    world.put("sub/.Git/x", b"x", within=made.path)
    world.put("dark/x", b"x", within=made.path)
    (made.path / "dark").chmod(0)
    found = await diff.diff(made)
    assert {change.path: change.flags for change in found.files} == {
        "dark/": ("not in the patch: it cannot be read",),
        "closed": ("not in the patch: it cannot be read",),
        "sub/.Git/x": ("not in the patch: git takes no file of that name",),
        "open": (),
    }
    assert len(found.flagged) == 3


async def test_line_ends_that_only_a_checkout_made_are_no_changes(world: World):
    world.put(".gitattributes", b"*.txt text eol=crlf\n")
    world.put("a.txt", b"x\r\n")
    world.commit("line ends")
    made = await world.workspace()
    assert (await diff.diff(made)).files == ()


async def test_no_name_hides_a_file_of_a_workspace_that_is_gone(world: World):
    """The names that a salvage gives to what git does not take mean nothing in an agent's commits."""
    made = await world.workspace()
    mine = ["dash-kept.sh", "dash-kept-manifest", "dash-kept-tools/Makefile", "dash-kept.git/hooks/x", "seen"]
    for path in mine:
        world.put(path, b"x\n", within=made.path)
    world.put("inner/.git/HEAD", b"x", within=made.path)
    bounds = {"patch_bytes_max": 1 << 16, "files_max": 50}
    saved = await salvage.salvage(made, at_ms=AT_MS)
    found = await diff.kept(made.source, made.base, saved.commit, salvage=True, **bounds)
    again = ["dash-keptdash-kept" + path.removeprefix("dash-kept") for path in mine[:-1]]
    assert sorted(change.path for change in found.files) == sorted([*again, "seen"])

    (made.path / "inner/.git/HEAD").unlink()
    (made.path / "inner/.git").rmdir()
    world.commit("work", cwd=made.path)
    commit = (await bundle.bring_back(made)).commit
    found = await diff.kept(made.source, made.base, commit, salvage=False, **bounds)
    assert sorted(change.path for change in found.files) == sorted(mine)
    assert all(f"b/{path}".encode() in found.patch for path in mine)
