"""The runtime's way to real workspaces: one life each, and what a death leaves."""

import shutil

import pytest

from dashd.domain.repository import Terms
from dashd.runtime import workspaces
from dashd.runtime.workspaces import Workspaces
from dashd.workspace import land, place, source
from dashd.workspace.errors import WorkspaceError
from tests.fakes import jails
from tests.workspace.world import AT_MS, World

pytestmark = pytest.mark.slow


@pytest.fixture
def world(tmp_path):
    jails.needed()
    made = World(tmp_path.resolve())
    made.make_repo()
    return made


@pytest.fixture
async def terms(world):
    found = await source.inspect(world.repo)
    return Terms(str(world.repo), (await source.resolve_base(found)).commit)


async def test_from_the_clone_to_the_removal(world, terms):
    trees = Workspaces(world.root)
    made = await trees.make("s1-001", "s1", terms, terms.base, alone=True)
    (made.git_dir / "index.lock").touch()
    assert await trees.make("s1-001", "s1", terms, terms.base, alone=True) == made
    assert not (made.git_dir / "index.lock").exists()
    world.put("new", b"1\n", within=made.path)
    taken = await trees.take_in(made, "left", within=None, all_of_it=True)
    assert world.ref(made.branch) == taken.commit != made.base
    assert [each.path for each in taken.changes] == ["new"]
    assert taken.nested == ()
    world.put("deep/vendor/file", b"1\n", within=made.path)
    world.git("init", "-q", cwd=made.path / "deep/vendor")
    again = await trees.take_in(made, "left", within=None, all_of_it=True)
    assert (again.nested, [each.path for each in again.changes]) == (("deep/vendor",), ["new"])
    shutil.rmtree(made.path / "deep")
    assert again.commit == taken.commit
    assert await trees.save(made, AT_MS) is None
    world.put("more", b"2\n", within=made.path)
    assert (await trees.look(made, patch_bytes_max=999, files_max=9)).files[-1].path == "new"
    saved = await trees.save(made, AT_MS)
    assert saved is not None
    assert world.ref(made.salvage_ref) == saved.commit
    assert await trees.remove(made, give_up=False) == ""
    assert await trees.find("s1-001") is None
    assert await trees.recover() == []


async def test_a_half_made_one_is_made_again(world, terms):
    trees = Workspaces(world.root)
    made = await trees.make("s1-001", "s1", terms, terms.base, alone=True)
    made.path.rename(made.making)
    assert (await trees.make("s1-001", "s1", terms, terms.base, alone=True)).path.is_dir()
    assert len(place.read_records(world.root)) == 1


async def test_what_takes_too_long_and_what_the_disk_refuses_is_said(world, terms, monkeypatch):
    monkeypatch.setattr(workspaces, "MAKE_S_MAX", 0.0)
    trees = Workspaces(world.root)
    with pytest.raises(workspaces.TooSlow, match="making its workspace took longer than 0 s"):
        await trees.make("s1-001", "s1", terms, terms.base, alone=True)
    monkeypatch.undo()
    blocked = Workspaces(world.put("file", b"", within=world.folder) / "under")
    with pytest.raises(WorkspaceError, match="Not a directory"):
        await blocked.make("s1-001", "s1", terms, terms.base, alone=True)


async def test_what_the_disk_refuses_ends_no_merge_and_no_landing_of_others(world, terms):
    """Each is the end of what was asked for, with its words: the tasks that do it go on with the next."""
    blocked = Workspaces(world.put("file", b"", within=world.folder) / "under")
    asked = {"key": "m-1", "target": "dash/s1/s1", "at_ms": AT_MS, "gates": (), "intend": None}
    with pytest.raises(workspaces.DiskFailed, match="merging: Not a directory"):
        await blocked.merge(terms, commit=terms.base, **asked)
    world.git("branch", "dash/s1/s1")
    with pytest.raises(workspaces.DiskFailed, match="rebasing: Not a directory"):
        await blocked.rebase(terms, onto=terms.base, **asked)
    trees = Workspaces(world.root)
    land._journal(trees.root, await trees.source(terms)).mkdir(parents=True)
    with pytest.raises(workspaces.DiskFailed, match="landing: Is a directory"):
        await trees.land(terms, onto="main", commit=terms.base)
    (trees.root / ".dash" / "s1-001.json").mkdir()
    with pytest.raises(workspaces.DiskFailed, match="looking for its workspace: Is a directory"):
        await trees.find("s1-001")


def test_names_can_be_said():
    assert workspaces.spoken("plain/ü") == "plain/ü"
    assert workspaces.spoken("bad\udcff") == "bad\\xff"
