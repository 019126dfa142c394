"""The way there and back is in test_salvage.py; here are salvages that nobody of us has made."""

import subprocess
from pathlib import Path

import pytest

from dashd.workspace import restore
from dashd.workspace.errors import GitFailed
from tests.workspace.world import AT_MS, World


def forged(world: World, entries: list[tuple[str, str, str, bytes]]) -> str:
    """A commit whose tree has the given (mode, kind, name, content), with a manifest among them."""
    lines = []
    for mode, kind, name, content in entries:
        file = world.put("content", content, within=world.folder)
        lines.append(f"{mode} {kind} {world.git('hash-object', '-w', str(file))}\t{name}\0")
    tree = subprocess.run(
        ["git", "mktree", "-z"],
        cwd=world.repo,
        input="".join(lines).encode(),
        capture_output=True,
        check=True,
    )
    return world.git("commit-tree", "-m", "forged", tree.stdout.decode().strip())


@pytest.mark.parametrize("path", ["../out", "/etc/x", "a/../../x", "a//b", ""])
async def test_a_manifest_cannot_lead_outside(world: World, path: str):
    note = f'{{"folder": "{path}", "mode": "0777", "empty": true}}\n'.encode()
    commit = forged(world, [("100644", "blob", "dash-kept-manifest", note)])
    before = sorted(world.folder.iterdir())
    with pytest.raises(GitFailed, match="no path of a salvage"):
        await restore.restore(await world.source(), commit, world.folder / "into")
    assert sorted(world.folder.iterdir()) == sorted([*before, world.folder / "into"])


@pytest.mark.parametrize("name", ["dash-kept..", "dash-kept.", "dash-kept"])
async def test_a_name_cannot_lead_outside(world: World, name: str):
    commit = forged(world, [("100644", "blob", "dash-kept-manifest", b""), ("100644", "blob", name, b"x")])
    with pytest.raises(GitFailed, match="no path of a salvage"):
        await restore.restore(await world.source(), commit, world.folder / "into")


async def test_nothing_is_written_into_a_folder_that_is_there(world: World, tmp_path: Path):
    commit = forged(world, [("100644", "blob", "dash-kept-manifest", b"")])
    (tmp_path / "into").mkdir()
    with pytest.raises(FileExistsError):
        await restore.restore(await world.source(), commit, tmp_path / "into")


async def test_a_missing_object_is_told(world: World):
    commit = forged(
        world, [("100644", "blob", "dash-kept-manifest", b""), ("100644", "blob", "a", b"unique\n")]
    )
    id_ = world.git("rev-parse", f"{commit}:a")
    (world.repo / f".git/objects/{id_[:2]}/{id_[2:]}").unlink()
    with pytest.raises(GitFailed):
        await restore.restore(await world.source(), commit, world.folder / "into")


async def test_large_files_come_in_batches(world: World, monkeypatch: pytest.MonkeyPatch):
    from dashd.workspace import salvage

    monkeypatch.setattr(restore, "BATCH_BYTES_MAX", 100)
    made = await world.workspace()
    for n in range(5):
        world.put(f"f{n}", b"x" * (40 * n), within=made.path)
    saved = await salvage.salvage(made, at_ms=AT_MS)
    await restore.restore(made.source, saved.commit, world.folder / "into")
    assert [(world.folder / f"into/f{n}").stat().st_size for n in range(5)] == [0, 40, 80, 120, 160]
