"""A machine lets pass what is drawn and says what else would be possible."""

import pytest

from dashd.domain.machine import Machine, arrow
from dashd.wire import errors

DOOR = Machine("door", {"a": arrow("open", "shut"), "b": arrow("shut", "open")}, frozenset())


def test_an_arrow_leaves_several_states() -> None:
    assert arrow("a b", "c") == (frozenset({"a", "b"}), "c")


def test_a_drawn_step_is_allowed() -> None:
    DOOR.check("open", "shut")


def test_another_is_refused_with_what_would_be_right() -> None:
    with pytest.raises(errors.IllegalTransition) as caught:
        DOOR.check("open", "open")
    assert caught.value.message == "a door that is open cannot become open"
    assert caught.value.hint == "from open it can become: shut"


def test_a_state_without_arrows_says_so() -> None:
    with pytest.raises(errors.IllegalTransition) as caught:
        DOOR.check("gone", "open")
    assert caught.value.hint == "from gone it can become: nothing"
