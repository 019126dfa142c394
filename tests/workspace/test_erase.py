"""Removing a tree: what goes, and what is never touched."""

import os
from pathlib import Path

import pytest

from dashd.workspace import erase
from dashd.workspace.errors import OutsideRoot


def test_it_follows_no_link(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    tree = tmp_path / "root/tree"
    tree.mkdir(parents=True)
    (tree / "folder").symlink_to(outside)
    (tree / "file").symlink_to(outside / "precious")
    (tree / "up").symlink_to("../..")
    erase.remove_tree(tmp_path / "root", "tree")
    assert not tree.exists()
    assert (outside / "precious").read_text() == "x"


def test_a_link_in_its_place_is_itself_removed(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (tmp_path / "tree").symlink_to(outside)
    erase.remove_tree(tmp_path, "tree")
    assert not (tmp_path / "tree").is_symlink()
    assert (outside / "precious").exists()


def test_a_root_that_is_a_link_is_refused(tmp_path: Path):
    (tmp_path / "real/tree").mkdir(parents=True)
    (tmp_path / "root").symlink_to(tmp_path / "real")
    with pytest.raises(NotADirectoryError):
        erase.remove_tree(tmp_path / "root", "tree")
    assert (tmp_path / "real/tree").exists()


def test_folders_without_rights_go_too(tmp_path: Path):
    inner = tmp_path / "tree/closed/inner"
    inner.mkdir(parents=True)
    (inner / "file").write_text("x")
    for folder in (inner, inner.parent):
        folder.chmod(0)
    erase.remove_tree(tmp_path, "tree")
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_any_depth_goes_with_few_descriptors(tmp_path: Path):
    (tmp_path / "tree").mkdir()
    at = os.open(tmp_path / "tree", os.O_RDONLY)
    for n in range(3000):
        os.mkdir("d", dir_fd=at)
        inner = os.open("d", os.O_RDONLY, dir_fd=at)
        if n % 500 == 0:
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=at))
        os.close(at)
        at = inner
    os.close(at)
    erase.remove_tree(tmp_path, "tree")
    assert os.listdir(tmp_path) == []


def test_odd_names_and_kinds(tmp_path: Path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in (b"\xff\n", b"-rf", b"deep-0", b" "):
        os.mkdir(os.fsencode(tree) + b"/" + name)
    os.mkfifo(tree / "fifo")
    erase.remove_tree(tmp_path, "tree")
    assert os.listdir(tmp_path) == []


def test_nothing_there_is_no_error(tmp_path: Path):
    erase.remove_tree(tmp_path, "tree")
    erase.remove_tree(tmp_path / "missing", "tree")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc"])
def test_only_an_entry_of_the_root_can_be_named(tmp_path: Path, name: str):
    with pytest.raises(OutsideRoot):
        erase.remove_tree(tmp_path, name)
