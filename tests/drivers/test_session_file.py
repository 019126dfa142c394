"""Files that a program has written in a jail: the newest is read, no link or pipe is, and none for ever."""

import os

import pytest

from dashd.domain.session_tree import BYTES_MAX, NothingThere
from dashd.drivers.session_file import read_newest


def newest(names):
    """The last of the alphabet among those of a session."""
    return max((name for name in names if name.endswith("_s")), default=None)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "session"
    made.mkdir()
    return made


def test_the_newest_file_is_read(folder, tmp_path) -> None:
    with pytest.raises(NothingThere):
        read_newest(tmp_path / "none", newest)
    with pytest.raises(NothingThere):
        read_newest(folder, newest)
    (folder / "1_s").write_bytes(b"old")
    (folder / "2_s").write_bytes(b"new")
    (folder / "zzz").write_bytes(b"no session")
    assert read_newest(folder, newest) == b"new"


def test_no_link_or_pipe_is_followed_and_no_file_is_read_for_ever(folder, tmp_path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    link, pipe = folder / "3_s", folder / "4_s"
    link.symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        read_newest(folder, newest)
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="no plain file"):
        read_newest(folder, newest)
    pipe.unlink()
    link.unlink()
    with link.open("wb") as sparse:
        sparse.truncate(BYTES_MAX * 4)
    assert len(read_newest(folder, newest)) == BYTES_MAX + 1
    (tmp_path / "linked").symlink_to(folder)
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        read_newest(tmp_path / "linked", newest)
