"""Who may call what, as dashd enforces it."""

import pytest

from dashd.service import rights
from dashd.service.core import Caller
from dashd.wire import errors, methods


def test_the_operator_may_all():
    assert rights.allowed("operator") == sorted(methods.METHODS)


@pytest.mark.parametrize(
    "method",
    [
        "provider.add",
        "provider.list",
        "provider.test",
        "provider.remove",
        "gateway.add",
        "gateway.drain",
        "gateway.remove",
        "instance.add",
        "instance.drain",
        "instance.remove",
        "budget.set",
        "budget.export",
        "model.set",
        "daemon.stop",
        "audit.export",
    ],
)
def test_what_an_orchestrator_may_not(method):
    assert not rights.allows("orchestrator", method)
    caller = Caller("orchestrator", 1, key="claude")
    with pytest.raises(errors.Forbidden, match=rf"{method} is not for orchestrator:claude"):
        rights.check(caller, method)


@pytest.mark.parametrize(
    "method",
    [
        "swarm.create",
        "swarm.destroy",
        "agent.kill",
        "task.retry",
        "budget.extend",
        "event.wait",
        "audit.list",
    ],
)
def test_what_it_may(method):
    rights.check(Caller("orchestrator", 1, key="claude"), method)


def test_a_change_that_nobody_has_named_is_the_operators(monkeypatch):
    row = methods.METHODS["swarm.create"]
    monkeypatch.setitem(methods.METHODS, "novelty.make", row)
    assert not rights.allows("orchestrator", "novelty.make")
    assert rights.allows("operator", "novelty.make")


def test_nobody_else_may_anything():
    assert rights.allowed("agent") == []


def test_keys_and_what_others_said_are_the_operators_alone():
    for method in ("key.list", "key.create", "model.calls"):
        assert rights.allows("operator", method)
        assert not rights.allows("orchestrator", method)
