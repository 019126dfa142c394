"""Workspaces: made, half-made, taken back."""

import dataclasses
import errno
import itertools
import os
from pathlib import Path

import pytest
import trio
import trio.testing

from dashd.jail import tool
from dashd.workspace import clone, git, place, refs, source
from dashd.workspace.errors import GitFailed, OutsideRoot, WorkspaceError, WorkspaceExists
from dashd.workspace.place import Shared
from tests.workspace.world import World, picture


async def test_an_agent_gets_the_base_on_a_branch_of_its_own(world: World):
    commit = world.ref("HEAD")
    made = await world.workspace("s1-001")
    assert made.path == world.root / "repo-dash-s1-001"
    assert world.git("status", "--porcelain", "--branch", cwd=made.path) == "## dash/s1/s1-001"
    assert world.git("rev-parse", "HEAD", cwd=made.path) == commit
    assert world.ref("refs/dash/base/s1-001") == commit
    assert (made.path / "src/app.py").read_bytes() == b"print(1)\n"
    assert place.read_records(world.root) == [made]
    assert sorted(os.listdir(world.root)) == [".dash", "repo-dash-s1-001"]


async def test_objects_are_borrowed_not_copied(world: World):
    made = await world.workspace()
    assert not [
        path
        for path in (made.git_dir / "objects").rglob("*")
        if path.is_file() and path.parent.name != "info"
    ]
    world.git("fsck", cwd=made.path)


async def test_the_base_outlives_what_the_user_does_to_branches(world: World):
    made = await world.workspace()
    world.git("checkout", "--quiet", "--orphan", "other")
    world.commit("unrelated")
    world.git("branch", "-D", "main")
    world.git("reflog", "expire", "--expire=now", "--all")
    world.git("gc", "--quiet", "--prune=now")
    world.git("fsck", cwd=made.path)
    assert world.git("show", "HEAD:README", cwd=made.path) == "hello"


async def test_what_the_agents_jail_is_given_is_enough_and_the_user_repository_is_not_writable(world: World):
    made = await world.workspace()
    script = (
        f"git add -A && git commit -qm work && git log --oneline | wc -l; echo x > {world.repo}/.git/x;"
        f"echo x > {world.repo}/.git/objects/x || echo refused;"
        f"git -C {world.repo} update-ref refs/heads/mine HEAD || echo refused"
    )
    world.put("new", b"x", within=made.path)
    env = {**git.ENVIRONMENT}
    done = await tool.run(
        tool.Tool(
            argv=("sh", "-c", script), cwd=made.path, env=env, read=made.source.objects, write=(made.path,),
            deadline_s=20, output_bytes_max=10_000,
        )
    )  # fmt: skip
    assert done.stdout.split() == [b"2", b"refused", b"refused"], done.stderr
    assert world.ref("refs/heads/mine") == ""
    assert not (world.repo / ".git/x").exists()


async def test_dependency_folders_of_the_user_are_shared_unless_isolated_tracked_or_links(world: World):
    for name in ("node_modules", ".venv", "vendor", "deps"):
        world.put(f"{name}/x", b"x")
    world.put(".gitignore", b"/deps\n/.venv\n/node_modules\n/link\n")
    world.commit("vendor is tracked")
    (world.repo / "link").symlink_to("deps")
    names = ("node_modules", ".venv", "vendor", "link", "missing", "deps")
    made = await world.workspace(shared=names, isolated=("deps",))
    assert made.shared == tuple(
        Shared(world.repo / name, made.path / name) for name in ("node_modules", ".venv")
    )
    assert os.listdir(made.path / "node_modules") == []
    assert not (made.path / "deps").exists()


async def test_a_shared_folder_is_never_added_by_an_agent(world: World):
    world.put("no*de [x]/x", b"x")
    made = await world.workspace(shared=("no*de [x]",))
    world.put("no*de [x]/x", b"x", within=made.path)
    world.put("node x/x", b"x", within=made.path)
    assert world.git("status", "--porcelain", cwd=made.path) == '?? "node x/"'


@pytest.mark.parametrize("name", ["", "..", ".git", "a/b", "/etc"])
async def test_only_a_top_folder_can_be_shared(world: World, name: str):
    with pytest.raises(WorkspaceError, match="cannot be shared"):
        await world.workspace(shared=(name,))
    assert world.ref("refs/dash/base/a1") == ""


