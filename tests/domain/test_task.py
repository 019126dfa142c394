"""The machine of a task, arrow by arrow."""

from dashd.domain import task
from tests.domain.machines import check, every

STATES = "waiting ready running retrying completed dead cancelled"


def test_every_arrow_and_no_other() -> None:
    check(
        task.MACHINE,
        STATES,
        [
            ("a", "waiting", "ready"),
            ("b", "ready", "running"),
            ("c", "running", "completed"),
            ("d", "running", "dead"),
            ("e", "running", "ready"),
            ("f", "running", "retrying"),
            ("g", "retrying", "ready"),
            *every("h", "dead cancelled", "ready"),
            *every("i", "waiting ready running retrying", "cancelled"),
            *every("j", "retrying ready", "completed"),
        ],
    )


def test_every_state_is_open_or_has_ended() -> None:
    assert set(STATES.split()) == task.OPEN | task.ENDED
    assert not task.OPEN & task.ENDED
