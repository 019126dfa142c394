"""Salvage: tree in = tree out, byte for byte."""

import os
import time
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashd.workspace import clone, erase, restore, salvage
from dashd.workspace.errors import GitFailed, TreeTooLarge
from dashd.workspace.place import Workspace
from dashd.workspace.tree import Limits
from tests.workspace.world import AT_MS, World, picture

REF = "refs/dash/salvage/a1"


def fill(world: World, made: Workspace) -> None:
    """All that makes a tree hard to keep."""
    at = made.path
    world.put(
        ".gitattributes",
        b"* text=auto eol=crlf\n*.bin filter=lfs\n*.id ident\n*.u working-tree-encoding=UTF-16\n",
        within=at,
    )
    world.put(".gitignore", b"ignored\n*.log\n", within=at)
    world.put(".gitmodules", b'[submodule "x"]\n\tpath = ../../x\n\turl = -evil\n', within=at)
    for name, content in (
        ("crlf.txt", b"a\r\nb\r\n"), ("mixed.txt", b"a\r\nb\nc\r"), ("no-end", b"x"), ("empty", b""),
        ("a.bin", b"not a pointer \0\xff"), ("a.id", b"$Id$ $Id: 123 $"), ("a.u", b"\xff\xfeno\xd8"),
        ("ignored", b"built"), ("x.log", b"log"), ("README", b"changed\r\n"),
    ):  # fmt: skip
        world.put(name, content, within=at)
    for name in (
        b"a\nb",
        b"\xff\xfe",
        b"-rf",
        b"--help",
        b" ",
        b"a ",
        b'q"uo\te',
        b"\\",
        b"sub\\.git",
        b"dash-kept",
        b"dash-kept-manifest",
        b"dash-kept.git",
        b".GIT ",
        b"git~1",
        b".g\xe2\x80\x8cit",
        "\u00e9".encode(),
        "e\u0301".encode(),
        b"*",
        b"HEAD",
        b"x" * 250,
    ):
        world.put(name, b"content of " + name, within=at)
        world.put(b"dir-" + name[:200] + b"/" + name, b"deeper", within=at)
    for n, mode in enumerate((0o600, 0o755, 0o777, 0o444, 0o000, 0o4755, 0o100, 0o664)):
        world.put(f"mode{n}", b"x", within=at).chmod(mode)
    for n, mode in enumerate((0o700, 0o500, 0o000, 0o1777)):
        world.put(f"folder{n}/x", b"x", within=at).parent.chmod(mode)
    for name in ("hollow", "hollow2/inner", "hollow3"):
        (at / name).mkdir(parents=True)
    (at / "hollow3").chmod(0o711)
    for name, target in (
        ("l1", "README"),
        ("l2", "/etc/passwd"),
        ("l3", "../../.."),
        ("l4", "l4"),
        ("l5", "gone\n"),
        ("l6", "hollow"),
    ):
        (at / name).symlink_to(target)
    os.symlink(b"\xff", os.fsencode(at) + b"/l7")
    (at / "lib").mkdir()
    world.git("init", "--quiet", "nested", cwd=at / "lib")
    world.put("lib/nested/f", b"x", within=at)
    world.commit("inside", cwd=at / "lib/nested")
    world.put("lib/nested/.git/hooks/post-checkout", b"#!/bin/sh\n", within=at, mode=0o755)
    (at / "lib/bare").mkdir()
    world.git("init", "--quiet", "--bare", ".", cwd=at / "lib/bare")
    (at / "src/app.py").unlink()
    (at / ".gitmodules-link").symlink_to(".gitmodules")
    (at / "sub").mkdir()
    (at / "sub/.gitmodules").symlink_to("../README")


async def there_and_back(world: World, made: Workspace) -> None:
    before = picture(made.path)
    saved = await salvage.salvage(made, at_ms=AT_MS)
    assert picture(made.path) == before, "a salvage leaves the tree as it was"
    assert world.ref(REF) == saved.commit
    await restore.restore(made.source, saved.commit, world.folder / "out")
    found = picture(world.folder / "out")
    assert found == {path: entry for path, entry in before.items() if entry[0] != "other"}


