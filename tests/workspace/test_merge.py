"""Merges: rebased, tried out, moved, or nothing at all."""

import os
from typing import Any

import pytest

from dashd.workspace import bundle, merge, refs
from dashd.workspace.errors import CheckedOut, GateFailed, GitFailed, MergeConflict, RefMoved, UnknownBase
from dashd.workspace.merge import Gate, Merged
from tests.workspace.world import AT_MS, World

TARGET = "refs/heads/dash/s1/result"


async def work(world: World, agent: str, files: dict[str, bytes]) -> str:
    """The commit of an agent who wrote `files`, imported."""
    made = await world.workspace(agent)
    for path, content in files.items():
        world.put(path, content, within=made.path)
    world.commit(f"work of {agent}", cwd=made.path)
    return (await bundle.bring_back(made)).commit


async def put(world: World, commit: str, **more: Any) -> Merged:
    source = await world.source()
    options = {"key": "m1", "target": TARGET, "start": world.ref("main"), "at_ms": AT_MS, **more}
    return await merge.merge(world.root, source, commit=commit, **options)


def nothing_left(world: World) -> None:
    assert not [name for name in os.listdir(world.root) if name.startswith(".merging")]
    assert not list((world.root / ".spool").glob("merge-*"))
    assert world.git("status", "--porcelain") == ""


async def test_the_first_is_taken_as_it_is(world: World):
    commit = await work(world, "a1", {"one": b"1"})
    assert await put(world, commit) == Merged(TARGET, commit, None)
    assert world.ref(TARGET) == commit
    nothing_left(world)


async def test_the_next_is_rebased_and_nothing_of_the_others_is_dropped(world: World):
    commits = [await work(world, f"a{n}", {f"f{n}": b"x", "src/app.py": b"print(1)\n"}) for n in range(3)]
    before = None
    for commit in commits:
        merged = await put(world, commit)
        assert merged.before == before
        before = merged.commit
    assert world.git("ls-tree", "--name-only", TARGET).split() == ["README", "f0", "f1", "f2", "src"]
    assert world.git("log", "--format=%s", TARGET).splitlines() == [
        "work of a2", "work of a1", "work of a0", "first",
    ]  # fmt: skip
    assert world.git("log", "-1", "--format=%an %cn", TARGET) == "user Dash"
    nothing_left(world)
    world.git("fsck")


async def merging_work(world: World, agent: str, *, also: str = "") -> str:
    """Work of an agent with a merge commit in it, which itself changes two files."""
    made = await world.workspace(agent)
    world.git("switch", "--quiet", "-c", "side", cwd=made.path)
    world.put("side", b"side\n", within=made.path)
    world.commit("on the side", cwd=made.path)
    world.git("switch", "--quiet", "-", cwd=made.path)
    world.git("merge", "--quiet", "--no-commit", "--no-ff", "side", cwd=made.path)
    world.put("only-here", b"in the merge\n", within=made.path)
    world.put("src/app.py", b"print(2)\n", within=made.path)
    if also:
        world.put(also, b"theirs\n", within=made.path)
    world.commit("the merge", cwd=made.path)
    return (await bundle.bring_back(made)).commit


def content(world: World, path: str) -> str:
    return world.git("show", f"{TARGET}:{path}")


async def test_what_only_a_merge_commit_has_is_merged_too(world: World):
    first, second = await work(world, "a1", {"one": b"1"}), await merging_work(world, "a2")
    await put(world, first)
    merged = await put(world, second, gates=[Gate(("sh", "-c", "test -e one -a -e side -a -e only-here"))])
    assert [content(world, path) for path in ("one", "side", "only-here", "src/app.py")] == [
        "1", "side", "in the merge", "print(2)",
    ]  # fmt: skip
    assert world.git("log", "--format=%P|%an|%cn", "-1", TARGET) == f"{first}|user|Dash"
    told = world.git("log", "--format=%B", "-1", TARGET)
    assert second[:12] in told
    assert "on the side" in told
    assert "the merge" in told
    again = await put(world, second)
    assert again.commit == merged.commit, "it is there already"
    nothing_left(world)
    world.git("fsck")


async def test_the_target_with_merge_commits_is_put_on_top_of_the_users_branch(world: World):
    await put(world, await merging_work(world, "a1"))
    world.put("mine", b"mine")
    world.commit("mine")
    await rebase(world)
    assert [content(world, path) for path in ("mine", "side", "only-here", "src/app.py")] == [
        "mine", "side", "in the merge", "print(2)",
    ]  # fmt: skip
    nothing_left(world)


async def test_a_conflict_of_a_merge_commit_names_the_files(world: World):
    first = await work(world, "a1", {"README": b"mine\n"})
    second = await merging_work(world, "a2", also="README")
    await put(world, first)
    with pytest.raises(MergeConflict) as caught:
        await put(world, second)
    assert caught.value.paths == ("README",)
    assert world.ref(TARGET) == first
    nothing_left(world)


