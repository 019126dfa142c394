"""Folders by inode: no link below the root is followed, and a swap before the start shows nothing else."""

import os
import threading

import pytest

from dashd.jail import opening
from dashd.jail.opening import BadFolder, open_folder

SWAPS = 1_000


def same(fd: int, path) -> bool:
    try:
        seen, meant = os.fstat(fd), os.stat(path)
        return (seen.st_dev, seen.st_ino) == (meant.st_dev, meant.st_ino)
    finally:
        os.close(fd)


def test_a_folder_is_found_beneath_its_root(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert same(open_folder(str(tmp_path), "a/b", "x"), tmp_path / "a" / "b")
    assert same(open_folder(str(tmp_path), "", "x"), tmp_path)


@pytest.mark.parametrize("path", ["link", "link/inside", "../outside", "a/../../outside", "/etc"])
def test_no_way_leads_out(path, tmp_path):
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "outside" / "inside").mkdir(parents=True)
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(BadFolder, match="a link is in the way"):
        open_folder(str(tmp_path / "root"), path, "shown")


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(BadFolder, match=f"No such file or directory: opening /shown beneath {tmp_path}"):
        open_folder(str(tmp_path), "gone", "/shown")
    with pytest.raises(BadFolder, match=f"opening {tmp_path}/gone"):
        open_folder(str(tmp_path / "gone"), "", "/shown")


def test_a_link_on_the_way_to_the_root_is_not_followed_either(tmp_path):
    """Another agent may have made it, in a folder around this one."""
    (tmp_path / "secret" / "sub").mkdir(parents=True)
    project = tmp_path / "project"
    project.symlink_to("secret")
    for root, path in ((project, ""), (project / "sub", ""), (project, "sub")):
        with pytest.raises(BadFolder, match="a link is in the way"):
            open_folder(str(root), path, "shown")


def test_a_thousand_swaps_never_show_another_folder(tmp_path):
    """Somebody exchanges the scope for a link to a secret while it is opened."""
    root, secret = tmp_path / "root", tmp_path / "secret"
    (root / "scope").mkdir(parents=True)
    secret.mkdir()
    os.symlink(secret, root / "evil")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(root / "scope", root / "aside")
            os.rename(root / "evil", root / "scope")
            os.rename(root / "scope", root / "evil")
            os.rename(root / "aside", root / "scope")

    meant = os.stat(root / "scope").st_ino
    swapping = threading.Thread(target=swap)
    swapping.start()
    refused = 0
    try:
        for _ in range(SWAPS):
            try:
                fd = open_folder(str(root), "scope", "scope")
            except BadFolder:
                refused += 1
                continue
            assert os.fstat(fd).st_ino == meant
            os.close(fd)
    finally:
        stop.set()
        swapping.join()
    assert refused < SWAPS


def test_what_is_opened_again_is_the_same_or_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    meant = os.stat(tmp_path / "a")
    assert same(opening.reopened(str(tmp_path / "a"), meant.st_dev, meant.st_ino), tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").mkdir()
    with pytest.raises(BadFolder, match="somebody put another folder in its place"):
        opening.reopened(str(tmp_path / "a"), meant.st_dev, meant.st_ino)


def test_a_missing_folder_is_made_where_it_is_meant(tmp_path):
    assert same(opening.made(str(tmp_path / "a")), tmp_path / "a")
    assert same(opening.made(str(tmp_path / "a")), tmp_path / "a")
    (tmp_path / "outside").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "dangling").symlink_to(tmp_path / "outside" / "new")
    for path in ("link", "link/a", "dangling", "dangling/a"):
        with pytest.raises(BadFolder):
            opening.made(str(tmp_path / path))
    assert os.listdir(tmp_path / "outside") == []
