"""The machine of a seat, arrow by arrow, and how a seat ends."""

import pytest

from dashd.domain import agent
from tests.domain.machines import check, every

STATES = "idle spawning running paused completed failed killed"
OPEN = "idle spawning running paused"


def test_every_arrow_and_no_other() -> None:
    check(
        agent.MACHINE,
        STATES,
        [
            ("a", "idle", "spawning"),
            ("b", "spawning", "running"),
            ("c", "running", "paused"),
            ("d", "paused", "running"),
            *every("e", "spawning running paused", "idle"),
            *every("f", "completed failed killed", "idle"),
            *every("g", OPEN, "completed"),
            *every("g'", OPEN, "failed"),
            *every('g"', OPEN, "killed"),
        ],
    )


def test_every_state_is_open_or_has_ended() -> None:
    assert set(STATES.split()) == agent.OPEN | agent.MACHINE.ended
    assert agent.OPEN - {"idle"} == agent.WORKING


@pytest.mark.parametrize(
    ("last", "end"),
    [("dead", "failed"), ("completed", "completed"), ("cancelled", "completed"), (None, "completed")],
)
def test_a_seat_ends_failed_only_where_its_last_task_is_dead(last: str | None, end: str) -> None:
    assert agent.end_state(last) == end
