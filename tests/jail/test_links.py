"""Hard links that lead out are found whatever their name, and what cannot be looked through is said."""

import os

import pytest

from dashd.jail import links


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
    assert links.leading_out(str(tree / "scope")) == ""


def test_one_that_leads_out_is_named(tree):
    os.link(tree / "store" / "file", tree / "scope" / "src" / "trap")
    assert f"{tree}/scope/src/trap is linked from outside" in links.leading_out(str(tree / "scope"))


def test_a_tree_that_is_too_large_says_so(tree):
    for number in range(20):
        (tree / "scope" / str(number)).touch()
    with pytest.raises(links.CannotLook, match="too many to look through") as caught:
        links.leading_out(str(tree / "scope"), entries_max=10)
    assert caught.value.hint == "give a narrower scope"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is shut to root")
def test_a_folder_that_cannot_be_read_says_so(tree):
    os.chmod(tree / "scope" / "src", 0)
    try:
        with pytest.raises(links.CannotLook, match="src cannot be looked through") as caught:
            links.leading_out(str(tree / "scope"))
        assert caught.value.hint
    finally:
        os.chmod(tree / "scope" / "src", 0o700)


def test_no_link_is_followed(tree):
    os.symlink(tree / "store", tree / "scope" / "out")
    os.mkfifo(tree / "scope" / "pipe")
    os.link(tree / "store" / "file", tree / "store" / "again")
    assert links.leading_out(str(tree / "scope")) == ""
