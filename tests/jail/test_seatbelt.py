"""Profiles for a Mac, as text: what is in them and nothing else is. No Mac has run one yet."""

import re
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.jail import launch, probe, seatbelt
from dashd.jail.view import Folder, View

SEEN = View("/w", write=(Folder("/w", "src"), Folder("/out")), read=(Folder("/w"), Folder("/w/src/.git")))
GOLDEN = """\
(version 1)
(deny default)
(allow process-fork process-exec)
(allow signal process-info* (target same-sandbox))
(allow sysctl-read)
(allow mach-lookup
  (global-name "com.apple.system.opendirectoryd.libinfo"))
(allow file-read*
  (subpath "/usr")
  (subpath "/bin")
  (subpath "/sbin")
  (subpath "/System")
  (subpath "/Library/Apple")
  (subpath "/private/var/db/dyld")
  (subpath "/private/etc/passwd")
  (subpath "/private/etc/group")
  (subpath "/private/etc/hosts")
  (subpath "/private/etc/localtime")
  (subpath "/private/etc/ssl")
  (subpath "/private/var/db/timezone"))
(allow file-read* file-write-data file-ioctl
  (literal "/dev/null")
  (literal "/dev/zero")
  (literal "/dev/random")
  (literal "/dev/urandom")
  (literal "/dev/tty")
  (literal "/dev/dtracehelper"))
(allow file-read-metadata
  (literal (param "A0"))
  (literal (param "A1"))
  (literal (param "A2"))
  (literal (param "A3")))
(allow file-read* file-write*
  (subpath (param "W0")))
(allow file-read* file-write*
  (subpath (param "W1")))
(allow file-read*
  (subpath (param "R2")))
(deny file-write*
  (subpath (param "R2")))
(allow file-read* file-write*
  (subpath (param "W3")))
(allow file-read*
  (subpath (param "R4")))
(deny file-write*
  (subpath (param "R4")))
(allow network-outbound
  (remote ip "localhost:4711"))
"""
VALUES = {
    "A0": "/",
    "A1": "/l",
    "A2": "/w",
    "A3": "/w/src",
    "W0": "/l/tmp",
    "W1": "/out",
    "R2": "/w",
    "W3": "/w/src",
    "R4": "/w/src/.git",
}


def same(path: str) -> str:
    return path


def test_a_profile_is_this_text():
    made = seatbelt.profile(SEEN, tmp="/l/tmp", port=4711, real=same)
    assert made.text == GOLDEN
    assert dict(made.values) == VALUES


def test_it_is_used_like_this():
    made = seatbelt.profile(View("/w"), tmp="/t", real=same)
    defined = ["-D", "A0=/", "-D", "W0=/t"]
    assert made.command(["node", "-p"]) == [seatbelt.PROGRAM, "-p", made.text, *defined, "--", "node", "-p"]


def test_without_a_listener_there_is_no_network_and_with_one_only_that():
    assert "network" not in seatbelt.profile(SEEN, tmp="/t", real=same).text
    made = seatbelt.profile(SEEN, tmp="/t", socket="/l/door", real=same)
    assert made.text.count("network") == 1
    assert made.text.endswith('(allow network-outbound\n  (literal (param "LISTENER")))\n')
    assert dict(made.values)["LISTENER"] == "/l/door"


def test_paths_are_those_that_the_kernel_sees():
    made = seatbelt.profile(
        View("/tmp/w", (Folder("/tmp/w"),)), tmp="/tmp/t", real=lambda path: f"/private{path}"
    )
    assert {"/private/tmp/w", "/private/tmp/t"} <= {value for _, value in made.values}
    assert "/tmp/w" not in [value for _, value in made.values]


def test_what_is_to_be_shown_elsewhere_is_not_shown():
    made = seatbelt.profile(View("/w", (Folder("/secret", mounted="/w/.git"),)), tmp="/t", real=same)
    assert sorted(value for _, value in made.values) == ["/", "/t"]


