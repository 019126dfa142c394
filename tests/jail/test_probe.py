"""The probe: what it finds here, and what it says where a part is missing, is switched off, or lies."""

import errno
import re
import stat
import tempfile
from pathlib import Path

import pytest

from dashd.jail import landlock, launch, nesting, probe, syscalls
from tests.jail import inside


def test_what_it_finds_here_stands():
    found = inside.walls()
    if found.grade == "0":
        pytest.skip(f"no walls here: {found.why}")
    assert probe.attempt(found).why == ""


@pytest.fixture
def bwrap(tmp_path):
    """A program of our own in bubblewrap's place."""

    def put(script: str) -> str:
        path = tmp_path / "bwrap"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return put


def landlocked() -> None:
    if not landlock.abi() or syscalls.here() is None:
        pytest.skip("no Landlock here")


def test_without_bubblewrap_the_grade_is_lower_and_says_what_to_install():
    landlocked()
    found = probe.probe(None)
    assert (found.grade, found.why, found.fix) == ("C", "bubblewrap is not installed", probe.INSTALL)


def test_without_user_namespaces_bubblewrap_s_own_words_are_passed_on(bwrap):
    landlocked()
    found = probe.probe(bwrap("echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1"))
    assert found.grade == "C"
    assert found.why == "bubblewrap could not build a jail: bwrap: setting up uid map: Permission denied"
    assert found.fix == probe.ALLOW


def test_a_bubblewrap_that_builds_nothing_is_found_out_from_inside(bwrap):
    """It execs the stage without a single namespace; only the self-test can tell."""
    landlocked()
    here = Path(probe.__file__).parents[2]
    pretend = 'while [ "$1" != -- ]; do shift; done; shift; cd /'
    code = f"$(echo \"$5\" | sed 's,/run/dash,{here},')"
    found = probe.probe(bwrap(f'{pretend}; exec "$1" "$2" "$3" "$4" "{code}" "$6" "$7"'))
    assert found.grade == "C"
    assert "port 8787" in found.why or "network interfaces are in sight" in found.why


def test_who_may_not_make_namespaces_has_bubblewrap_make_them(monkeypatch):
    inside.of_grade("B")
    real = probe.attempt

    def of_ours(walls: launch.Walls) -> probe.Tried:
        return probe.Tried("Permission denied") if walls.nesting == "own" else real(walls)

    monkeypatch.setattr(probe, "attempt", of_ours)
    assert probe.probe(probe.find_bwrap()).nesting == "bwrap"


def test_a_bubblewrap_that_only_works_outside_of_namespaces_is_found_out(bwrap):
    """As one that AppArmor lets make user namespaces, but not what it starts."""
    inside.of_grade("B")
    real, outside = probe.find_bwrap(), Path("/proc/self/uid_map").read_text().replace("\n", "")
    mapped = 'read -r map < /proc/self/uid_map; set -- "$map" "$@"'
    refused = "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1"
    found = probe.probe(
        bwrap(f'{mapped}; [ "$1" = "{outside.strip()}" ] || {{ {refused}; }}; shift; exec {real} "$@"')
    )
    assert found.grade in ("A", "B")
    assert found.nesting == ""
    said = "bwrap: setting up uid map: Permission denied"
    assert found.why.startswith(f"a folder inside one that several agents write is refused: {said}")
    assert found.fix.startswith(nesting.ALLOW)


def test_without_landlock_there_are_no_walls(monkeypatch):
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    found = probe.probe("/usr/bin/bwrap")
    assert found.grade == "0"
    assert "no Landlock" in found.why
    assert found.fix == probe.ENABLE


def test_an_older_landlock_is_weaker_and_still_stands(monkeypatch):
    landlocked()
    monkeypatch.setattr(landlock, "abi", lambda: 3)
    why = probe.attempt(launch.Walls("C", "", 3)).why  # version 3 has no rules for ports, and it is noticed
    assert re.fullmatch(r"self-test: port \d+ outside can be connected to", why)


def test_on_an_architecture_without_a_filter_nothing_is_promised(monkeypatch):
    monkeypatch.setattr(syscalls, "here", lambda: None)
    assert probe.probe(None).grade == "0"


def test_where_the_disk_is_full_it_says_so_and_finds_no_walls(monkeypatch, bwrap):
    """It is asked again after a start that a full disk has failed, so it must bear one itself."""
    landlocked()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/dash-probe-x")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    found = probe.probe(bwrap("exit 1"))
    assert found.grade == "0"
    assert "/tmp/dash-probe-x: No space left on device" in found.why