async def test_tree_in_is_tree_out_byte_for_byte(world: World):
    made = await world.workspace()
    fill(world, made)
    await there_and_back(world, made)
    world.git("fsck", "--no-dangling", check=False)
    assert "missing" not in world.git("rev-list", "--objects", "--missing=print", REF, "--not", "main")


async def test_sha256_too(bare_world: World):
    bare_world.make_repo("--object-format=sha256")
    made = await bare_world.workspace()
    fill(bare_world, made)
    await there_and_back(bare_world, made)


async def test_commits_stashes_and_what_is_staged_come_back_with_the_git_directory(world: World):
    made = await world.workspace()
    world.put("kept", b"x", within=made.path)
    commit = world.commit("on a side branch", cwd=made.path)
    world.git("branch", "idea", cwd=made.path)
    world.put("kept", b"stashed", within=made.path)
    world.git("stash", "--quiet", cwd=made.path)
    world.put("kept", b"staged", within=made.path)
    world.git("add", "kept", cwd=made.path)
    world.put("kept", b"x", within=made.path)
    saved = await salvage.salvage(made, at_ms=AT_MS)
    out = world.folder / "out"
    await restore.restore(made.source, saved.commit, out)
    assert world.git("rev-parse", "idea", cwd=out) == commit
    assert world.git("show", "stash@{0}:kept", cwd=out) == "stashed"
    assert world.git("show", ":kept", cwd=out) == "staged"
    world.git("fsck", cwd=out)


async def test_git_shows_what_was_changed(world: World):
    made = await world.workspace()
    world.put("new", b"x", within=made.path)
    saved = await salvage.salvage(made, at_ms=AT_MS)
    names = world.git("diff", "--name-status", made.base, saved.commit).splitlines()
    assert [line for line in names if "dash-kept" not in line] == ["A\tnew"]
    assert world.git("log", "-1", "--format=%P|%an|%at|%s", saved.commit).startswith(
        f"{made.base}|Dash|{AT_MS // 1000}|salvage of a1: "
    )
    assert saved.bytes_stored < 10_000, "what the base has is not stored again"


async def test_the_same_content_is_saved_once_and_another_keeps_the_first(world: World):
    made = await world.workspace()
    first = await salvage.salvage(made, at_ms=AT_MS)
    again = await salvage.salvage(made, at_ms=AT_MS + 60_000)
    assert (again.commit, again.bytes_stored) == (first.commit, 0)
    world.put("new", b"x", within=made.path)
    second = await salvage.salvage(made, at_ms=AT_MS + 60_000)
    assert world.git("log", "-1", "--format=%P", second.commit) == f"{made.base} {first.commit}"


async def test_what_was_not_kept_is_listed(world: World):
    made = await world.workspace()
    world.put("big", b"x" * 5000, within=made.path)
    os.mkfifo(made.path / "fifo")
    saved = await salvage.salvage(made, at_ms=AT_MS, limits=Limits(file_bytes_max=4000))
    assert [(u.path, u.kind, u.size) for u in saved.unsaved] == [("big", "file", 5000), ("fifo", "fifo", 0)]
    lines = await restore.restore(made.source, saved.commit, world.folder / "out")
    assert [line["unsaved"] for line in lines if "unsaved" in line] == ["big", "fifo"]
    assert not (world.folder / "out/big").exists()


async def test_a_file_of_the_base_is_kept_whatever_its_size(world: World):
    made = await world.workspace()
    world.put("README", os.urandom(3 << 20), within=made.path)
    saved = await salvage.salvage(made, at_ms=AT_MS, limits=Limits(file_bytes_max=1000))
    assert saved.unsaved == ()
    await restore.restore(made.source, saved.commit, world.folder / "out")
    assert (world.folder / "out/README").read_bytes() == (made.path / "README").read_bytes()


async def test_beyond_all_limits_no_ref_is_made(world: World):
    made = await world.workspace()
    with pytest.raises(TreeTooLarge):
        await salvage.salvage(made, at_ms=AT_MS, limits=Limits(bytes_max=10))
    assert world.ref(REF) == ""