async def test_an_agent_that_goes_on_after_its_work_was_merged(world: World):
    made = await world.workspace("a2")
    await put(world, await work(world, "a1", {"one": b"1"}))
    for text in (b"once\n", b"twice\n"):
        world.put("README", text, within=made.path)
        world.commit("work", cwd=made.path)
        await put(world, (await bundle.bring_back(made)).commit)
    assert (content(world, "README"), content(world, "one")) == ("twice", "1")


async def test_what_a_rebase_would_drop_is_a_conflict(world: World):
    """The first commit is dropped as known; then the second takes back what the other agent has done."""
    first = await work(world, "a1", {"README": b"hello\n1\n"})
    made = await world.workspace("a2")
    for text in (b"hello\n1\n", b"hello\n"):
        world.put("README", text, within=made.path)
        world.commit("there and back", cwd=made.path)
    await put(world, first)
    second = (await bundle.bring_back(made)).commit
    world.git("commit", "--quiet", "--allow-empty", "-m", "mine")
    with pytest.raises(MergeConflict, match="Commit by commit") as caught:
        await put(world, second)
    assert caught.value.paths == ("README",)
    assert world.ref(TARGET) == first


async def rebase(world: World, **more: Any) -> Merged:
    source = await world.source()
    options = {"key": "m2", "target": TARGET, "onto": world.ref("main"), "at_ms": AT_MS, **more}
    return await merge.rebase(world.root, source, **options)


async def test_the_target_itself_is_put_on_top_of_what_the_user_has_done_meanwhile(world: World):
    for agent in ("a1", "a2"):
        await put(world, await work(world, agent, {agent: b"x"}))
    before = world.ref(TARGET)
    world.put("mine", b"mine")
    mine = world.commit("mine")
    merged = await rebase(world, gates=[Gate(("sh", "-c", "test -e mine -a -e a1 -a -e a2"))])
    assert (merged.before, merged.commit) == (before, world.ref(TARGET))
    log = world.git("log", "--format=%s", TARGET).splitlines()
    assert log == ["work of a2", "work of a1", "mine", "first"]
    assert world.ref("main") == mine
    nothing_left(world)
    world.git("fsck")
    assert await rebase(world) == Merged(TARGET, merged.commit, merged.commit)
    # What comes later goes on top of it.
    await put(world, await work(world, "a3", {"a3": b"x"}))
    assert world.git("log", "--format=%s", "-2", TARGET).splitlines() == ["work of a3", "work of a2"]


async def test_a_target_that_the_user_has_all_of_is_where_the_user_is(world: World):
    await put(world, await work(world, "a1", {"one": b"1"}))
    world.put("one", b"1")
    mine = world.commit("the same, by hand")
    assert (await rebase(world)).commit == mine


async def test_a_rebase_that_fails_leaves_the_target(world: World):
    commit = await work(world, "a1", {"README": b"theirs\n"})
    await put(world, commit)
    fine = world.commit("fine")
    with pytest.raises(GateFailed):
        await rebase(world, gates=[Gate(("false",))])
    world.put("README", b"mine\n")
    world.commit("mine")
    with pytest.raises(MergeConflict) as caught:
        await rebase(world)
    assert caught.value.paths == ("README",)
    with pytest.raises(UnknownBase, match="There is no"):
        await rebase(world, target="refs/heads/dash/s1/none")
    with pytest.raises(CheckedOut):
        await rebase(world, target="refs/heads/main", onto=fine)
    assert world.ref(TARGET) == commit
    nothing_left(world)


async def test_what_is_there_already_changes_nothing(world: World):
    commit = await work(world, "a1", {"one": b"1"})
    await put(world, commit)
    assert await put(world, commit) == Merged(TARGET, commit, commit)
    assert await put(world, world.ref("main")) == Merged(TARGET, commit, commit)


async def test_gates_decide_about_what_is_there_already(world: World):
    commit = await work(world, "a1", {"one": b"1"})
    await put(world, commit)
    await put(world, await work(world, "a2", {"two": b"2"}))
    both = Gate(("sh", "-c", "test -e one -a -e two"))
    assert (await put(world, commit, gates=[both])).commit == world.ref(TARGET)
    with pytest.raises(GateFailed):
        await put(world, commit, gates=[Gate(("false",))])


async def test_what_is_about_to_be_is_told_behind_the_gates(world: World):
    told: list[tuple[str, str]] = []

    async def intend(commit: str) -> None:
        told.append((commit, world.ref(TARGET)))

    commit = await work(world, "a1", {"one": b"1"})
    with pytest.raises(GateFailed):
        await put(world, commit, gates=[Gate(("false",))], intend=intend)
    assert told == []
    await put(world, commit, intend=intend)
    merged = await put(world, await work(world, "a2", {"two": b"2"}), intend=intend)
    assert told == [(commit, ""), (merged.commit, commit)]
    await put(world, commit, intend=intend)
    assert len(told) == 2, "nothing was about to be moved"


async def test_a_conflict_names_the_files_and_moves_nothing(world: World):
    first = await work(world, "a1", {"README": b"one\n", "a\nb": b"1"})
    second = await work(world, "a2", {"README": b"two\n", "a\nb": b"2", "fine": b"x"})
    await put(world, first)
    with pytest.raises(MergeConflict) as caught:
        await put(world, second)
    assert sorted(caught.value.paths) == ["README", "a\nb"]
    assert world.ref(TARGET) == first
    nothing_left(world)


