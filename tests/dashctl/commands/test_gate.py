"""`dashctl gate …` against a scripted dashd."""

import json

from dashd.wire.methods import gate


def a_gate(**changes):
    made = {
        "name": "big", "kind": "money", "pattern": "", "above": 20.0, "verdict": "ask", "who": "operator",
        "two_person": False, "deadline_s": 3_600.0, "at_deadline": "deny",
    }  # fmt: skip
    return gate.Gate(**(made | changes))


def test_list_shows_each_rule(dashd, ctl):
    dashd.on(
        "gate.list",
        gate.GateList(
            gates=[
                a_gate(),
                a_gate(name="two", two_person=True),
                a_gate(name="push", kind="command", pattern="git push*", verdict="deny"),
                a_gate(name="deep", kind="depth", above=2.0, who="orchestrator", at_deadline="allow"),
            ]
        ),
    )
    lines = [" ".join(line.split()) for line in ctl("gate", "list").out.splitlines()[1:]]
    assert lines == [
        "big money above $20.00 ask operator 1h, then deny",
        "two money above $20.00 ask two keys 1h, then deny",
        "push command git push* deny",
        "deep depth above 2 ask operator or orchestrator 1h, then allow",
    ]
    dashd.on("gate.list", gate.GateList())
    assert ctl("gate", "list").out == "There are no gates: nothing waits for a yes.\n"


def test_set_sends_what_was_given(dashd, ctl):
    dashd.on("gate.set", a_gate())
    assert (
        ctl("gate", "set", "big", "money", "--above", "$20").out
        == "Gate 'big': money above $20.00: ask operator\n"
    )
    ctl(
        "gate",
        "set",
        "x",
        "tool",
        "--pattern",
        "bash*",
        "--delegate",
        "--deadline",
        "5m",
        "--at-deadline",
        "allow",
    )
    ctl("gate", "set", "x", "landing", "--two-person", "--verdict", "ask")
    assert dashd.asked("gate.set") == [
        {"name": "big", "kind": "money", "above": 20.0},
        {
            "name": "x", "kind": "tool", "pattern": "bash*", "who": "orchestrator", "deadline_s": 300.0,
            "at_deadline": "allow",
        },
        {"name": "x", "kind": "landing", "two_person": True, "verdict": "ask"},
    ]  # fmt: skip


def test_remove(dashd, ctl):
    dashd.on("gate.remove", lambda params: gate.GateRemoved(name="big", changed=True))
    assert ctl("gate", "remove", "big").out == "Gate 'big' is removed\n"
    dashd.on("gate.remove", gate.GateRemoved(name="big", changed=False))
    assert ctl("gate", "remove", "big").out == "Gate 'big' was not there\n"
    assert json.loads(ctl("gate", "remove", "big", "--json").out) == {"name": "big", "changed": False}