async def test_the_users_repository_runs_nothing_of_its_own(world: World):
    script = world.hostile_script()
    for hook in ("reference-transaction", "post-update", "update", "pre-receive"):
        world.put(f".git/hooks/{hook}", script.read_bytes(), mode=0o755)
    made = await world.workspace()
    await salvage.salvage(made, at_ms=AT_MS)
    assert world.ref(REF)
    assert not world.canary.exists()


@pytest.mark.slow
async def test_a_thousand_files(world: World):
    """Printed for the curious: saving a thousand new files, then finding that nothing has changed."""
    made = await world.workspace()
    for n in range(1000):
        world.put(f"d{n % 20}/f{n}", b"line %d\n" % n * 50, within=made.path)
    began = time.monotonic()
    saved = await salvage.salvage(made, at_ms=AT_MS)
    middle = time.monotonic()
    found = await salvage.current(made)
    print(f"1000 files: salvage {middle - began:.2f} s, proof {time.monotonic() - middle:.2f} s")
    assert (found.tree, saved.files >= 1000) == (saved.tree, True)


async def test_only_a_salvage_can_be_restored(world: World, tmp_path: Path):
    made = await world.workspace()
    with pytest.raises(GitFailed, match="is not a salvage"):
        await restore.restore(made.source, made.base, tmp_path / "out")
    assert not (tmp_path / "out").exists()


_HARD_NAMES = (
    *(b".git", b".GIT", b".git ", b"git~1", b"dash-kept", b"dash-kept.git", b"dash-kept-manifest", b"HEAD"),
    *(b".gitattributes", b".gitmodules", b".gitignore", b"objects", b"refs", b"x" * 255, b"-", b"a\r\n"),
)
_NAMES = st.one_of(st.binary(min_size=1, max_size=12), st.sampled_from(_HARD_NAMES)).filter(
    lambda name: name not in (b".", b"..") and not {*b"/\0"} & {*name}
)
_HARD_CONTENTS = (
    *(b"* text=auto eol=crlf\n", b"* filter=lfs diff=lfs -text\n", b"* ident working-tree-encoding=UTF-16\n"),
    *(b"a\r\nb\n\rc", b"version https://git-lfs.github.com/spec/v1\n", b"gitdir: ../elsewhere\n", b"*\n"),
)
_CONTENTS = st.one_of(st.binary(max_size=60), st.sampled_from(_HARD_CONTENTS))
_MODES = st.one_of(st.integers(0, 0o7777), st.sampled_from([0o644, 0o755, 0o000, 0o2755, 0o4711, 0o1777]))
_LEAVES = st.one_of(
    st.tuples(st.just("file"), _MODES, _CONTENTS),
    st.tuples(
        st.just("link"), st.just(0), st.binary(min_size=1, max_size=20).filter(lambda to: b"\0" not in to)
    ),
)
_FOLDERS = st.recursive(
    st.dictionaries(_NAMES, _LEAVES, max_size=5),
    lambda inner: st.dictionaries(
        _NAMES, st.one_of(_LEAVES, st.tuples(st.just("folder"), _MODES, inner)), max_size=5
    ),
    max_leaves=12,
)


def build(at: bytes, entries: dict) -> None:
    """What hypothesis has thought of, as files."""
    for name, (kind, mode, content) in entries.items():
        path = os.path.join(at, name)
        if kind == "link":
            os.symlink(content, path)
            continue
        if kind == "folder":
            os.mkdir(path)
            build(path, content)
        else:
            with open(path, "wb") as file:
                file.write(content)
        os.chmod(path, mode)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_FOLDERS)
def test_any_tree_in_is_that_tree_out(world: World, entries: dict):
    async def salvaged() -> None:
        made = await world.workspace("a1")
        try:
            build(os.fsencode(made.path), {name: found for name, found in entries.items() if name != b".git"})
            await there_and_back(world, made)
        finally:
            made.path.rename(made.removing)
            await clone.recover_one(world.root, "a1")
            erase.remove_tree(world.folder, "out")
            world.git("update-ref", "-d", REF)

    trio.run(salvaged)
