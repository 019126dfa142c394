"""Folders in folders: who mounts what, and that a swap at any instant has nothing outside made or covered."""

import os
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from dashd.jail import launch, nesting, probe, view
from dashd.jail.agent_jail import AgentJail, BadFolder
from tests.jail import inside

SWAPPED_STARTS = 8


def _bind(at: str, *, writable: bool) -> tuple[str, str, str, bool]:
    return at, at, "", writable


def test_only_what_differs_from_the_folder_around_it_is_mounted_on_it():
    modes = {"/w": True, "/w-b": False, "/w/a": False, "/w/a/b": False, "/w/a/c": True, "/w/d": True}
    binds = [_bind(at, writable=writable) for at, writable in sorted(modes.items())]
    shown, nested = nesting.arranged(binds)
    assert [bind[0] for bind in shown] == ["/w", "/w-b"]
    assert [bind[0] for bind in nested] == ["/w", "/w/a", "/w/a/c"]


def test_what_is_shown_elsewhere_is_mounted_in_any_mode():
    binds = [("/w", "/w", "", False), ("/w/a", "/w", "a", False), ("/w/modules", "/m", "", False)]
    shown, nested = nesting.arranged(binds)
    assert [bind[0] for bind in shown] == ["/w"]
    assert [bind[0] for bind in nested] == ["/w", "/w/modules"]


def _nested(root: Path, inner: str, *, inner_writable: bool) -> view.View:
    outer, folder = (view.Folder(str(root)),), (view.Folder(str(root), inner),)
    return view.View(str(root), folder, outer) if inner_writable else view.View(str(root), outer, folder)


