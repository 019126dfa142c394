"""What is shown: runtimes on PATH, never a home or what holds one."""

import os

import pytest

from dashd.jail import view


def shown(environ) -> set[str]:
    return {folder.at for folder in view.runtimes(environ)}


def test_a_bin_folder_brings_its_libraries_and_nothing_else(tmp_path):
    for name in ("bin", "lib", "secrets"):
        (tmp_path / "node" / name).mkdir(parents=True)
    found = shown({"PATH": str(tmp_path / "node" / "bin"), "HOME": "/nowhere"})
    assert {str(tmp_path / "node" / name) for name in ("bin", "lib")} <= found
    assert not {str(tmp_path / "node"), str(tmp_path / "node" / "secrets")} & found


def test_what_everybody_may_write_in_is_left_out(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert str(tmp_path / "open") not in shown({"PATH": str(tmp_path / "open"), "HOME": "/nowhere"})


@pytest.mark.parametrize("folder", [".local/bin", "bin"])
def test_a_home_is_never_brought(folder, tmp_path):
    (tmp_path / folder).mkdir(parents=True)
    found = shown({"PATH": str(tmp_path / folder), "HOME": str(tmp_path)})
    assert str(tmp_path / folder) in found
    assert not {str(tmp_path), str(tmp_path / ".local")} & found


@pytest.mark.parametrize(("folder", "brought"), [(".local", {"bin", "lib"}), ("", {"bin"})])
def test_what_a_home_has_beside_its_programs_is_its_owners(folder, brought, tmp_path):
    own = tmp_path / folder
    for name in ("bin", "lib", "share", "include"):
        (own / name).mkdir(parents=True)
    found = shown({"PATH": str(own / "bin"), "HOME": str(tmp_path)})
    assert {name for name in os.listdir(own) if str(own / name) in found} == brought


def test_no_neighbour_is_brought_through_a_link(tmp_path):
    for name in ("tool/bin", "private"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "tool/share").symlink_to(tmp_path / "private")
    found = shown({"PATH": str(tmp_path / "tool/bin"), "HOME": "/nowhere"})
    assert not {str(tmp_path / "private"), str(tmp_path / "tool/share")} & found


def test_a_home_on_path_itself_is_left_out(tmp_path):
    assert str(tmp_path) not in shown({"PATH": str(tmp_path), "HOME": str(tmp_path)})
    assert str(tmp_path) not in shown({"PATH": str(tmp_path), "HOME": str(tmp_path / "user")})


def test_what_every_jail_shows_and_what_is_not_there_is_left_out():
    found = shown({"PATH": "/usr/bin:/nonexistent/bin:relative:", "HOME": "/nowhere"})
    assert not any(view.is_system(path) or "nonexistent" in path for path in found)


def test_where_a_folder_is():
    assert view.Folder("/a").at == "/a"
    assert view.Folder("/a", "b/c").at == "/a/b/c"
    assert view.Folder("/").at == "/"


def test_the_python_inside_is_one_that_every_jail_shows_or_ours():
    path = view.python()
    assert os.access(path, os.X_OK)
