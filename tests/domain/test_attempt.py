"""The machine of an attempt, arrow by arrow, and what an ending means under each stop."""

import pytest

from dashd.domain import attempt
from dashd.domain.attempt import Ending
from tests.domain.machines import check, every

OPEN = "claimed starting running"


def test_every_arrow_and_no_other() -> None:
    check(
        attempt.MACHINE,
        f"{OPEN} succeeded failed cancelled lost",
        [
            ("a", "claimed", "starting"),
            *every("b", "claimed starting", "running"),
            *every("c", OPEN, "succeeded"),
            *every("d", OPEN, "failed"),
            *every("e", OPEN, "cancelled"),
            *every("f", OPEN, "lost"),
            ("g", "lost", "succeeded"),
        ],
    )
    assert set(OPEN.split()) == attempt.OPEN


@pytest.mark.parametrize(
    ("state", "stop", "end"),
    [
        ("succeeded", None, "succeeded"),
        ("succeeded", "cancel", "succeeded"),
        ("succeeded", "requeue", "succeeded"),
        ("succeeded", "timeout", "succeeded"),
        ("succeeded", "kill", "succeeded"),
        ("failed", None, "failed"),
        ("failed", "cancel", "cancelled"),
        ("failed", "requeue", "cancelled"),
        ("failed", "timeout", "failed"),
        ("failed", "kill", "cancelled"),
        ("lost", None, "lost"),
        ("lost", "cancel", "cancelled"),
        ("lost", "requeue", "cancelled"),
        ("lost", "timeout", "failed"),
        ("lost", "kill", "cancelled"),
        ("never", None, "cancelled"),
        ("never", "timeout", "cancelled"),
        ("never", "kill", "cancelled"),
    ],
)
def test_how_an_attempt_ends(state: str, stop: str | None, end: str) -> None:
    assert attempt.end_state(Ending(state, "why"), stop) == end
