"""Scopes: a child's lies within its parent's, in every dimension, whatever was asked for."""

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import scope
from dashd.domain.budget import NUSD
from dashd.domain.scope import DEFAULT, EVERYTHING, Scope, intersect, within
from dashd.wire.errors import Forbidden, InvalidParams
from tests.domain.test_commands import LINES, RULES
from tests.domain.test_folders import FOLDERS

NAMES = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=3).map(tuple)
HOSTS = st.lists(st.sampled_from(["a.example", "b.example:8443", "c.example"]), max_size=3).map(tuple)
SOME_FOLDERS = st.lists(FOLDERS, max_size=4).map(tuple)
SCOPES = st.builds(
    Scope,
    read=st.none() | SOME_FOLDERS,
    write=st.none() | SOME_FOLDERS,
    tools=st.none() | NAMES,
    commands=RULES,
    models=st.none() | NAMES,
    hosts=st.none() | HOSTS,
    depth=st.none() | st.integers(0, 5),
    money_nusd=st.none() | st.integers(0, 10**13),
    time_s=st.none() | st.floats(0, 1e6),
)
PARENT = scope.parse(
    read=["docs"],
    write=["src/auth/"],
    tools=["read", "edit"],
    allow=["git *"],
    deny=["git push *"],
    models=["small"],
    hosts=["api.example.org"],
    depth=1,
    money_nusd=2 * NUSD,
    time_s=60,
)


def test_what_may_be_written_may_be_read() -> None:
    assert PARENT.read == ("docs", "src/auth")
    assert PARENT.write == ("src/auth",)
    assert Scope(read=("docs",), write=None).read is None


def test_none_is_everything_and_empty_is_nothing() -> None:
    assert scope.parse() == EVERYTHING
    nothing = scope.parse(
        read=[],
        write=[],
        tools=[],
        allow=[],
        deny=["*"],
        models=[],
        hosts=[],
        depth=0,
        money_nusd=0,
        time_s=0,
    )
    for dimension in scope.DIMENSIONS:
        assert scope.allowed(EVERYTHING, dimension) == "everything"
    assert {scope.allowed(nothing, each) for each in scope.DIMENSIONS} == {
        "nothing",
        "nothing; not *",
        "depth 0",
        "$0.00",
        "0 s",
    }
    assert within(nothing, PARENT)
    assert within(PARENT, EVERYTHING)
    assert not within(EVERYTHING, PARENT)


def test_who_asks_for_nothing_gets_its_folder_and_no_host() -> None:
    assert (DEFAULT.read, DEFAULT.write, DEFAULT.hosts) == ((".",), (".",), ())
    assert scope.reached_hosts(DEFAULT) == scope.reached_hosts(EVERYTHING) == ()
    assert scope.reached_hosts(PARENT) == ("api.example.org",)


