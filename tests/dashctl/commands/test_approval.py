"""`dashctl approval …` against a scripted dashd."""

import json

import pytest

from dashd.wire.methods import approval


def row(**changes):
    made = {
        "id": "ap1", "gate": "big", "kind": "money", "what": "start it \x1b]0;evil\x07", "swarm": "7k2m9q",
        "agent": None, "asked_by": "orchestrator:claude", "context": {"task": "lint"}, "state": "open",
        "who": "operator", "two_person": False, "votes": [], "asked_at": "2026-11-20T10:00:00.000Z",
        "deadline": "2026-11-20T11:00:00.000Z", "at_deadline": "deny", "decided_by": "", "decided_at": None,
        "note": "",
    }  # fmt: skip
    return approval.Approval(**(made | changes))


def resolved(state="allowed", **changes):
    made = {"id": "ap1", "state": state, "changed": True, "votes": [], "waits_for": ""} | changes
    return approval.ApprovalsResolved(items=[approval.Resolved(**made)], cursor=5)


def test_list_shows_the_inbox(dashd, ctl):
    done = row(state="denied", decided_by="operator:uid-0", decided_at="2026-11-20T10:00:00.000Z", note="no")
    dashd.on("approval.list", approval.ApprovalList(items=[row(), done]))
    ran = ctl("approval", "list", "--swarm", "7k2m9q")
    assert ran.code == 0
    assert "\x1b" not in ran.out
    first, second = ran.out.splitlines()[1:]
    assert "start it" in first
    assert first.split()[-3:] == ["then", "deny", "task=lint"]
    assert second.endswith("by operator:uid-0  no")
    assert dashd.asked("approval.list") == [{"swarm": "7k2m9q"}]
    assert "more" not in ran.err
    dashd.on("approval.list", approval.ApprovalList(items=[row()], next=7))
    assert "more than these 1; --limit" in ctl("approval", "list").err
    dashd.on("approval.list", approval.ApprovalList())
    assert ctl("approval", "list").out == "Nothing waits for a yes.\n"
    assert ctl("approval", "list", "--state", "denied").out == "There are no such approvals.\n"


def test_resolve_decides_about_many(dashd, ctl):
    dashd.on("approval.resolve", resolved())
    ran = ctl("approval", "resolve", "ap1", "ap2", "allow", "--note", "worth it")
    assert (ran.code, ran.out) == (0, "ap1 allowed\n")
    assert dashd.asked("approval.resolve") == [
        {"approvals": ["ap1", "ap2"], "decision": "allow", "note": "worth it"}
    ]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (resolved("denied", changed=False), "ap1 was denied already; that stands\n"),
        (
            resolved("open", waits_for="the yes of another key than operator:alice"),
            "ap1 is still open: it waits for the yes of another key than operator:alice\n",
        ),
    ],
)
def test_what_is_not_allowed_yet_is_said_and_exits_with_1(dashd, ctl, answer, said):
    dashd.on("approval.resolve", answer)
    ran = ctl("approval", "resolve", "ap1", "allow")
    assert (ran.code, ran.out) == (1, said)
    assert json.loads(ctl("approval", "resolve", "ap1", "allow", "--json").out)["cursor"] == 5


def test_a_decision_must_be_one(dashd, ctl):
    ran = ctl("approval", "resolve", "ap1", "ap2")
    assert (ran.code, dashd.asked("approval.resolve")) == (2, [])
    assert "'ap2' is no decision" in ran.err


def test_the_help_says_what_is_taken(ctl, capsys):
    assert ctl("approval", "resolve", "--help").code == 0
    shown = capsys.readouterr().out
    assert "approval resolve ID [ID …] allow|deny [--note TEXT]" in shown
    assert "ID …" not in shown.replace("[ID …]", "")
