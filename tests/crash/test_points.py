"""No point without a story: every name that the code passes is one that some story is killed at."""

import re

from dashd.crash_points import BOOT, OWN
from tests.crash import points, tree_story
from tests.tidy import TOP

ELSEWHERE = {
    point: f"tests/whole/test_{name}.py"
    for part, name in (("gateway.", "gateway"), ("added.", "federation"), ("session.", "sessions"))
    for point in OWN
    if point.startswith(part)
}
ELSEWHERE["holder.before_kill"] = "tests/crash/test_leases.py"  # needs a lease that runs out
"""What no story visits, and the test that does."""
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
    assert told - {"random"} == passed - set(ELSEWHERE)


def test_what_is_shown_elsewhere_is_shown_there() -> None:
    for point, path in ELSEWHERE.items():
        assert point in (TOP / path).read_text(), path


def test_stories_in_a_row_go_round_all_points_on_a_repository() -> None:
    few = range(-(-len(tree_story.POINTS) // tree_story.LIVES))
    told = set().union(*(points_of(tree_story.plan(seed).lives) for seed in few))
    assert told == {*tree_story.POINTS, "random"}