def test_reading_limited_alone_would_limit_nothing_and_is_refused() -> None:
    with pytest.raises(InvalidParams) as caught:
        scope.parse(read=["docs"])
    assert caught.value.path == "scope.write"


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ({"write": ["src/*.py"]}, "scope.write[0]"),
        ({"read": ["a", "../b"], "write": []}, "scope.read[1]"),
        ({"tools": ["read", ""]}, "scope.tools[1]"),
        ({"tools": ["re*"]}, "scope.tools[0]"),
        ({"models": ["a\nb"]}, "scope.models[0]"),
        ({"models": ["m"] * 257}, "scope.models"),
        ({"allow": ["git p*"]}, "scope.commands.allow[0]"),
        ({"hosts": ["*.example.org"]}, "scope.hosts[0]"),
        ({"depth": -1}, "scope.depth"),
        ({"depth": 65}, "scope.depth"),
        ({"money_nusd": -1}, "scope.money_nusd"),
        ({"time_s": -0.1}, "scope.time_s"),
        ({"time_s": float("nan")}, "scope.time_s"),
        ({"time_s": float("inf")}, "scope.time_s"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(asked: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        scope.parse(**asked)
    assert caught.value.path == path


def test_what_was_asked_for_and_not_granted_is_listed() -> None:
    asked = scope.parse(
        read=["docs/api"],
        write=["src", "src/auth/x"],
        tools=["bash", "read"],
        allow=["git push *", "make"],
        models=["big"],
        hosts=["api.example.org:8443", "api.example.org"],
        depth=2,
        money_nusd=3 * NUSD,
        time_s=60,
    )
    assert [str(each) for each in scope.missing(PARENT, asked)] == [
        "read src: not granted; the parent's scope is docs, src/auth",
        "write src: not granted; the parent's scope is src/auth",
        "tools bash: not granted; the parent's scope is edit, read",
        "commands git push *: not granted; the parent's scope is git *; not git push *",
        "commands make: not granted; the parent's scope is git *; not git push *",
        "models big: not granted; the parent's scope is small",
        "hosts api.example.org:8443: not granted; the parent's scope is api.example.org",
        "depth depth 2: not granted; the parent's scope is depth 1",
        "money $3.00: not granted; the parent's scope is $2.00",
    ]
    assert scope.missing(PARENT, EVERYTHING) == []
    assert scope.missing(PARENT, PARENT) == []
    assert scope.missing(EVERYTHING, asked) == []


@pytest.mark.parametrize(
    ("dimension", "yes", "no"),
    [
        (
            "read",
            ["docs", "./docs/x", "/r/src/auth/y", "src/auth"],
            ["src", "/etc", "docs/..", "", "/r", "docsx"],
        ),
        ("write", ["src/auth/a/b"], ["docs", "src/authx", "/proc/self/root"]),
        ("tools", ["read"], ["bash", "READ", ""]),
        ("commands", ["git log"], ["git push", "make", "git log $(x)"]),
        ("models", ["small"], ["big"]),
        (
            "hosts",
            ["api.example.org", "API.example.org.:443"],
            ["api.example.org:80", "x.example.org", "10.0.0.1"],
        ),
    ],
)
def test_a_tool_asks_first(dimension: scope.Dimension, yes: list[str], no: list[str]) -> None:
    for what in yes:
        assert scope.refusal(PARENT, dimension, what, root="/r") is None
    for what in no:
        said = scope.refusal(PARENT, dimension, what, root="/r")
        assert said == scope.violation(what, scope.allowed(PARENT, dimension))
        assert said.startswith(f"Scope violation: attempted access to {what}; allowed scope: ")


def test_with_everything_open_hosts_alone_are_still_by_name() -> None:
    assert scope.refusal(EVERYTHING, "read", "/etc") is None
    assert scope.refusal(EVERYTHING, "commands", "rm -rf /") is None
    said = scope.refusal(EVERYTHING, "hosts", "a.example")
    assert said == "Scope violation: attempted access to a.example; allowed scope: nothing"


def test_a_long_list_and_a_long_attempt_are_cut() -> None:
    many = Scope(tools=tuple(f"t{n:02d}" for n in range(20)))
    said = scope.refusal(many, "tools", "x" * 10_000)
    assert said is not None
    assert said.endswith("t11, and 8 more")
    assert len(said) < 1_000


def test_each_generation_has_one_less_below_it() -> None:
    child = scope.for_child(PARENT)
    assert child == msgspec.structs.replace(PARENT, depth=0)
    assert scope.for_child(EVERYTHING) == EVERYTHING
    with pytest.raises(Forbidden, match="Scope violation"):
        scope.for_child(child)


def test_a_row_is_written_out_in_full() -> None:
    assert json.loads(scope.to_json(PARENT)) == {
        "v": 1,
        "read": ["docs", "src/auth"],
        "write": ["src/auth"],
        "tools": ["edit", "read"],
        "commands": {"allow": ["git *"], "deny": ["git push *"]},
        "models": ["small"],
        "hosts": ["api.example.org"],
        "depth": 1,
        "money_nusd": 2 * NUSD,
        "time_s": 60,
    }
    assert set(json.loads(scope.to_json(EVERYTHING))) == set(json.loads(scope.to_json(PARENT)))


def test_a_row_that_is_not_whole_or_is_newer_is_refused() -> None:
    row = json.loads(scope.to_json(PARENT))
    for name in row:
        with pytest.raises(ValueError, match="not a scope"):
            scope.from_json(json.dumps({key: value for key, value in row.items() if key != name}))
    with pytest.raises(ValueError, match="not a scope"):
        scope.from_json(json.dumps({**row, "devices": []}))
    with pytest.raises(ValueError, match="not a scope"):
        scope.from_json(json.dumps({**row, "commands": {"allow": None}}))
    with pytest.raises(ValueError, match="version 2"):
        scope.from_json(json.dumps({**row, "v": 2}))
    for broken in (
        "",
        "null",
        "[]",
        "{",
        json.dumps({**row, "read": "docs"}),
        json.dumps({**row, "depth": 1.5}),
    ):
        with pytest.raises(ValueError, match="not a scope"):
            scope.from_json(broken)


@pytest.mark.parametrize(
    "change",
    [
        {"read": ["src/.."]},
        {"write": ["/proc"]},
        {"hosts": ["*.example"]},
        {"hosts": ["A.example"]},
        {"depth": -1},
    ],
)
def test_a_row_that_nobody_could_have_written_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a scope"):
        scope.from_json(json.dumps({**json.loads(scope.to_json(PARENT)), **change}))


@given(SCOPES)
def test_a_row_gives_the_same_scope_back(one: Scope) -> None:
    assert scope.from_json(scope.to_json(one)) == one


@pytest.mark.slow
@given(SCOPES, SCOPES, SCOPES)
def test_intersecting_is_a_meet(one: Scope, two: Scope, three: Scope) -> None:
    assert intersect(one, one) == one
    assert intersect(one, two) == intersect(two, one)
    assert intersect(intersect(one, two), three) == intersect(one, intersect(two, three))
    assert intersect(one, EVERYTHING) == one


@pytest.mark.slow
@given(SCOPES, SCOPES, SCOPES)
def test_it_never_grows_and_keeps_the_order(one: Scope, two: Scope, asked: Scope) -> None:
    assert within(intersect(one, asked), one)
    assert within(intersect(one, asked), asked)
    if within(one, two):
        assert within(intersect(one, asked), intersect(two, asked))
    smaller = intersect(one, two)
    assert within(intersect(smaller, asked), intersect(one, asked))


@pytest.mark.slow
@given(SCOPES, SCOPES, SCOPES)
def test_within_is_an_order(one: Scope, two: Scope, three: Scope) -> None:
    assert within(one, one)
    if within(one, two) and within(two, one):
        assert one == two
    chain = intersect(two, three)
    assert within(intersect(one, chain), three)


@pytest.mark.slow
@given(SCOPES, SCOPES, FOLDERS, st.sampled_from("abcd"), LINES)
def test_a_child_is_refused_all_that_its_parent_is(
    parent: Scope, asked: Scope, folder: str, name: str, line: str
) -> None:
    """Seen from outside, one question at a time: granted to the child means granted to both."""
    child = intersect(parent, asked)
    questions: list[tuple[scope.Dimension, str]] = [
        ("read", folder),
        ("write", folder),
        ("tools", name),
        ("models", name),
        ("commands", line),
        ("hosts", f"{name}.example"),
    ]
    for dimension, what in questions:
        granted = [scope.refusal(each, dimension, what) is None for each in (child, parent, asked)]
        if dimension == "hosts" and None in (parent.hosts, asked.hosts):
            assert set(scope.reached_hosts(child)) <= {*(parent.hosts or asked.hosts or ())}
        else:
            assert granted[0] == (granted[1] and granted[2]), dimension
    for least, one, other in (
        (child.depth, parent.depth, asked.depth),
        (child.money_nusd, parent.money_nusd, asked.money_nusd),
        (child.time_s, parent.time_s, asked.time_s),
    ):
        assert least == min((each for each in (one, other) if each is not None), default=None)


@given(SCOPES, SCOPES)
def test_nothing_missing_means_all_was_granted(parent: Scope, asked: Scope) -> None:
    """In the dimensions that were asked for; a deny list grants nothing, so it is never missing."""
    got = intersect(parent, asked)
    if not scope.missing(parent, asked):
        for name in ("read", "write", "tools", "models", "hosts", "depth", "money_nusd", "time_s"):
            assert getattr(asked, name) is None or getattr(got, name) == getattr(asked, name)
        assert asked.commands.allow is None or got.commands.allow == asked.commands.allow


@pytest.mark.slow
@given(st.lists(SCOPES, min_size=1, max_size=6))
def test_however_long_the_line_of_children_none_reaches_more_than_the_first(asked: list[Scope]) -> None:
    line = [asked[0]]
    for each in asked[1:]:
        line.append(intersect(line[-1], each))
    assert all(within(child, parent) for parent, child in itertools.pairwise(line))
    assert within(line[-1], line[0])
