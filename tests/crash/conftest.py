"""A private home for a daemon, in which nothing is left running whatever the test does, and the stories."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from tests.crash import story, tree_story
from tests.crash.home import Home
from tests.crash.story import Story
from tests.crash.tree_story import TreeStory
from tests.fakes import jails

AT_ONCE = 3
"""A story mostly waits, so several are told at once; the other tests of this folder have come before."""
Told = TypeVar("Told")


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A state folder with a short path, because a socket's path is."""
    made = Home(tmp_path_factory.mktemp("c"))
    try:
        yield made
    finally:
        made.clean_up()


@pytest.fixture(scope="session")
def stories(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[int, Future[Story]]]:
    """By seed, the stories that this run asks for, all being told already."""
    with _all_told(request, tmp_path_factory, "test_torture.py", story.tell) as told:
        yield told


@pytest.fixture(scope="session")
def tree_stories(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[int, Future[TreeStory]]]:
    """Likewise, those on a repository."""
    jails.needed()
    with _all_told(request, tmp_path_factory, "test_torture_trees.py", tree_story.tell) as told:
        yield told


@contextlib.contextmanager
def _all_told(
    request: pytest.FixtureRequest,
    folders: pytest.TempPathFactory,
    file: str,
    tell: Callable[[Path, int], Told],
) -> Iterator[dict[int, Future[Told]]]:
    items = [item for item in request.session.items if item.path.name == file]
    seeds = [item.callspec.params["seed"] for item in items if hasattr(item, "callspec")]
    with ThreadPoolExecutor(AT_ONCE) as tellers:
        told = {seed: tellers.submit(tell, folders.mktemp("c"), seed) for seed in seeds}
        yield told
        for future in told.values():
            future.cancel()
