"""`dashctl merge …` against a scripted dashd."""

import json
import shlex

import pytest

from dashctl.commands import merge
from dashd.wire.methods import event
from dashd.wire.methods import merge as wire


def a_merge(**changes):
    made = {
        "id": "m1", "swarm": "s", "worktree": "s-001", "target": "dash/s/result", "commit": "c" * 40,
        "state": "queued", "gates": [], "before": None, "result": None, "problem": "", "files": [],
        "queued_at": "2026-11-20T10:00:00.000Z", "ended_at": None,
    }  # fmt: skip
    return wire.Merge(**(made | changes))


def test_what_is_queued(dashd, ctl):
    dashd.on("merge.enqueue", wire.MergesQueued(items=[a_merge()], cursor=1, notes=["s-002: merged already"]))
    ran = ctl("merge", "enqueue", "s", "s-001", "--gate", "make test", "--key", "k")
    assert ran.out == "Merge 'm1' of s-001 into dash/s/result is queued\n"
    assert "note: s-002: merged already" in ran.err
    assert dashd.asked("merge.enqueue") == [
        {"swarm": "s", "agents": ["s-001"], "gates": [["make", "test"]], "idempotency_key": "k"}
    ]
    assert json.loads(ctl("merge", "enqueue", "s", "--json").out)["cursor"] == 1


@pytest.mark.parametrize(
    "gate",
    [
        "true && false",
        "a | b",
        "a;b",
        "a > b",
        "a < b",
        "a &",
        "test $HOME",
        "`a`",
        "(a)",
        'test "$(a)"',
        "a\nb",
    ],
)
def test_a_gate_that_needs_a_shell_is_refused_with_the_form_that_has_one(dashd, ctl, gate):
    ran = ctl("merge", "enqueue", "s", "--gate", gate, "--json")
    assert (ran.code, dashd.asked("merge.enqueue")) == (2, [])
    hint = json.loads(ran.err or ran.out)["error"]["hint"]
    words = shlex.split(hint.partition(", or ")[0])
    assert words[0] == "--gate"
    assert merge._argv(words[1]) == ["sh", "-c", gate], "what the hint says works, and means the same"


@pytest.mark.parametrize("gate", ["", "  ", "a 'b", 'a "b'])
def test_a_gate_without_words_or_with_half_a_quote_is_refused(dashd, ctl, gate):
    assert ctl("merge", "enqueue", "s", "--gate", gate).code == 2
    assert dashd.asked("merge.enqueue") == []


@pytest.mark.parametrize(
    ("gate", "argv"),
    [
        ("sh -c 'a && b | c; $d'", ["sh", "-c", "a && b | c; $d"]),
        (r"a \; \$b", ["a", ";", "$b"]),
        ('a "b;c"', ["a", "b;c"]),
    ],
)
def test_what_is_quoted_is_taken_as_it_is(gate, argv):
    assert merge._argv(gate) == argv


def test_waiting_for_the_end(dashd, ctl):
    dashd.on("merge.enqueue", wire.MergesQueued(items=[a_merge()], cursor=1))
    states = ["queued", "queued", "conflict", "conflict"]
    dashd.on(
        "merge.status",
        lambda _params: a_merge(
            state=states.pop(0),
            files=["a"],
            problem="Both sides changed: a.",
            suggestion="or by hand: after swarm.land s, git merge x",
        ),
    )
    dashd.on("event.wait", event.Events(events=[], cursor=5, more=False))
    ran = ctl("merge", "enqueue", "s", "--wait")
    assert (ran.code, "both changed  a" in ran.out) == (1, True)
    assert "or by hand: after dashctl swarm land s, git merge x" in ran.out
    assert [asked["since"] for asked in dashd.asked("event.wait")] == [1, 5]
    dashd.on("merge.status", a_merge(state="merged", result="r" * 40))
    ran = ctl("merge", "enqueue", "s", "--wait", "--json")
    assert (ran.code, json.loads(ran.out)["items"][0]["state"]) == (0, "merged")


def test_waiting_for_what_was_in_the_queue_before(dashd, ctl):
    dashd.on("merge.enqueue", wire.MergesQueued(items=[], known=[a_merge()], cursor=1, notes=["already"]))
    states = ["running", "failed", "failed"]
    dashd.on("merge.status", lambda _params: a_merge(state=states.pop(0)))
    dashd.on("event.wait", event.Events(events=[], cursor=5, more=False))
    assert ctl("merge", "enqueue", "s", "--wait").code == 1
    assert (len(dashd.asked("event.wait")), states) == (1, [])


def test_list_status_cancel(dashd, ctl):
    rows = [a_merge(state="conflict", files=["a"]), a_merge(id="m2", ahead=3), a_merge(id="m3", problem="no")]
    dashd.on("merge.list", wire.MergeList(items=rows, next=0))
    out = ctl("merge", "list", "--state", "queued").out
    assert "both changed a" in out
    assert "(3 before it)" in out
    dashd.on("merge.list", wire.MergeList(items=rows, next=3))
    assert "more than these 3; --limit" in ctl("merge", "list").err
    dashd.on("merge.list", wire.MergeList(items=[], next=0))
    assert "merge enqueue" in ctl("merge", "list").out
    dashd.on("merge.status", a_merge(state="merged", result="r" * 40))
    assert "now at rrrrrrrrrrrr" in ctl("merge", "status", "m1").out
    dashd.on("merge.cancel", wire.MergeCancelled(id="m1", state="running", changed=True))
    assert "is being cancelled" in ctl("merge", "cancel", "m1").out
    dashd.on("merge.cancel", wire.MergeCancelled(id="m1", state="merged", changed=False))
    assert ctl("merge", "cancel", "m1").out == "Merge 'm1' is merged already\n"
    for verb in ("list", "status", "cancel"):
        assert ctl("merge", verb, *(["m1"] if verb != "list" else []), "--json").out.startswith("{")
