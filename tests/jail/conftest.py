"""The fixture that gives a test its own world of launches, and ends it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dashd.jail import launcher
from tests.jail.world import World


@pytest.fixture
def ended_world(tmp_path: Path) -> Iterator[World]:
    """The clean-up, apart from the async part: it must run whatever became of the test's tasks."""
    world = World(tmp_path / ("long" * 30) / "launches")
    try:
        yield world
    finally:
        world.end_everything()


@pytest.fixture
async def world(ended_world: World) -> AsyncIterator[World]:
    async with launcher.open_launcher(ended_world.launches) as opened:
        ended_world.launcher = opened
        try:
            yield ended_world
        finally:
            ended_world.close_links()
