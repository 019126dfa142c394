"""Git directories are found wherever they lie; what cannot be looked into counts, too many are refused."""

import os

import pytest

from dashd.jail import git_folders


@pytest.fixture
def top(tmp_path):
    """A checkout with a submodule, a vendored one, a bare one, and a link to one."""
    for name in (".git/hooks", "src", "vendor/n/.git", "lib/sub", "b1.git/objects", "b1.git/refs/heads"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lib/sub/.git").write_text("gitdir: ../../.git/modules/sub")
    (tmp_path / "b1.git/HEAD").write_text("ref: refs/heads/main")
    (tmp_path / "src/.git").symlink_to("../.git")
    (tmp_path / "src/.gitignore").touch()
    return str(tmp_path)


def test_every_kind_is_found_and_no_link_followed(top):
    assert git_folders.inside(top) == [".git", "b1.git", "lib/sub/.git", "vendor/n/.git"]
    assert git_folders.inside(f"{top}/gone") == []


@pytest.mark.parametrize("rights", [0, 0o300, 0o600])
@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is shut to root")
def test_a_folder_that_cannot_be_looked_into_may_hold_one(top, rights):
    os.chmod(f"{top}/vendor", rights)
    try:
        assert git_folders.inside(top) == [".git", "b1.git", "lib/sub/.git", "vendor"]
    finally:
        os.chmod(f"{top}/vendor", 0o700)


def test_more_than_can_be_kept_is_said(top):
    assert len(git_folders.inside(top, found_max=4)) == 4
    with pytest.raises(git_folders.TooMany, match="more than 3 git directories, such as "):
        git_folders.inside(top, found_max=3)
    with pytest.raises(git_folders.TooMany, match="more than 5 files"):
        git_folders.inside(top, entries_max=5)


@pytest.mark.parametrize(
    ("folder", "found"),
    [
        (".git", ".git"),
        (".git/hooks", ".git"),
        ("b1.git", "b1.git"),
        ("b1.git/refs/heads", "b1.git"),
        ("vendor/n/.git", "vendor/n/.git"),
        ("src", ""),
        ("vendor/n", ""),
    ],
)
def test_what_is_one_or_lies_in_one(top, folder, found):
    assert git_folders.around(f"{top}/{folder}") == (f"{top}/{found}" if found else "")
