"""Which rule decides: the strictest word, whatever the order of the rules."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from dashd.domain.gates import Gate, applies, judge


def gate(name="g", kind="command", pattern="", above=0, verdict="ask", who="operator", two_person=False):
    return Gate(name, kind, pattern, above, verdict, who, two_person, 60.0, "deny")


GATES = st.builds(
    gate,
    name=st.sampled_from("abcdef"),
    kind=st.sampled_from(("command", "money")),
    pattern=st.sampled_from(("", "git*", "ls")),
    above=st.integers(0, 3),
    verdict=st.sampled_from(("ask", "allow", "deny")),
    who=st.sampled_from(("operator", "orchestrator")),
    two_person=st.booleans(),
)


def test_a_text_is_matched_and_an_amount_compared():
    assert applies(gate(pattern="git push*"), "command", "git push origin main", 0)
    assert not applies(gate(pattern="git push*"), "command", "git pull", 0)
    assert not applies(gate(pattern="*"), "path", "x", 0)
    assert applies(gate(kind="money", above=10), "money", "", 11)
    assert not applies(gate(kind="money", above=10), "money", "", 10)


def test_ask_for_everything_but_allow_one():
    rules = [
        gate("all"),
        gate("ls", pattern="ls*", verdict="allow"),
        gate("rm", pattern="*rm *", verdict="deny"),
    ]
    for order in itertools.permutations(rules):
        assert judge(order, "command", "make", 0).name == "all"
        assert judge(order, "command", "ls -l", 0).name == "ls"
        assert judge(order, "command", "ls; rm -rf x", 0).name == "rm"
    assert judge(rules, "tool", "bash", 0) is None


def test_of_those_that_ask_the_hardest_to_satisfy():
    rules = [gate("a", who="orchestrator"), gate("b"), gate("c", two_person=True)]
    assert judge(rules, "command", "x", 0).name == "c"
    assert judge(rules[:2], "command", "x", 0).name == "b"


@given(st.lists(GATES, max_size=6), st.sampled_from(("command", "money")), st.integers(0, 4))
def test_another_rule_never_makes_a_deny_weaker(found, kind, amount):
    before = judge(found, kind, "git push", amount)
    for more in found:
        after = judge([*found, more], kind, "git push", amount)
        assert after is not None or before is None
        if before is not None and before.verdict == "deny":
            assert after.verdict == "deny"


def test_one_command_of_a_line_is_enough_to_ask_and_all_must_match_to_allow():
    for line in ("rm a", "cd x && rm a", "A=1 /bin/rm a", "sudo rm a", "bash -c 'ls; rm a'", "ls\nrm a"):
        assert applies(gate(pattern="rm *"), "command", line, 0), line
        assert applies(gate(pattern="rm *", verdict="deny"), "command", line, 0), line
    assert not applies(gate(pattern="rm *"), "command", "echo rm", 0)
    allow = gate(pattern="ls*", verdict="allow")
    assert applies(allow, "command", "ls a; ls b", 0)
    for line in ("ls; rm a", "ls $(rm a)", "ls 'a", "A=1 ls", "", "rm a"):
        assert not applies(allow, "command", line, 0), line
