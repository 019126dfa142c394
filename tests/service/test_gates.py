"""`gate.*`."""

import pytest

from dashd.wire import errors


async def test_a_gate_is_set_shown_and_removed(call):
    made = await call("gate.set", name="big", kind="money", above=2.5)
    assert (made.above, made.verdict, made.who) == (2.5, "ask", "operator")
    await call("gate.set", name="deep", kind="depth", above=2)
    await call("gate.set", name="push", kind="command", pattern="git push*", verdict="deny")
    found = (await call("gate.list")).gates
    assert [(each.name, each.above, each.pattern) for each in found] == [
        ("push", 0, "git push*"),
        ("deep", 2, ""),
        ("big", 2.5, ""),
    ]
    assert (await call("gate.remove", name="big")).changed
    assert not (await call("gate.remove", name="big")).changed


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"kind": "money", "pattern": "x"}, "pattern"),
        ({"kind": "tool", "above": 1}, "above"),
        ({"kind": "depth", "above": 1.5}, "above"),
        ({"kind": "money", "two_person": True, "who": "orchestrator"}, "two_person"),
        ({"kind": "money", "two_person": True, "at_deadline": "allow"}, "two_person"),
    ],
)
async def test_a_rule_that_can_mean_nothing_is_refused(call, given, path):
    with pytest.raises(errors.InvalidParams) as caught:
        await call("gate.set", name="g", **given)
    assert caught.value.path == path
    assert caught.value.hint
    assert (await call("gate.list")).gates == []
