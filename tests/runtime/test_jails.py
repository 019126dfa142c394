"""From a swarm's row to a jail: folders where they are, what is asked again, what is written down."""

import dataclasses
import json
from pathlib import Path

import msgspec
import pytest

from dashd.domain import scope as scopes
from dashd.drivers.driver import Command
from dashd.jail import cgroup_tree, landlock, launch, probe, view
from dashd.jail.launcher import LaunchFailed
from dashd.jail.view import Folder
from dashd.runtime.jails import Asked, Jails, StoredBounds, view_of

B, C = launch.Walls("B", "/usr/bin/bwrap", 7), launch.Walls("C", "", 7, why="no bwrap")
COMMAND = Command(("agent", "--key=s3cret"), {"HOME": "/home/me", "A": "1"}, "/w", stdin=False)
ENVIRON = {"PATH": "/usr/bin", "HOME": "/home/me"}


def asked(**scope) -> Asked:
    return Asked(True, "/w", scopes.parse(**{"write": ["."], "read": ["."], "hosts": [], **scope}))


def jailed(walls, what: Asked, port: int | None = None):
    jails = Jails("C", launch.Outside(("/db",)), ENVIRON)
    return jails.jailed(walls, what, COMMAND, Path("/launches/x"), port=port, listener=True)


def test_relative_folders_are_beneath_the_root_and_absolute_ones_where_they_are():
    seen = view_of(asked(write=["src", "/out"], read=[".", "/docs"]), "/w", ENVIRON)
    assert set(seen.write) == {Folder("/w", "src"), Folder("/out")}
    assert {Folder("/w", ""), Folder("/docs")} <= set(seen.read)


def test_a_runtime_that_may_be_written_is_not_shown_twice(tmp_path):
    environ = {"PATH": str(tmp_path / "bin"), "HOME": "/home/me"}
    (tmp_path / "bin").mkdir()
    seen = view_of(Asked(True, str(tmp_path), scopes.DEFAULT), str(tmp_path), environ)
    assert [folder.at for folder in (*seen.read, *seen.write)].count(str(tmp_path)) <= 2
    assert Folder(str(tmp_path)) not in seen.read or seen.write == (Folder(str(tmp_path)),)


def test_with_namespaces_home_and_tmp_are_the_jail_s():
    found = jailed(B, asked())
    assert (found.grade, found.env["HOME"], found.env["TMPDIR"], found.env["A"]) == (
        "B",
        view.HOME,
        "/tmp",
        "1",
    )
    assert found.jail["policy"]["listener"] == view.LISTENER_PORT
    assert found.jail["policy"]["selftest"]["files"] == ("/db",)


def test_without_them_they_are_the_launch_s_and_its_port_is_the_only_one():
    found = jailed(C, asked(), port=4711)
    assert (found.grade, found.env["HOME"]) == ("C", "/launches/x/scratch")
    assert found.env["GIT_CONFIG_NOSYSTEM"] == "1", "else git gives up over a file that it may not read"
    assert found.jail["policy"]["landlock"]["ports"] == [(4711, landlock.CONNECT_TCP)]


def test_without_walls_nothing_changes():
    found = jailed(launch.Walls("0"), asked())
    assert (found.jail, found.grade, found.env) == (None, "0", COMMAND.env)
    found = jailed(B, Asked(False, "/w"))
    assert (found.jail, found.grade, found.shown) == (None, "0", None)


def test_only_in_grade_a_a_launch_has_a_cgroup_and_it_is_named_by_its_folder():
    assert "cgroup" not in jailed(B, asked()).jail
    found = jailed(dataclasses.replace(B, grade="A", cgroups="/cg"), asked())
    assert found.grade == "A"
    assert found.jail["cgroup"] == cgroup_tree.of_launch("/cg", Path("/launches/x"), view.Bounds())
    assert found.jail["cgroup"]["path"].endswith("/x")


def test_behind_a_mac_s_walls_nothing_is_started_as_if_they_stood():
    found = jailed(launch.Walls("M"), asked())
    assert (found.jail, found.grade) == (None, "0")


