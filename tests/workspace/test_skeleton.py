"""Git directories made by hand, which git itself must accept."""

import os
from pathlib import Path

import pytest

from dashd.workspace import skeleton
from dashd.workspace.source import Source
from tests.workspace.world import World


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
async def test_git_takes_it_for_a_repository_with_all_objects_of_the_source(
    bare_world: World, object_format: str
):
    bare_world.make_repo(f"--object-format={object_format}")
    commit, made = bare_world.ref("HEAD"), bare_world.folder / "made"
    source = await bare_world.source()
    skeleton.write(made / ".git", source, branch="refs/heads/dash/s/a", commit=commit, name="Dash agent a")
    assert bare_world.git("log", "-1", "--format=%s", cwd=made) == "first"
    assert bare_world.git("branch", "--show-current", cwd=made) == "dash/s/a"
    assert bare_world.git("config", "user.name", cwd=made) == "Dash agent a"
    bare_world.git("reset", "--quiet", "--hard", cwd=made)
    bare_world.git("fsck", "--strict", cwd=made)


def test_a_bare_one_without_a_commit(tmp_path: Path):
    source = Source(None, tmp_path, tmp_path)
    skeleton.write(tmp_path / "made", source, branch="refs/heads/x", bare=True, borrow=(Path("/more"),))
    assert (tmp_path / "made/objects/info/alternates").read_text() == f"{tmp_path}/objects\n/more\n"
    assert "bare = true" in (tmp_path / "made/config").read_text()
    assert os.listdir(tmp_path / "made/refs/heads") == []


def test_a_shallow_source_makes_a_shallow_one(tmp_path: Path):
    (tmp_path / "shallow").write_text("1" * 40 + "\n")
    skeleton.write(tmp_path / "made", Source(None, tmp_path, tmp_path, shallow=True), branch="refs/heads/x")
    assert (tmp_path / "made/shallow").read_text() == "1" * 40 + "\n"