HOSTILE = [
    '/w/") (allow default) ("',
    "/w/\\",
    '/w/"',
    "/w/\n(allow default)",
    "/w/(param",
    "/w/é\udcff",
    "/w/=;--",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_becomes_a_rule(name):
    made = seatbelt.profile(View("/w", (Folder(name),)), tmp="/t", port=1, real=same)
    harmless = seatbelt.profile(View("/w", (Folder("/w/x"),)), tmp="/t", port=1, real=same)
    assert sorted(made.text) == sorted(harmless.text)
    assert name in [value for _, value in made.values]
    assert made.text in made.command(["x"])


_names = st.lists(st.text('ab./"\\()\n ', min_size=1, max_size=8).map(lambda name: f"/{name}"), max_size=5)


@given(read=_names, write=_names)
def test_nothing_outside_the_view_is_allowed(read, write):
    """Every rule is a fixed one or names a folder of the view; what may only be read is denied to writing."""
    view = View("/", tuple(map(Folder, write)), tuple(map(Folder, read)))
    made = seatbelt.profile(view, tmp="/t", real=same)
    values = dict(made.values)
    fixed = set(re.findall(r'\((?:subpath|literal) "([^"]*)"\)', made.text))
    assert fixed == {*seatbelt.SYSTEM, *seatbelt.SETTINGS, *seatbelt.DEVICES}
    wanted = {folder.at for folder in (*view.read, *view.write)} | {"/t"}
    folders = set(re.findall(r'\(subpath \(param "(\w+)"\)', made.text))
    assert {values[name] for name in folders} == wanted
    written = set(re.findall(r'file-write\*\n  \(subpath \(param "(W\d+)"\)', made.text))
    assert {values[name] for name in written} == {folder.at for folder in view.write} | {"/t"}
    read_only = {name for name in folders if name.startswith("R")}
    assert set(re.findall(r'\(deny file-write\*\n  \(subpath \(param "(\w+)"\)', made.text)) == read_only
    assert (
        set(re.findall(r"\(allow [^\n]*file-write\*[^\n]*\n  \(subpath \(param \"(R\d+)", made.text)) == set()
    )
    assert made.text.count("(allow default") == 0


def test_folders_around_others_come_first_so_that_the_inner_one_wins():
    made = seatbelt.profile(SEEN, tmp="/t", real=same)
    order = [
        dict(made.values)[name]
        for name in re.findall(r'allow file-read\*[^\n]*\n  \(subpath \(param "(\w+)"', made.text)
    ]
    assert order == sorted(order)


# -- the probe -----------------------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path):
    """A program of our own in sandbox-exec's place."""

    def put(script: str) -> str:
        path = tmp_path / "sandbox-exec"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return put


TO_ARGV = 'while [ "$1" != -- ]; do shift; done; shift'


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (f'{TO_ARGV}; exec "$@"', "a file outside can be read"),
        ("exit 71", "nothing could be read in it"),
        (f'{TO_ARGV}; case "$2" in */inside/*) exec "$@";; esac; exit 1', ""),
    ],
)
def test_it_is_tried_with_a_file_inside_and_one_outside(program, script, why):
    assert seatbelt.attempt(program(script)) == why


def test_a_mac_without_it_says_so(tmp_path):
    assert "No such file" in seatbelt.attempt(str(tmp_path / "none"))


@pytest.mark.parametrize(("why", "grade"), [("", "M"), ("a file outside can be read", "0")])
def test_it_is_a_mac_s_grade_and_nobody_else_s(monkeypatch, why, grade):
    monkeypatch.setattr(seatbelt, "attempt", lambda: why)
    assert probe.probe(None).grade != "M"
    monkeypatch.setattr(sys, "platform", "darwin")
    found = probe.probe("/usr/bin/bwrap")
    assert found.grade == grade
    assert "untested" in found.why or found.why == f"Seatbelt: {why}"
    assert launch.WORSE_THAN["C"] < launch.WORSE_THAN[found.grade]


@pytest.mark.skipif(sys.platform != "darwin", reason="untested here: this is no Mac")
def test_on_a_mac_it_stands():
    assert seatbelt.attempt() == ""
    assert Path(seatbelt.PROGRAM).exists()
