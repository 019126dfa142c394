"""A private home for a daemon, in which nothing is left running whatever the test does, and the stories."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.crash.home import Home
from tests.crash.story import Story, tell

AT_ONCE = 3
"""A story mostly waits, so several are told at once; the other tests of this folder have come before."""


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
    items = [item for item in request.session.items if item.path.name == "test_torture.py"]
    seeds = [item.callspec.params["seed"] for item in items if hasattr(item, "callspec")]
    with ThreadPoolExecutor(AT_ONCE) as tellers:
        told = {seed: tellers.submit(tell, tmp_path_factory.mktemp("c"), seed) for seed in seeds}
        yield told
        for future in told.values():
            future.cancel()
