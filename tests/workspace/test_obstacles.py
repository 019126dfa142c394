"""What is in the way: every kind of thing, in every place that a path takes."""

import os
from pathlib import Path

import pytest

from dashd.workspace import obstacles


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for path in ("file", "folder/inner", "folder/deep/more"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    (tmp_path / "empty/empty").mkdir(parents=True)
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def find(tree: Path, *paths: bytes, known: tuple[bytes, ...] = ()) -> list[bytes]:
    return obstacles.find(os.fsencode(tree), paths, set(known))


@pytest.mark.parametrize("path", [b"file", b"folder/inner", b"link", b"dangling", b"pipe"])
def test_what_is_there_is_in_the_way_unless_it_is_known(tree: Path, path: bytes):
    assert find(tree, path) == [path]
    assert find(tree, path, known=(path,)) == []


@pytest.mark.parametrize("path", [b"new", b"new/deep/x", b"folder/new", b"folder/new/x", b"empty", b"\xff"])
def test_where_nothing_is_lost_the_way_is_free(tree: Path, path: bytes):
    assert find(tree, path) == []


@pytest.mark.parametrize("way", [b"file", b"link", b"dangling", b"folder/inner", b"pipe"])
def test_what_is_no_folder_is_in_the_way_of_what_goes_below_it(tree: Path, way: bytes):
    assert find(tree, way + b"/a/b", way + b"/c") == [way]
    assert find(tree, way + b"/a/b", known=(way,)) == []


def test_a_folder_in_the_place_of_a_file_holds_what_would_be_lost(tree: Path):
    assert find(tree, b"folder") == [b"folder/inner", b"folder/deep/more"]
    assert find(tree, b"folder", known=(b"folder/inner",)) == [b"folder/deep/more"]
    assert find(tree, b"folder", known=(b"folder/inner", b"folder/deep/more")) == []


def test_there_is_an_end_of_it(tree: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(obstacles, "FOUND_MAX", 2)
    assert find(tree, b"file", b"link", b"pipe") == [b"file", b"link"]
