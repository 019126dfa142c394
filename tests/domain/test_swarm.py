"""The machine of a swarm, arrow by arrow, and the verdict over its tasks."""

import pytest

from dashd.domain import swarm
from tests.domain.machines import check, every


def test_every_arrow_and_no_other() -> None:
    check(
        swarm.MACHINE,
        "creating active paused completed failed destroyed",
        [
            ("a", "creating", "active"),
            ("b", "active", "paused"),
            ("c", "paused", "active"),
            *every("d", "active paused", "completed"),
            *every("e", "active paused", "failed"),
            *every("f", "creating active paused", "destroyed"),
        ],
    )
    assert not swarm.OPEN & swarm.ENDED


@pytest.mark.parametrize(
    ("tasks", "verdict"),
    [
        ({"completed": 3}, ("completed", "complete")),
        ({"completed": 3, "dead": 1}, ("completed", "partial")),
        ({"completed": 1, "cancelled": 9}, ("completed", "partial")),
        ({"dead": 2}, ("failed", "none")),
        ({"cancelled": 1}, ("failed", "none")),
        ({}, ("failed", "none")),
    ],
)
def test_partial_is_called_partial(tasks: dict[str, int], verdict: tuple[str, str]) -> None:
    assert swarm.verdict(tasks) == verdict
