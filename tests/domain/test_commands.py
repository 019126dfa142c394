"""Commands as guidance: the language of patterns, the three verdicts, and that a meet never allows more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import commands
from dashd.domain.commands import EVERYTHING, Commands, verdict
from dashd.wire.errors import InvalidParams

GIT = commands.parse(["git *", "ls", "npm test"], ["git push *", "rm *"])
RANK = {"deny": 0, "ask": 1, "allow": 2}
WORDS = st.sampled_from(
    ["git", "push", "rm", "sudo", "ls", "-rf", "sh", "-c", "A=1", "'rm x'", "/bin/rm", "*"]
)
PATTERNS = st.tuples(st.lists(st.sampled_from(["git", "push", "rm", "ls"]), max_size=3), st.booleans()).map(
    lambda made: " ".join([*made[0], *(["*"] if made[1] or not made[0] else [])])
)
RULES = st.builds(
    Commands,
    st.none() | st.lists(PATTERNS, max_size=4).map(tuple),
    st.lists(PATTERNS, max_size=3).map(tuple),
)
LINES = st.lists(
    WORDS | st.sampled_from([";", "&&", "|", "\n", "$(x)", "`", "'", "(", ")", "\\"]), max_size=8
).map(" ".join)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("git status", "allow"),
        ("git", "allow"),
        ("  git   log -3  ", "allow"),
        ("ls", "allow"),
        ("ls -l", "ask"),
        ("npm test; git add .", "allow"),
        ("npm test && git commit -m 'a; b'", "allow"),
        ("npm install", "ask"),
        ("gitx status", "ask"),
        ("/tmp/git status", "ask"),
        ("", "allow"),
        ("git push", "deny"),
        ("git push -f origin", "deny"),
        ("git pushx", "allow"),
        ("rm x", "deny"),
        ("/bin/rm x", "deny"),
        ("LANG=C rm x", "deny"),
        ("sudo -n rm x", "deny"),
        ("sudo env A=1 rm x", "deny"),
        ("ls | xargs -0 rm", "deny"),
        ("git status; rm x", "deny"),
        ("git status\nrm x", "deny"),
        ("git status&rm x", "deny"),
        ("(rm x)", "deny"),
        ("{ rm x; }", "deny"),
        ("if true; then rm x; fi", "deny"),
        ("bash -c 'ls; rm x'", "deny"),
        ("sh -c \"bash -c 'rm x'\"", "deny"),
        ("'r'm x", "deny"),
        ("git $(rm x)", "deny"),
        ("git log `whoami`", "ask"),
        ("git log $(whoami)", "ask"),
        ("git log <(ls)", "ask"),
        ("git log ${X:-y}", "ask"),
        ("$X status", "ask"),
        ("PATH=/tmp git status", "ask"),
        ("git commit -m 'open", "ask"),
        ("rm 'open", "deny"),
        ("git status\\", "ask"),
        ("git log\0", "ask"),
        ("git " + "x" * commands.LINE_LENGTH_MAX, "ask"),
    ],
)
def test_what_is_said_of_a_line(line: str, said: str) -> None:
    assert verdict(GIT, line) == said


def test_where_nothing_is_forbidden_nothing_is_asked() -> None:
    for line in ("", "rm -rf /", "$(", "'", "x" * 100_000):
        assert verdict(EVERYTHING, line) == "allow"


def test_with_denials_alone_the_rest_is_allowed_unless_it_hides() -> None:
    rules = commands.parse(deny=["rm *"])
    assert verdict(rules, "make all") == "allow"
    assert verdict(rules, "rm x") == "deny"
    assert verdict(rules, "make $(cat x)") == "ask"
    assert verdict(rules, "PATH=/tmp make") == "ask"
    assert verdict(commands.parse(["*"]), "LD_PRELOAD=./x.so ls") == "ask"


def test_an_empty_list_allows_nothing_unasked() -> None:
    assert verdict(commands.parse([]), "ls") == "ask"


def test_it_is_guidance() -> None:
    """What the jail is for: a program that runs another is not seen through."""
    assert verdict(GIT, "git -c alias.x='!rm y' x") == "allow"


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        " ",
        "git p*",
        "* x",
        "git *x",
        "a * b",
        "a; b",
        "a | b",
        "a\nb",
        "a && b",
        "$(a)",
        "a\0",
        "x" * 1_001,
    ],
)
def test_what_is_no_pattern_says_what_is(pattern: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        commands.parse(["ls", pattern], path="scope.commands")
    assert caught.value.path == "scope.commands.allow[1]"
    assert "git push *" in caught.value.hint
    with pytest.raises(InvalidParams):
        commands.parse(deny=[pattern])


def test_patterns_are_bounded_and_canonical() -> None:
    assert commands.parse(["git  status", "git *", "git"]).allow == ("git *",)
    assert commands.parse(["*", "ls"]).allow == ("*",)
    with pytest.raises(InvalidParams, match="257 patterns"):
        commands.parse([f"c{n}" for n in range(257)])


def test_what_was_asked_for_and_is_not_allowed_is_listed() -> None:
    asked = commands.parse(["git log *", "git *", "rm x", "make"])
    assert commands.missing(GIT, asked) == ["git *", "make", "rm x"]
    assert commands.missing(GIT, commands.parse(["git *"], ["git push *"])) == []
    assert commands.missing(EVERYTHING, asked) == []
    assert commands.missing(GIT, EVERYTHING) == []


@pytest.mark.slow
@given(RULES, RULES, LINES)
def test_a_meet_says_the_stricter_of_the_two(one: Commands, other: Commands, line: str) -> None:
    said = verdict(commands.meet(one, other), line)
    assert said == min(verdict(one, line), verdict(other, line), key=RANK.__getitem__)


@given(RULES, RULES, RULES)
def test_a_meet_is_one(one: Commands, two: Commands, three: Commands) -> None:
    meet = commands.meet
    assert meet(one, one) == one
    assert meet(one, two) == meet(two, one)
    assert meet(meet(one, two), three) == meet(one, meet(two, three))
    assert meet(one, EVERYTHING) == one


@given(RULES, RULES)
def test_what_is_not_missing_is_in_the_meet(parent: Commands, asked: Commands) -> None:
    got = commands.meet(parent, asked)
    lacking = set(commands.missing(parent, asked))
    for pattern in asked.allow or ():
        if pattern not in lacking:
            assert got.allow is not None
            assert commands.covers(got.allow, pattern)


@given(RULES, st.text(max_size=60) | LINES)
def test_every_text_has_a_verdict(rules: Commands, line: str) -> None:
    assert verdict(rules, line) in RANK


@given(RULES, LINES, LINES)
def test_a_longer_line_is_never_trusted_more(rules: Commands, line: str, more: str) -> None:
    both = f"{line}\n{more}"
    if verdict(rules, line) == "deny" and "'" not in both and "\\" not in both:
        assert verdict(rules, both) == "deny"


def test_the_parts_of_a_plain_line_and_none_of_one_that_hides_something():
    assert commands.parts("ls  -l; git   status && make") == ["ls -l", "git status", "make"]
    assert commands.parts("") == []
    for line in ("ls $(x)", "ls 'a", "A=1 ls", "$X a", "x" * (commands.LINE_LENGTH_MAX + 1)):
        assert commands.parts(line) is None


@given(st.text(max_size=200))
def test_whatever_is_denied_is_among_the_readings(line):
    read = list(commands.readings(line))
    assert read[0] == line
    if commands.verdict(commands.Commands(None, ("rm *",)), line) == "deny":
        assert any(each.split()[:1] == ["rm"] for each in read)


def test_a_line_made_to_be_slow_is_read_once():
    shells = "sudo sh " * 16 + "x " * 9_000
    assert sum(1 for _ in commands.readings(shells)) < 200
