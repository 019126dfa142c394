"""Hard links that lead out: found whatever their name, shown read-only where tools make them."""

import os

import pytest

from dashd.jail import links, view
from tests.jail import inside


@pytest.fixture
def tree(tmp_path):
    """A scope and a store beside it."""
    (tmp_path / "scope" / "src").mkdir(parents=True)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "file").write_text("shared")
    return tmp_path


def test_links_that_stay_inside_are_nobody_s_business(tree):
    (tree / "scope" / "a").write_text("x")
    os.link(tree / "scope" / "a", tree / "scope" / "src" / "b")
    assert links.leading_out(str(tree / "scope")) == links.Found(None, (), True)


def test_one_that_leads_out_is_named(tree):
    os.link(tree / "store" / "file", tree / "scope" / "src" / "trap")
    assert links.leading_out(str(tree / "scope")).refused == str(tree / "scope" / "src" / "trap")


@pytest.mark.parametrize("name", sorted(links.PROTECTED))
def test_what_tools_have_linked_is_shown_read_only(name, tree):
    folder = tree / "scope" / "src" / name / "deep"
    folder.mkdir(parents=True)
    os.link(tree / "store" / "file", folder / "linked")
    found = links.leading_out(str(tree / "scope"))
    assert found == links.Found(None, (str(tree / "scope" / "src" / name),), True)


def test_a_tree_that_is_too_large_says_so(tree):
    for number in range(20):
        (tree / "scope" / str(number)).touch()
    assert not links.leading_out(str(tree / "scope"), entries_max=10).complete


def test_no_link_is_followed_and_what_cannot_be_read_is_passed_over(tree):
    os.symlink(tree / "store", tree / "scope" / "out")
    os.mkfifo(tree / "scope" / "pipe")
    assert links.leading_out(str(tree / "scope")) == links.Found(None, (), True)
    assert links.leading_out(str(tree / "gone")) == links.Found(None, (), True)


def test_read_only_inside_a_scope_holds_in_the_jail(tree):
    (tree / "scope" / ".venv").mkdir()
    os.link(tree / "store" / "file", tree / "scope" / ".venv" / "linked")
    scope = str(tree / "scope")
    seen = view.View(scope, (view.Folder(scope),), (view.Folder(scope, ".venv"),))
    ended = inside.enter("B", tree / "scope", "echo x >> .venv/linked; echo y > made", seen=seen)
    assert (tree / "store" / "file").read_text() == "shared"
    assert (tree / "scope" / "made").exists()
    assert "Read-only" in ended.output