@pytest.mark.parametrize("nesting", ["own", "bwrap", ""])
@pytest.mark.parametrize("inner_writable", [True, False])
def test_each_folder_has_its_own_mode(inner_writable, nesting, tmp_path):
    """By every way there is; bubblewrap alone is one where nobody else can write."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    seen = replace(_nested(tmp_path, "a/b", inner_writable=inner_writable), alone=str(tmp_path))
    script = "echo x > a/b/in; echo x > a/out; ls -d a/b; grep Cap /proc/self/status"
    ended = inside.enter("B", tmp_path, script, seen=seen, nesting=_way(nesting))
    assert "a/b\nCapInh:\t0000000000000000\n" in ended.output
    assert re.search("[1-9a-f]", "".join(re.findall(r"Cap...:(.*)", ended.output))) is None, "no rights left"
    assert (tmp_path / "a" / "b" / "in").exists() == inner_writable
    assert (tmp_path / "a" / "out").exists() != inner_writable


@pytest.mark.parametrize("nesting", ["own", "bwrap", ""])
def test_what_is_from_elsewhere_is_shown_in_its_place(nesting, tmp_path):
    """As dependencies are in a clone; its place is made again where it is gone."""
    (tmp_path / "clone").mkdir()
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "known").write_text("theirs")
    clone, modules = str(tmp_path / "clone"), str(tmp_path / "modules")
    shared = view.Folder(modules, "", f"{clone}/modules")
    seen = view.View(clone, (view.Folder(clone),), (shared,), alone=clone)
    ended = inside.enter(
        "B", tmp_path, "cat modules/known; echo x > modules/x", seen=seen, nesting=_way(nesting)
    )
    assert ended.output.startswith("theirs")
    assert os.listdir(modules) == ["known"]


@pytest.mark.parametrize("alone", ["", "elsewhere", "root-b"])
def test_where_nothing_is_safe_it_is_refused_with_what_to_allow(alone, tmp_path):
    """Where neither we nor a second bubblewrap can mount, and another agent may write around the place."""
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    seen = replace(_nested(root, "a", inner_writable=False), alone=str(tmp_path / alone) if alone else "")
    with pytest.raises(BadFolder) as refused:
        inside.enter("B", root, "true", seen=seen, nesting="")
    assert refused.value.strerror == (
        f"{root}/a inside {root} cannot be mounted safely here, where others may write {root}: let "
        f"{os.path.realpath(sys.executable)} make user namespaces too (AppArmor: a profile with `userns`), "
        "or give each agent a clone (--repo)"
    )


def _way(nesting: launch.Nesting) -> launch.Nesting:
    """The way, or a skipped test where this machine has it not."""
    found = probe.attempt(replace(inside.of_grade("B"), nesting=nesting)).why
    if found:
        pytest.skip(f"not on this machine: {found}")
    return nesting


def _plan(root: Path, inner: str) -> AgentJail:
    seen = _nested(root, inner, inner_writable=True)
    outside = launch.Outside()
    return AgentJail(launch.plan(inside.of_grade("B"), seen, python=view.python(), outside=outside))


@pytest.mark.parametrize(
    ("inner", "swapped", "target"),
    [
        ("a/made", "a", "/oldroot{root}/victim"),  # where bubblewrap has the outside while it mounts
        ("lib/games", "lib", "/newroot/usr"),  # and where the jail's own root is
        ("inner", "inner", "../victim"),
    ],
)
def test_a_link_in_the_way_of_a_mount_point_ends_the_start(inner, swapped, target, tmp_path):
    scope, victim = tmp_path / "w", tmp_path / "victim"
    (scope / inner).mkdir(parents=True)
    victim.mkdir()
    jail = _plan(scope, inner)
    try:
        jail.prepare(["true"], ["/bin/true"], {})
        os.rename(scope / swapped, scope / "aside")
        os.symlink(target.format(root=tmp_path), scope / swapped)
        pid = os.fork()
        if pid == 0:
            try:
                jail.enter()
            except BadFolder as error:
                os._exit(3 if "a link is in the way" in str(error) else 4)
            finally:
                os._exit(5)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    finally:
        jail.close()
    assert os.listdir(victim) == []


def test_bubblewrap_is_told_of_no_mount_point_in_a_folder(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    jail = _plan(tmp_path, "a/b")
    try:
        jail.prepare(["true"], ["/bin/true"], {})
        options = os.pread(jail._options, 1 << 16, 0).decode().split("\0")
        assert str(tmp_path) in options
        assert str(tmp_path / "a" / "b") not in options
    finally:
        jail.close()


@pytest.mark.parametrize("nesting", ["own", "bwrap"])
def test_swaps_while_jails_start_make_nothing_outside_and_cover_nothing(nesting, tmp_path):
    """Somebody who may write the folder around exchanges it all the while. A jail that stands shows what was
    meant, and the system's own folders are as they were.
    """
    nesting = _way(nesting)
    scope, victim = tmp_path / "w", tmp_path / "victim"
    (scope / "lib" / "games").mkdir(parents=True)
    (scope / "lib" / "games" / "mine").touch()
    victim.mkdir()
    links = [scope / "evil", scope / "worse"]
    links[0].symlink_to(f"/oldroot{victim}")
    links[1].symlink_to("/newroot/usr")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for link in links:
                os.rename(scope / "lib", scope / "aside")
                os.rename(link, scope / "lib")
                os.rename(scope / "lib", link)
                os.rename(scope / "aside", scope / "lib")

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for _ in range(SWAPPED_STARTS):
            seen = _nested(scope, "lib/games", inner_writable=True)
            try:
                script = "ls /usr/games | grep -c mine"
                ended = inside.enter("B", scope, script, seen=seen, nesting=nesting)
            except (BadFolder, subprocess.SubprocessError):
                continue
            assert ended.news[-1:] != [b"ready"] or ended.output.strip() == "0"
    finally:
        stop.set()
        swapping.join()
    assert os.listdir(victim) == []


@pytest.mark.parametrize("grade", inside.GRADES)
def test_another_folder_in_its_place_is_not_given(grade, tmp_path, monkeypatch):
    """By name alone grade C would give whatever is there by now."""
    real = AgentJail.prepare

    def then_swapped(jail: AgentJail, *arguments) -> None:
        real(jail, *arguments)
        os.rename(tmp_path / "scope", tmp_path / "aside")
        (tmp_path / "scope").mkdir()
        (tmp_path / "scope" / "secret").write_text("s3cret")

    (tmp_path / "scope").mkdir()
    monkeypatch.setattr(AgentJail, "prepare", then_swapped)
    ended = inside.enter(grade, tmp_path / "scope", "cat secret")
    assert "s3cret" not in ended.output
    if grade == "C":  # in the other one bubblewrap mounts what was opened, wherever it is by now
        assert b"is not the folder that it was" in ended.news[-1]


@pytest.mark.parametrize("grade", inside.GRADES)
def test_the_stage_is_the_last_to_look_at_every_folder(grade, tmp_path, monkeypatch):
    real = AgentJail._open

    def elsewhere(jail: AgentJail, *bind) -> int:
        fd = real(jail, *bind)
        at, device, inode, read_only = jail._shown[-1]
        jail._shown[-1] = (at, device, inode + 1, read_only)
        return fd

    monkeypatch.setattr(AgentJail, "_open", elsewhere)
    ended = inside.enter(grade, tmp_path, "true")
    assert b"is not the folder that it was" in ended.news[-1]


def test_a_read_only_folder_that_can_be_written_ends_the_start(tmp_path, monkeypatch):
    """As where somebody executes the command and has not entered first."""
    (tmp_path / "inner").mkdir()
    monkeypatch.setattr(nesting, "mount", lambda *_: None)
    seen = _nested(tmp_path, "inner", inner_writable=True)
    ended = inside.enter("B", tmp_path, "true", seen=seen, nesting="own")
    assert b"is not mounted read-only" in ended.news[-1]
