"""What git takes of a folder, and what it leaves; what a commit and a diff make of it is with those."""

import pytest

from dashd.workspace import adding, git
from tests.workspace.world import World

pytestmark = pytest.mark.slow


def test_folders_that_are_not_entered(world: World):
    world.put("vendor/.git/HEAD", b"x")
    world.put("dark/deep/x", b"x")
    (world.repo / "dark").chmod(0)
    assert adding.aside(world.repo) == adding.Aside((b"vendor",), (b"dark",))


async def test_where_git_takes_everything_nothing_is_left(world: World):
    made = await world.workspace()
    world.put(b"odd \n\xff", b"x", within=made.path)
    world.put("inner/.git/HEAD", b"x", within=made.path)
    world.put("inner/file", b"x", within=made.path)
    place = git.Place(made.git_dir, read=made.source.objects, write=(made.path,), work_tree=made.path)
    assert (await adding.everything(place, adding.aside(made.path))).left == ()
    world.put("shut", b"x", within=made.path).chmod(0)
    (left,) = (await adding.everything(place, adding.aside(made.path))).left
    assert (left.path, left.status) == (b"shut", "added"), "and what lies in the inner one is not named"
