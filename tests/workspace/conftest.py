"""Every test here that takes `world` needs jails; it gets a repository of its own in a folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import jails
from tests.workspace.world import World, unlock


@pytest.fixture
def bare_world(tmp_path: Path) -> Iterator[World]:
    """Folders without a repository. Whatever happens in them, the canary does not appear."""
    jails.needed()
    made = World(tmp_path.resolve())
    yield made
    unlock(made.folder)
    assert not made.canary.exists(), "something of the repository was executed on the host"


@pytest.fixture
def world(bare_world: World) -> World:
    """A repository with one commit."""
    bare_world.make_repo()
    return bare_world