async def test_submodules_stay_empty_and_no_filter_runs(world: World):
    other = World(world.folder / "other")
    other.folder.mkdir()
    other.make_repo()
    world.git("submodule", "--quiet", "add", str(other.repo), "lib/sub")
    world.put(".gitattributes", b"*.bin filter=lfs -text\nplain.bin -filter\n")
    world.put("a.bin", b"version https://git-lfs.github.com/spec/v1\n")
    world.put("plain.bin", b"x")
    world.commit("submodule and large files")
    made = await world.workspace()
    assert os.listdir(made.path / "lib/sub") == []
    assert (made.path / "a.bin").read_bytes().startswith(b"version https")


async def test_every_kind_of_repository(world: World):
    bare, linked, shallow = (world.folder / name for name in ("bare.git", "linked", "shallow"))
    world.commit("second")
    world.git("clone", "--quiet", "--bare", str(world.repo), str(bare))
    world.git("worktree", "add", "--quiet", "-b", "side", str(linked))
    world.git("clone", "--quiet", "--depth=1", f"file://{world.repo}", str(shallow))
    for n, folder in enumerate((bare, linked, shallow)):
        found = await source.inspect(folder)
        base = await source.resolve_base(found)
        made = await clone.create(world.root, found, swarm="s1", agent=f"k{n}", base=base.commit)
        assert (made.path / "README").read_bytes() == b"hello\n"
        world.git("fsck", cwd=made.path)
        assert world.git("rev-list", "--count", "HEAD", cwd=made.path) == ("1" if folder == shallow else "2")


async def test_sha256(bare_world: World):
    bare_world.make_repo("--object-format=sha256")
    made = await bare_world.workspace()
    assert len(bare_world.git("rev-parse", "HEAD", cwd=made.path)) == 64
    bare_world.put("new", b"x", within=made.path)
    bare_world.commit("work", cwd=made.path)


async def test_line_ends_follow_the_attributes(world: World):
    world.put(".gitattributes", b"*.bat text eol=crlf\n* -text\n*.bat text eol=crlf\n")
    world.put("a.bat", b"x\r\ny\r\n")
    world.put("raw", b"x\r\ny\n")
    world.commit("line ends")
    made = await world.workspace()
    assert (made.path / "a.bat").read_bytes() == b"x\r\ny\r\n"
    assert (made.path / "raw").read_bytes() == b"x\r\ny\n"
    assert world.git("status", "--porcelain", cwd=made.path) == ""


async def test_many_at_once(world: World):
    found = await world.source()
    base = (await source.resolve_base(found)).commit
    async with trio.open_nursery() as nursery:
        for n in range(8):
            nursery.start_soon(
                lambda n=n: clone.create(world.root, found, swarm="s1", agent=f"a{n}", base=base)
            )
    assert len(place.read_records(world.root)) == 8


async def test_an_agent_has_one_workspace(world: World):
    made = await world.workspace()
    before = picture(made.path)
    with pytest.raises(WorkspaceExists):
        await world.workspace()
    assert picture(made.path) == before


async def test_an_id_that_is_no_name_makes_nothing(world: World):
    with pytest.raises(OutsideRoot):
        await world.workspace("../x")
    assert not world.root.exists()


async def test_a_failure_leaves_nothing(world: World):
    found = await world.source()
    (world.repo / ".git/refs/dash").write_text("in the way")
    with pytest.raises(GitFailed):
        await world.workspace()
    (world.repo / ".git/refs/dash").unlink()
    with pytest.raises(GitFailed):
        await clone.create(world.root, found, swarm="s1", agent="a1", base="1" * 40)
    assert place.read_records(world.root) == []
    assert os.listdir(world.root) == [".dash"]


async def test_cancelling_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch):
    """Wherever it waits: before each git that it runs, while that runs, and after it."""
    found = await world.source()
    base = (await source.resolve_base(found)).commit
    outcomes = {}
    for when in ("before", "while", "after"):
        for number in itertools.count(1):
            with trio.CancelScope() as scope:
                gits = CancelledGit(git.run, scope, number, when)
                with monkeypatch.context() as patched:
                    patched.setattr(git, "run", gits.run)
                    await clone.create(world.root, found, swarm="s1", agent="a1", base=base)
            outcomes[when, number] = scope.cancelled_caught
            if scope.cancelled_caught:
                assert place.read_records(world.root) == []
                assert world.ref("refs/dash/base/a1") == ""
                assert os.listdir(world.root) == [".dash"]
                continue
            (made,) = place.read_records(world.root)
            made.path.rename(made.removing)
            await clone.recover_one(world.root, "a1")
            if gits.seen < number:
                break
    gits_run = gits.seen
    assert gits_run >= 3
    assert all(outcomes["before", number] for number in range(1, gits_run + 1))
    # After the last one nothing is waited for.
    assert all(outcomes[when, number] for when in ("while", "after") for number in range(1, gits_run))