def test_what_is_written_down_names_folders_and_no_argument():
    shown = json.loads(jailed(B, asked(hosts=["example.com"])).shown)
    assert (shown["write"], shown["hosts"]) == (["/w"], ["example.com"])
    assert "s3cret" not in json.dumps(shown)
    assert len(shown["argv_sha256"]) == 64


async def test_walls_that_are_enough_are_looked_at_once_and_weak_ones_again(monkeypatch):
    found = [C, B, C]
    monkeypatch.setattr(probe, "probe", lambda _: found.pop(0))
    jails = Jails("B", launch.Outside(), ENVIRON)
    assert not jails.enough(await jails.walls())
    assert jails.enough(await jails.walls())
    assert jails.enough(await jails.walls())
    assert len(found) == 1


@pytest.mark.parametrize(
    ("text", "memory"), [("{}", view.Bounds().memory_bytes), ('{"memory_mb": 64}', 64 << 20)]
)
def test_a_row_from_before_there_were_bounds_has_the_usual_ones(text, memory):
    assert msgspec.json.decode(text, type=StoredBounds).bounds().memory_bytes == memory


@pytest.mark.parametrize("way", ["link", "file"])
def test_a_program_that_no_jail_shows_is_named_with_what_shows_it(tmp_path, way):
    own, on_path = tmp_path / "share/pipx/venvs/my tool/bin", tmp_path / "local"
    own.mkdir(parents=True)
    on_path.mkdir()
    (own / "tool").write_text("#!/bin/sh")
    (own / "tool").chmod(0o755)
    (on_path / "tool").symlink_to(own / "tool")

    def hidden(program, environ=None, **scope):
        environ = environ or {"PATH": str(on_path), "HOME": "/home/me"}
        jails = Jails("C", launch.Outside(("/db",)), environ)
        command = Command((program,), {"PATH": f"{on_path}:/usr/bin:/bin"}, "/w", stdin=False)
        return jails.jailed(B, asked(**scope), command, Path("/x"), port=None, listener=True).hidden()

    program = "tool" if way == "link" else str(own / "tool")
    told = hidden(program)
    assert told.endswith(f"is in no folder that its jail shows: give it with --read '{own.parent}'")
    assert (f"{on_path}/tool is a link to {own}/tool" in told) == (way == "link")
    assert hidden(program, read=[".", str(own.parent)]) == ""
    if way == "link":  # where the link itself is not shown either
        assert hidden(program, ENVIRON).endswith(f"--read {on_path} --read '{own.parent}'")
    assert hidden("sh") == hidden("no-such-program") == ""


async def test_git_directories_in_what_may_be_written_are_kept_wherever_they_lie(tmp_path):
    root, out = tmp_path / "work", tmp_path / "out"
    for name in ("vendor/n/.git", "src/.git", "b1.git/objects", "b1.git/refs", "b1.git/HEAD"):
        (root / name).mkdir(parents=True)
    (out / ".git").mkdir(parents=True)
    what = Asked(True, str(root), scopes.parse(write=[".", str(out)], read=[], hosts=[]))
    jails = Jails("C", launch.Outside(), ENVIRON)
    found = await jails.guarding(B, what)
    kept = {str(root / "b1.git"), str(root / "src/.git"), str(root / "vendor/n/.git"), str(out / ".git")}
    assert {each.at for each in found.git} == kept
    binds = jailed(B, found).jail["binds"]
    assert {at for at, *_, writable in binds if not writable} >= kept
    alone = await jails.guarding(B, dataclasses.replace(what, own_clone=True))
    assert [each.at for each in alone.git] == [str(out / ".git")], "its own .git is the agent's"
    assert (await jails.guarding(C, what)).git == ()
    for number in range(70):
        (root / f"{number}/.git").mkdir(parents=True)
    with pytest.raises(LaunchFailed, match="narrower scope"):
        await jails.guarding(B, what)
