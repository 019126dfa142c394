"""Stories on a repository: dashd is killed around workspaces, merges, landings, talks, and at random.

A fifth of `DASH_TORTURE` is how many stories are told, `DASH_SEED` is where they start; a failure names seed
and plan.
"""

import os
import sys
from collections import Counter
from concurrent.futures import Future

import pytest

from tests.crash import tree_story
from tests.crash.tree_story import LIVES, POINTS, TreeStory

pytestmark = [pytest.mark.crash, pytest.mark.slow]

ROUND_TRIP = -(-len(POINTS) // LIVES)
"""So many stories go round all points once."""
STORIES = max(1, int(os.environ["DASH_TORTURE"]) // 5) if "DASH_TORTURE" in os.environ else ROUND_TRIP
FIRST_SEED = int(os.environ.get("DASH_SEED", "0"))
STORY_S_MAX = 900.0
reached: Counter[str] = Counter()


@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + STORIES))
def test_no_byte_is_lost_and_nothing_is_merged_twice(
    tree_stories: dict[int, Future[TreeStory]], seed: int
) -> None:
    print(tree_story.plan(seed))
    reached.update(tree_stories[seed].result(STORY_S_MAX).reached)


def test_the_stories_have_reached_every_point() -> None:
    if reached["random"] < ROUND_TRIP:  # every story has one life of that kind
        pytest.skip("too few stories were told to reach every point")
    sys.stderr.write(f"\n{reached.total()} kills: {dict(reached)}\n")
    assert set(POINTS) <= set(reached)
