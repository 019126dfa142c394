"""Reading a tree: what changes its id, what is listed, what is refused."""

import os
import socket
import stat
from pathlib import Path

import pytest

from dashd.workspace.errors import TreeChanged, TreeTooLarge
from dashd.workspace.pack import Chunks, Kind, Objects
from dashd.workspace.tree import Limits, Snapshot, Unsaved, paths_of, snapshot

NONE: frozenset[bytes] = frozenset()


def look(folder: Path, *, tracked: frozenset[bytes] = NONE, git: bool = True, **limits: int) -> Snapshot:
    return snapshot(folder, Objects("sha1"), tracked, Limits(**limits), git=git)


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o644)
    return path


def test_every_difference_is_another_tree(tmp_path: Path):
    """Content, name, rights, kind, emptiness: each changes the id, and taking it back brings the id back."""
    tmp_path.chmod(0o700)
    file, folder = write(tmp_path / "file"), tmp_path / "folder"
    folder.mkdir(mode=0o755)
    link = tmp_path / "link"
    link.symlink_to("file")
    first = look(tmp_path).tree
    seen = {first}
    for do, undo in (
        (lambda: file.write_bytes(b"y"), lambda: file.write_bytes(b"x")),
        (lambda: file.chmod(0o600), lambda: file.chmod(0o644)),
        (lambda: file.chmod(0o755), lambda: file.chmod(0o644)),
        (lambda: folder.chmod(0o700), lambda: folder.chmod(0o755)),
        (lambda: folder.rmdir(), lambda: folder.mkdir(mode=0o755)),
        (lambda: write(folder / "x"), lambda: (folder / "x").unlink()),
        (lambda: file.rename(tmp_path / "other"), lambda: (tmp_path / "other").rename(file)),
        (
            lambda: (link.unlink(), link.symlink_to("folder")),
            lambda: (link.unlink(), link.symlink_to("file")),
        ),
        (lambda: (link.unlink(), write(link, b"file")), lambda: (link.unlink(), link.symlink_to("file"))),
        (lambda: os.mkfifo(tmp_path / "fifo"), lambda: (tmp_path / "fifo").unlink()),
    ):
        do()
        tree = look(tmp_path).tree
        assert tree not in seen
        seen.add(tree)
        undo()
        assert look(tmp_path).tree == first


def test_what_has_no_content_is_listed(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as made:
        here = os.open(tmp_path, os.O_RDONLY)
        made.bind(f"/proc/self/fd/{here}/sock")
        os.close(here)
    assert [(u.path, u.kind, u.is_content) for u in look(tmp_path).unsaved] == [
        ("fifo", "fifo", False), ("sock", "socket", False),
    ]  # fmt: skip


def test_new_files_beyond_the_limits_are_listed_and_known_ones_kept(tmp_path: Path):
    write(tmp_path / "big", b"x" * 100)
    write(tmp_path / "known", b"x" * 100)
    write(tmp_path / "small", b"x" * 10)
    write(tmp_path / ".git/pack", b"x" * 100)
    found = look(tmp_path, tracked=frozenset([b"known"]), file_bytes_max=50)
    assert found.unsaved == (Unsaved("big", "file", 100, "it is larger than 50 bytes"),)
    assert found.files == 3
    found = look(tmp_path, tracked=frozenset([b"known"]), extra_bytes_max=105)
    assert [u.path for u in found.unsaved] == ["small"]


@pytest.mark.parametrize("limits", [{"bytes_max": 99}, {"entries_max": 2}, {"depth_max": 1}])
def test_beyond_the_last_limits_nothing_is_saved_by_halves(tmp_path: Path, limits: dict[str, int]):
    write(tmp_path / "a/b/c", b"x" * 100)
    write(tmp_path / "d")
    with pytest.raises(TreeTooLarge):
        look(tmp_path, **limits)


def test_nested_repositories_are_named_and_kept(tmp_path: Path):
    write(tmp_path / ".git/HEAD")
    write(tmp_path / "lib/one/.git/HEAD")
    write(tmp_path / "lib/two/.git", b"gitdir: ../one/.git")
    found = look(tmp_path)
    assert found.nested == ("lib/one",)
    assert found.files == 3
    assert look(tmp_path, git=False).files == 2


def test_files_and_folders_without_rights_are_read_and_left_as_they_were(tmp_path: Path):
    file = write(tmp_path / "closed/file", b"secret")
    open_id = look(tmp_path).content
    file.chmod(0)
    file.parent.chmod(0)
    assert look(tmp_path).content == open_id
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0
    file.parent.chmod(0o700)
    assert stat.S_IMODE(file.stat().st_mode) == 0


def test_a_link_at_the_top_is_not_followed(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(NotADirectoryError):
        look(tmp_path / "link")


class Restless(Objects):
    """Writes to a file whenever it is read."""

    def __init__(self, path: Path, times: int) -> None:
        super().__init__("sha1")
        self.path, self.times = path, times

    def add(self, kind: Kind, size: int, chunks: Chunks) -> str:
        if kind == "blob" and self.times:
            self.times -= 1
            with self.path.open("ab") as file:
                file.write(b"more" * (1 << 18))
        return super().add(kind, size, chunks)


def test_a_file_that_grows_is_tried_again_then_refused(tmp_path: Path):
    path = write(tmp_path / "log", b"x" * (2 << 20))
    found = snapshot(tmp_path, Restless(path, 2), NONE, Limits())
    assert found.content == look(tmp_path).content
    with pytest.raises(TreeChanged, match="'log' is still being written to"):
        snapshot(tmp_path, Restless(path, 3), NONE, Limits())


def test_a_listing_of_the_base_is_taken_apart():
    listed = [b"100644 blob aa\ta b", b"040000 tree bb\tdir", b"160000 commit cc\tsub"]
    assert paths_of(listed) == ({b"a b"}, {"aa", "bb", "cc"})
