"""What an agent may do unasked, what it is refused, and what needs somebody's yes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import asking, scope
from dashd.domain.asking import Answer, Ask, Needs
from dashd.domain.gates import Gate
from dashd.domain.scope import DEFAULT, EVERYTHING

ROOT = "/tree"


def gate(kind="command", pattern="", verdict="ask", name="g"):
    return Gate(name, kind, pattern, 0, verdict, "operator", False, 60.0, "deny")


def judge(kind, text, *gates, reach=DEFAULT):
    return asking.judge(reach, ROOT, Ask(kind, text, "1"), gates)


def test_where_nothing_is_ruled_nothing_is_asked():
    assert asking.kinds(DEFAULT, ()) == ()
    assert asking.kinds(EVERYTHING, ("money", "depth", "landing")) == ()
    for kind in asking.KINDS:
        assert asking.kinds(DEFAULT, ("money", kind)) == (kind,)
        assert judge(kind, "x") == Answer("allow")


def test_a_scope_that_rules_something_is_asked_about():
    assert asking.kinds(scope.parse(write=["src"]), ()) == ("path",)
    assert asking.kinds(scope.parse(write=["."], deny=["rm *"]), ()) == ("command",)
    assert asking.kinds(scope.parse(write=["."], tools=["read"]), ()) == ("tool",)


@pytest.mark.parametrize("text", ["docs/a", "../src/a", "/etc/passwd", "src/../docs/a", "/tree/docs"])
def test_a_path_outside_the_scope_is_a_violation_whatever_a_gate_says(text):
    reach = scope.parse(write=["src"])
    found = judge("path", text, gate("path", verdict="allow"), reach=reach)
    said = f"Scope violation: attempted access to {text}; allowed scope: src"
    assert found == Answer("deny", said)


def test_a_path_is_matched_in_one_form():
    rule = gate("path", "src/secret*")
    for text in ("src/secret", "./src//secret", "/tree/src/secret"):
        assert judge("path", text, rule) == Needs(rule, "src/secret")
    assert judge("path", "src/a", rule) == Answer("allow")
    for reach in (DEFAULT, EVERYTHING):  # what has no such form is refused, never let through
        assert judge("path", "a*", rule, reach=reach).text.startswith("Scope violation: ")


def test_what_the_scope_denies_no_gate_allows():
    reach = scope.parse(write=["."], deny=["rm *"])
    found = judge("command", "ls; rm a", gate(verdict="allow"), reach=reach)
    assert found == Answer(
        "deny", "Scope violation: attempted access to ls; rm a; allowed scope: everything; not rm *"
    )
    assert judge("command", "ls", reach=reach) == Answer("allow")


def test_a_command_that_the_scope_leaves_open_needs_a_yes_unless_a_gate_knows():
    reach = scope.parse(write=["."], allow=["ls *"])
    assert judge("command", "ls -l", reach=reach) == Answer("allow")
    assert judge("command", "make", reach=reach) == Needs(asking.BY_SCOPE, "make")
    assert judge("command", "make", gate(verdict="allow"), reach=reach) == Answer("allow")
    own = gate("command", "make")
    assert judge("command", "make", own, reach=reach) == Needs(own, "make")


def test_a_gate_asks_refuses_and_allows():
    rule = gate("tool", "bash")
    assert judge("tool", "bash", rule) == Needs(rule, "bash")
    no = gate("tool", "bash", "deny", "no")
    assert judge("tool", "bash", rule, no) == Answer("deny", "gate no forbids it: use the tool bash")
    assert judge("tool", "read", rule, no) == Answer("allow")
    assert judge("tool", "x", reach=scope.parse(write=["."], tools=["read"])).decision == "deny"


@given(
    st.sampled_from(asking.KINDS), st.text(min_size=1, max_size=60), st.sampled_from(("ask", "allow", "deny"))
)
def test_every_text_is_judged_and_a_deny_for_all_denies_all(kind, text, verdict):
    found = judge(kind, text, gate(kind, verdict=verdict))
    if verdict == "deny":
        assert found.decision == "deny"
    elif isinstance(found, Answer) and verdict == "ask":
        assert found.text.startswith("Scope violation: ")


@pytest.mark.parametrize("lacks", [{"kind": "money"}, {"text": ""}, {"call": ""}, {"more": 1}])
def test_an_ask_is_exact(lacks):
    told = {"kind": "command", "text": "ls", "call": "1"}
    assert msgspec.convert(told, Ask).what == "run `ls`"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**told, **lacks}, Ask)