class CancelledGit:
    """git.run, of which the given call is cancelled before it begins, while its process runs, or after it.

    A process may end before anybody sees it run; then it is cancelled after it.
    """

    def __init__(self, real, scope: trio.CancelScope, number: int, when: str) -> None:
        self.real, self.scope, self.number, self.when = real, scope, number, when
        self.seen = 0

    async def run(self, *args, **named):
        self.seen += 1
        if self.seen != self.number:
            return await self.real(*args, **named)
        if self.when == "before":
            self.scope.cancel(reason="before it begins")
        async with trio.open_nursery() as nursery:
            if self.when == "while":
                nursery.start_soon(self._cancel_soon)
            done = await self.real(*args, **named)
            nursery.cancel_scope.cancel(reason="it has ended")
        self.scope.cancel(reason="it has ended")
        return done

    async def _cancel_soon(self) -> None:
        await trio.testing.wait_all_tasks_blocked()
        self.scope.cancel(reason="while it runs")


async def test_a_half_made_workspace_is_taken_back(world: World):
    made = await world.workspace()
    made.path.rename(made.making)
    whole = await world.workspace("a2")
    assert [(r.workspace.agent, r.found, r.problem) for r in await clone.recover(world.root)] == [
        ("a1", "half-made", "")
    ]
    assert sorted(os.listdir(world.root)) == [".dash", whole.name]
    assert world.ref(made.base_ref) == ""
    assert world.ref(whole.base_ref) != ""
    assert await clone.recover(world.root) == []
    await world.workspace()


async def test_a_lock_on_the_pin_that_a_killed_git_has_left_does_not_stand_in_the_way(world: World):
    made = await world.workspace()
    made.path.rename(made.making)
    await refs.delete(made.source, made.base_ref)
    lock = world.put(f".git/{made.base_ref}.lock", b"")
    await clone.recover(world.root)
    assert not lock.exists()
    lock.write_bytes(b"")
    await world.workspace()


async def test_a_removal_is_finished(world: World):
    made = await world.workspace()
    made.path.rename(made.removing)
    assert [r.found for r in await clone.recover(world.root)] == ["half-removed"]
    assert os.listdir(world.root) == [".dash"]


async def test_a_tree_that_somebody_took_away_is_told(world: World):
    made = await world.workspace()
    made.path.rename(world.folder / "elsewhere")
    assert [r.found for r in await clone.recover(world.root)] == ["gone"]
    assert place.read_records(world.root) == []


async def test_a_repository_that_is_gone_does_not_keep_recovery_from_ending(world: World):
    made = await world.workspace()
    made.path.rename(made.making)
    world.repo.rename(world.folder / "moved")
    assert [(r.found, r.problem) for r in await clone.recover(world.root)] == [("half-made", "")]
    assert place.read_records(world.root) == []


async def test_a_ref_that_cannot_be_removed_is_told_and_the_rest_done(world: World):
    made = await world.workspace()
    made.path.rename(made.making)
    other = dataclasses.replace(made.source, git_dir=Path("/nonexistent"))
    place.write_record(dataclasses.replace(made, source=other))
    (found,) = await clone.recover(world.root)
    assert found.problem
    assert place.read_records(world.root) == []


async def test_a_root_that_is_not_there_has_nothing_to_recover(bare_world: World):
    assert await clone.recover(bare_world.root) == []


async def test_where_the_last_step_fails_nothing_is_left_either(world: World, monkeypatch):
    """It is in its place then, and perhaps not durably."""
    sync = place.sync_folder

    def scarce(folder):
        if folder == world.root:
            raise OSError(errno.EMFILE, "Too many open files")
        sync(folder)

    monkeypatch.setattr(place, "sync_folder", scarce)
    with pytest.raises(OSError, match="Too many open files"):
        await world.workspace()
    monkeypatch.undo()
    assert place.read_records(world.root) == []
    assert [path.name for path in world.root.iterdir() if "a1" in path.name] == []
    assert world.ref("refs/dash/base/a1") == ""
