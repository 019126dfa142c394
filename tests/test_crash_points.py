"""Where a test may have the daemon killed."""

import re
import subprocess
import sys

import pytest

from dashd import crash_points
from dashd.crash_points import BOOT, OWN, CrashPoints
from dashd.wire import errors
from tests.tidy import TOP


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    died: list[str] = []
    monkeypatch.setattr(crash_points, "_die", lambda: died.append("died"))
    return died


def test_nothing_happens_where_nothing_was_chosen(deaths: list[str]) -> None:
    points = CrashPoints()
    for point in OWN:
        points.at(point)
    assert (deaths, points.of_launch(), points.of_boot()) == ([], None, None)


@pytest.mark.parametrize(("chosen", "visit"), [("run.before_end", 1), ("run.before_end:3", 3)])
def test_it_dies_at_the_chosen_visit_of_the_chosen_point(deaths: list[str], chosen: str, visit: int) -> None:
    points = CrashPoints(chosen)
    for number in range(1, 6):
        points.at("run.after_end")
        points.at("run.before_end")
        assert len(deaths) == (1 if number >= visit else 0)


def test_a_launch_carries_the_points_of_others_once() -> None:
    points = CrashPoints("holder.after_exec:2")
    assert [points.of_launch() for _ in range(4)] == [None, "holder.after_exec", None, None]
    assert points.of_boot() is None


def test_the_fork_server_is_started_with_its_own() -> None:
    for point in BOOT:
        points = CrashPoints(point)
        assert points.of_launch() is None
        assert [points.of_boot(), points.of_boot()] == [point, None]


@pytest.mark.parametrize(
    "chosen", ["nowhere", "run.before_end:0", "run.before_end:x", "run.before_end:-1", ":1x"]
)
def test_a_point_that_is_none_is_refused_with_those_there_are(chosen: str) -> None:
    with pytest.raises(errors.InvalidParams) as caught:
        CrashPoints(chosen)
    assert "writer.before_commit" in caught.value.hint


def test_an_unlisted_point_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="not listed"):
        CrashPoints().at("somewhere")


def test_every_point_that_is_passed_is_listed_and_the_other_way_round() -> None:
    passed = set()
    for path in (TOP / "dashd").rglob("*.py"):
        passed |= set(re.findall(r'\b_?at(?:_point)?\(\s*"([a-z_.]+)"', path.read_text()))
    assert passed == set(OWN)


def test_dying_is_sigkill() -> None:
    program = "from dashd.crash_points import CrashPoints; CrashPoints('run.before_end').at('run.before_end')"
    ended = subprocess.run([sys.executable, "-c", program], cwd=TOP, check=False, capture_output=True)
    assert ended.returncode == -9