async def test_gates_see_the_merged_tree_and_decide(world: World):
    await put(world, await work(world, "a1", {"one": b"1"}))
    second = await work(world, "a2", {"two": b"2"})
    good = Gate(("sh", "-c", "test -f one && test -f two && echo x > README && test ! -e /etc/hosts"))
    bad = Gate(("sh", "-c", "echo looking; echo broken >&2; exit 3"))
    before = world.ref(TARGET)
    with pytest.raises(GateFailed) as caught:
        await put(world, second, gates=(good, bad))
    assert (caught.value.code, caught.value.output) == (3, "looking\nbroken\n")
    assert world.ref(TARGET) == before
    nothing_left(world)
    merged = await put(world, second, gates=(good,))
    assert world.git("show", f"{merged.commit}:README") == "hello", "what a gate writes is not merged"


async def test_a_gate_cannot_change_what_is_merged_or_write_elsewhere(world: World):
    await put(world, await work(world, "a1", {"one": b"1"}))
    second = await work(world, "a2", {"two": b"2"})
    script = (
        "git config user.name x; git config user.email x; echo evil > evil; git add -A; git commit -qm evil;"
        f"echo x > {world.canary}; touch {world.repo}/.git/objects/x; true"
    )
    await put(world, second, gates=(Gate(("sh", "-c", script)),))
    assert "evil" not in world.git("ls-tree", "--name-only", TARGET)
    assert not (world.repo / ".git/objects/x").exists()


@pytest.mark.parametrize(("argv", "code"), [(("sleep", "60"), None), (("no-such-program",), 127)])
async def test_a_gate_that_does_not_end_or_start_refuses(
    world: World, argv: tuple[str, ...], code: int | None
):
    commit = await work(world, "a1", {"one": b"1"})
    with pytest.raises(GateFailed) as caught:
        await put(world, commit, gates=(Gate(argv, deadline_s=0.5),))
    assert caught.value.code == code
    assert world.ref(TARGET) == ""
    nothing_left(world)


async def test_a_target_that_moved_meanwhile_is_left(world: World, monkeypatch: pytest.MonkeyPatch):
    first, second = await work(world, "a1", {"one": b"1"}), await work(world, "a2", {"two": b"2"})
    await put(world, first)
    run = merge._Scratch.run

    async def meddle(scratch: Any, gate: Gate) -> None:
        world.git("update-ref", TARGET, world.ref("main"))
        await run(scratch, gate)

    monkeypatch.setattr(merge._Scratch, "run", meddle)
    with pytest.raises(RefMoved):
        await put(world, second, gates=(Gate(("true",)),))
    assert world.ref(TARGET) == world.ref("main")
    nothing_left(world)


async def test_success_is_only_said_after_the_ref_was_seen(world: World, monkeypatch: pytest.MonkeyPatch):
    commit = await work(world, "a1", {"one": b"1"})

    async def lies(*_: object) -> None: ...

    monkeypatch.setattr(refs, "_change", lies)
    with pytest.raises(RefMoved):
        await put(world, commit)
    nothing_left(world)


@pytest.mark.parametrize("where", ["main", "worktree"])
async def test_a_checked_out_branch_is_never_moved(world: World, where: str):
    commit, before = await work(world, "a1", {"one": b"1"}), world.ref("main")
    target = "refs/heads/main"
    if where == "worktree":
        world.git("worktree", "add", "--quiet", "-b", "side", str(world.folder / "linked"))
        target = "refs/heads/side"
    with pytest.raises(CheckedOut, match="is checked out in /"):
        await put(world, commit, target=target)
    assert world.ref(target) == before


async def test_a_target_is_a_branch(world: World):
    with pytest.raises(UnknownBase):
        await put(world, world.ref("main"), target="main")


async def test_a_commit_that_is_not_there(world: World):
    with pytest.raises(GitFailed):
        await put(world, "1" * 40)
    nothing_left(world)


async def test_what_an_interrupted_merge_left_goes(world: World):
    commit = await work(world, "a1", {"one": b"1"})
    for name in (".merging-m1", ".merging-m2", ".spool/merge-m2", ".spool/merge-m3", ".spool/a1"):
        (world.root / name).mkdir(parents=True, exist_ok=True)
        (world.root / name / "x").write_text("x")
    await put(world, commit)
    await merge.recover(world.root)
    nothing_left(world)
    assert os.listdir(world.root / ".spool") == ["a1"]
    await merge.recover(world.folder / "none")


async def test_sha256(bare_world: World):
    bare_world.make_repo("--object-format=sha256")
    first = await work(bare_world, "a1", {"one": b"1"})
    second = await work(bare_world, "a2", {"two": b"2"})
    await put(bare_world, first)
    await put(bare_world, second)
    assert bare_world.git("ls-tree", "--name-only", TARGET).split() == ["README", "one", "src", "two"]
