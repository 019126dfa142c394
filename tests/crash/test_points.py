"""No point without a story: every name that the code passes is one that some story is killed at."""

import re

from dashd.crash_points import BOOT, OWN
from tests.crash import points, tree_story
from tests.tidy import TOP

ELSEWHERE = {"holder.before_kill"}
"""Needs a lease that runs out: test_leases.py."""
SEEDS = range(len(OWN))
PASSED = re.compile(r'\b(?:_?at|_?at_point|crash)\(\s*"([a-z]+\.[a-z_]+)"')
"""However the point is reached: by the daemon, or in the fork server or a holder."""


def passed_in_the_code() -> set[str]:
    found = set()
    for path in (TOP / "dashd").rglob("*.py"):
        found |= set(PASSED.findall(path.read_text()))
    return found


def points_of(lives: tuple[str, ...]) -> set[str]:
    return {life.partition(":")[0] for life in lives}


def test_each_point_of_the_code_is_one_that_a_story_is_killed_at() -> None:
    told = set()
    for seed in SEEDS:
        told |= points_of(points.plan(seed).lives) | points_of(tree_story.plan(seed).lives)
    passed = passed_in_the_code()
    assert passed >= {*OWN, *BOOT, *points.OF_LAUNCH}, "the pattern misses points"
    assert told - {"random"} == passed - ELSEWHERE


def test_what_is_shown_elsewhere_is_shown_there() -> None:
    text = (TOP / "tests/crash/test_leases.py").read_text()
    assert all(f'"{point}"' in text for point in ELSEWHERE)


def test_stories_in_a_row_go_round_all_points_on_a_repository() -> None:
    few = range(-(-len(tree_story.POINTS) // tree_story.LIVES))
    told = set().union(*(points_of(tree_story.plan(seed).lives) for seed in few))
    assert told == {*tree_story.POINTS, "random"}
