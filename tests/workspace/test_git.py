"""git in its jail: what it reads, what it refuses, how failures are told."""

import pytest

from dashd.workspace import git
from dashd.workspace.errors import GitFailed
from tests.workspace.world import World


async def test_nothing_of_the_users_own_configuration_is_read(world: World):
    world.put(".gitconfig", b"[alias]\n\tx = !echo mine\n[user]\n\tname = me\n", within=world.folder)
    found = await git.lines((await world.source()).reading, "config", "--list", "-z")
    assert not [record for record in found if record.startswith((b"alias", b"user"))]


async def test_a_failure_says_what_git_said(world: World):
    with pytest.raises(GitFailed, match=r"git rev-parse ended with 128: .*nonsense"):
        await git.run((await world.source()).reading, "rev-parse", "nonsense")


async def test_records_that_were_cut_are_not_believed(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(git.run, "__kwdefaults__", {**git.run.__kwdefaults__, "output_bytes_max": 10})
    with pytest.raises(GitFailed, match="printed more than"):
        await git.lines((await world.source()).reading, "ls-tree", "-r", "-z", "HEAD")


async def test_what_takes_too_long_or_cannot_start_is_a_failure_of_git(world: World):
    place = (await world.source()).reading
    with pytest.raises(GitFailed, match="within 0 s"):
        await git.run(place, "cat-file", "--batch", deadline_s=0.0)
    with pytest.raises(GitFailed, match="did not start"):
        await git.run(git.Place(world.folder / "missing"), "version")


async def test_reading_cannot_write(world: World):
    source = await world.source()
    with pytest.raises(GitFailed, match=r"[Rr]ead-only"):
        await git.run(source.reading, "update-ref", "refs/heads/x", "HEAD")
    assert world.ref("refs/heads/x") == ""


async def test_an_id_means_its_content_whatever_the_repository_replaces(world: World):
    first = world.git("rev-parse", "HEAD")
    world.put("README", b"forged\n")
    second = world.commit("second")
    world.git("replace", first, second)
    assert world.git("show", f"{first}:README") == "forged"
    source = await world.source()
    assert await git.text(source.reading, "cat-file", "blob", f"{first}:README") == "hello"
