"""Stories of a swarm whose daemons, holders and fork servers are killed at named points and at random.

`DASH_TORTURE` sets how many stories are told, `DASH_SEED` where they start; a failure names seed and plan.
"""

import os
from collections import Counter
from concurrent.futures import Future

import pytest

from tests.crash import points
from tests.crash.story import Story

pytestmark = [pytest.mark.crash, pytest.mark.slow]

STORIES = int(os.environ.get("DASH_TORTURE", "20"))
FIRST_SEED = int(os.environ.get("DASH_SEED", "0"))
STORY_S_MAX = 300.0
reached: Counter[str] = Counter()


@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + STORIES))
def test_nothing_is_lost_and_nothing_done_twice(stories: dict[int, Future[Story]], seed: int) -> None:
    print(points.plan(seed))
    reached.update(stories[seed].result(STORY_S_MAX).reached)


def test_the_stories_have_reached_every_point() -> None:
    everything = {*points.FRESH, *points.RETURN}
    assert len(everything) >= 40
    if reached["random"] < 20:  # every story has one life of that kind
        pytest.skip("too few stories were told to reach every point")
    assert everything <= set(reached)
