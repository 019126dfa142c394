"""Folders as text: what is one, what is none and why, and that sets of them mean what os.path says."""

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import folders
from dashd.wire.errors import InvalidParams

NAMES = st.sampled_from(["a", "b", "c", "ab", "a.b", "é", "e\u0301", "..."])
PLACES = st.lists(NAMES, max_size=4).map("/".join)
FOLDERS = st.one_of(PLACES.map(lambda place: place or "."), PLACES.map(lambda place: "/" + place))
SETS = st.lists(FOLDERS, max_size=6).map(folders.canonical)


def inside(folder: str, above: str) -> bool:
    """What os.path thinks of it."""
    if os.path.isabs(folder) != os.path.isabs(above):
        return False
    if above == ".":
        return True
    if folder == ".":
        return False
    return os.path.commonpath([folder, above]) == above


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        (".", "."),
        ("./", "."),
        ("**", "."),
        ("src/auth/", "src/auth"),
        ("src/auth/**", "src/auth"),
        ("src/auth/**/", "src/auth"),
        ("./src//./auth", "src/auth"),
        ("/", "/"),
        ("//srv///x/.", "/srv/x"),
        ("/**", "/"),
        ("app/[id]/{a,b}", "app/[id]/{a,b}"),
        ("a b", "a b"),
        (".git", ".git"),
        ("...", "..."),
        ("a\\..\\b", "a\\..\\b"),
        ("\uff0e\uff0e/x", "\uff0e\uff0e/x"),
        ("src/~", "src/~"),
        ("proc/x", "proc/x"),
        ("/process", "/process"),
    ],
)
def test_a_folder_has_one_form(text: str, folder: str) -> None:
    assert folders.parse(text) == folder
    assert folders.parse(folder) == folder


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("..", "behind a link"),
        ("src/../..", "behind a link"),
        ("/srv/..", "behind a link"),
        ("src/..", "behind a link"),
        ("../**", "behind a link"),
        ("src/*.py", "mounts cannot express patterns"),
        ("src/**/auth", "mounts cannot express patterns"),
        ("*/auth", "mounts cannot express patterns"),
        ("src/*", "mounts cannot express patterns"),
        ("src/**/**", "mounts cannot express patterns"),
        ("src/?", "mounts cannot express patterns"),
        ("src\0", "control character"),
        ("src\n/etc", "control character"),
        ("src\x9b", "control character"),
        ("src\u2028", "control character"),
        ("src\udcff", "not UTF-8"),
        ("~/x", "only to a shell"),
        ("~root/x", "only to a shell"),
        ("/proc/self/root/etc", "made up by the kernel"),
        ("//proc", "made up by the kernel"),
        ("/./dev/fd/3", "made up by the kernel"),
        ("/sys", "made up by the kernel"),
        ("a" * 256, "over 255 bytes"),
        ("é" * 128, "over 255 bytes"),
        ("a/" * 2_048, "over 4095"),
    ],
)
def test_what_is_no_folder_says_why(text: str, why: str) -> None:
    with pytest.raises(InvalidParams, match=re.escape(why)) as caught:
        folders.parse(text, path="scope.read[0]")
    assert caught.value.path == "scope.read[0]"
    assert caught.value.hint
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()


def test_with_a_root_absolute_folders_in_it_become_relative() -> None:
    assert folders.parse("/r/x/src", root="/r/x") == "src"
    assert folders.parse("/r/x/", root="/r/x") == "."
    assert folders.parse("/r/xy", root="/r/x") == "/r/xy"
    assert folders.parse("/r", root="/r/x") == "/r"
    assert folders.parse("/a", root="/") == "a"
    assert folders.parse("src", root="/r/x") == "src"


