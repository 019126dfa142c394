"""What every service function is given; and that every method of the table has its function."""

import pytest

from dashd.service import HANDLERS
from dashd.service.core import Caller, Core, Daemon
from dashd.wire import methods

SERVED_BY_THE_DOOR = {"rpc.discover", "rpc.hello", "event.subscribe", "event.unsubscribe"}


def test_every_method_has_exactly_one_function() -> None:
    assert set(HANDLERS) | SERVED_BY_THE_DOOR == set(methods.METHODS)
    assert not set(HANDLERS) & SERVED_BY_THE_DOOR


def test_a_daemon_is_degraded_only_while_it_is_ready_and_something_is_wrong() -> None:
    daemon = Daemon("v", 1, 1, 0, "s", troubles=["x"])
    shown = []
    for state in ("starting", "ready", "stopping"):
        daemon.state = state
        shown.append(daemon.shown_state)
    daemon.state = "ready"
    daemon.troubles.clear()
    assert [*shown, daemon.shown_state] == ["starting", "degraded", "stopping", "ready"]


def test_two_daemons_share_no_list() -> None:
    assert Daemon("v", 1, 1, 0, "s").warnings is not Daemon("v", 1, 1, 0, "s").warnings
    assert Daemon("v", 1, 1, 0, "s").troubles is not Daemon("v", 1, 1, 0, "s").troubles


def test_core_and_caller_cannot_be_changed(core: Core, caller: Caller) -> None:
    with pytest.raises(AttributeError):
        core.agents_max = 1  # type: ignore[misc]
    with pytest.raises(AttributeError):
        caller.uid = 1  # type: ignore[misc]