def test_many_are_parsed_with_their_place_and_bounded() -> None:
    assert folders.parse_all(["b/", "a", "b/c"]) == ("a", "b")
    with pytest.raises(InvalidParams) as caught:
        folders.parse_all(["a", "b/.."], path="read")
    assert caught.value.path == "read[1]"
    assert len(folders.parse_all([f"f{n}" for n in range(folders.FOLDERS_MAX)])) == folders.FOLDERS_MAX
    with pytest.raises(InvalidParams, match="257 folders"):
        folders.parse_all([f"f{n}" for n in range(folders.FOLDERS_MAX + 1)])


def test_a_name_that_only_begins_alike_is_outside() -> None:
    assert not folders.covers(["src"], "src2")
    assert not folders.covers(["/srv"], "/srvx")
    assert not folders.covers(["src"], "/src")
    assert not folders.covers(["/"], "src")
    assert not folders.covers(["."], "/")
    assert folders.meet((".",), ("/srv",)) == ()


@given(st.lists(st.sampled_from(["", ".", "a", "b b", "é", "[x]"]), min_size=1, max_size=6), st.booleans())
def test_the_form_is_that_of_normpath(parts: list[str], absolute: bool) -> None:
    text = ("/" if absolute else "") + "/".join(parts)
    expected = os.path.normpath(text)
    if text.startswith("/"):
        expected = "/" + expected.lstrip("/")  # normpath keeps two leading slashes, Linux does not
    if text:
        assert folders.parse(text) == expected


@given(st.text(max_size=40) | st.text("./*~a\0", max_size=12))
def test_any_text_is_a_folder_that_stays_put_or_is_refused(text: str) -> None:
    try:
        folder = folders.parse(text)
    except InvalidParams:
        return
    assert folders.parse(folder) == folder
    assert ".." not in folder.split("/")
    assert os.path.isabs(folder) == text.startswith("/")
    # Below any base the kernel finds nothing above it, whatever the base.
    assert os.path.normpath(os.path.join("/base", folder)).startswith("/base" if folder[0] != "/" else "/")


@given(FOLDERS, FOLDERS)
def test_inside_is_what_os_path_says(folder: str, above: str) -> None:
    assert folders.covers([above], folder) == inside(folder, above)


@given(st.lists(FOLDERS, max_size=8), FOLDERS)
def test_the_canonical_set_reaches_the_same(given_folders: list[str], folder: str) -> None:
    found = folders.canonical(given_folders)
    assert folders.covers(found, folder) == any(inside(folder, each) for each in given_folders)
    assert not any(inside(one, other) for one in found for other in found if one != other)
    assert folders.canonical(reversed(found)) == found


@given(SETS, SETS, FOLDERS)
def test_a_meet_reaches_what_both_reach_and_a_union_what_either(one, other, folder) -> None:
    both = folders.covers(one, folder) and folders.covers(other, folder)
    either = folders.covers(one, folder) or folders.covers(other, folder)
    assert folders.covers(folders.meet(one, other), folder) == both
    assert folders.covers(folders.union(one, other), folder) == either


@pytest.mark.slow
@given(SETS, SETS, SETS)
def test_a_meet_is_one(one, two, three) -> None:
    assert folders.meet(one, one) == one
    assert folders.meet(one, two) == folders.meet(two, one)
    assert folders.meet(folders.meet(one, two), three) == folders.meet(one, folders.meet(two, three))


@pytest.mark.slow
@given(st.sets(FOLDERS.filter(lambda folder: folder != "/"), max_size=8), SETS)
def test_on_a_tree_on_disk_the_text_rule_finds_what_a_walk_finds(tmp_path_factory, tree, scope) -> None:
    """Whoever walks down from the scope's folders meets exactly the folders that are covered."""
    top = tmp_path_factory.mktemp("tree")
    real = {each: top / ("abs" + each if each[0] == "/" else f"rel/{each}") for each in tree}
    for place in real.values():
        place.mkdir(parents=True, exist_ok=True)
    walked = set()
    for each in scope:
        start = top / ("abs" + each if each[0] == "/" else f"rel/{each}")
        walked.update(os.path.realpath(folder) for folder, _, _ in os.walk(start))
    for each, place in real.items():
        assert folders.covers(scope, each) == (os.path.realpath(place) in walked)
