"""Where cgroups can be made: found, settled in, proved, swept; on a tree of ours and the kernel's."""

import os
import subprocess
from pathlib import Path

import pytest

from dashd.jail import cgroup, cgroup_tree, launch, probe, view
from dashd.jail.cgroup_tree import NoCgroups
from dashd.jail.view import Bounds
from tests.jail.kernel import fake_kernel, real_base

__all__ = ["fake_kernel", "real_base"]


@pytest.fixture(params=["fake", "real"])
def proc(request) -> str:
    """A /proc/self in a delegated cgroup."""
    if request.param == "real":
        request.getfixturevalue("real_base")
        return "/proc/self"
    return str(request.getfixturevalue("fake_kernel").proc)


def tree(base: str | Path) -> set[str]:
    return {each.name for each in Path(base).iterdir() if each.is_dir()}


# -- on both -------------------------------------------------------------------------------------------------


def test_it_is_proved_by_doing_it_and_nothing_of_the_trial_is_left(proc):
    base = cgroup_tree.prove(proc)
    assert not {name for name in tree(base) if name.startswith("trial-")}
    assert cgroup_tree.find(proc) == base
    assert cgroup_tree.prove(proc) == base, "again, from where we are now"
    assert str(os.getpid()) in cgroup.read(f"{base}/{cgroup_tree.LEAF}/cgroup.procs").split()


def test_a_launch_s_cgroup_has_limits_and_an_earlier_daemon_s_are_swept(proc, tmp_path):
    base = cgroup_tree.prove(proc)
    launches = tmp_path / "launches"
    places = [cgroup_tree.of_launch(base, launches / name, Bounds(processes=160)) for name in ("a", "b")]
    for place in places:
        cgroup.Cgroup(**place).make()
    around = cgroup_tree.agents(base, launches)
    assert cgroup.read(f"{around}/a/pids.max") == "172\n"
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        cgroup.write(f"{around}/a/cgroup.procs", str(process.pid))
        assert cgroup_tree.sweep(launches, lambda name: name == "a", proc) == ["b"]
        assert process.poll() is None
        assert tree(around) == {"a"}
        assert cgroup_tree.sweep(launches, lambda _: False, proc) == ["a"]
        assert process.wait() == -9
    assert tree(around) == set()
    cgroup.remove_folder(around)


# -- found or not --------------------------------------------------------------------------------------------


def test_a_service_must_have_been_started_below_what_is_delegated(fake_kernel, monkeypatch):
    service = fake_kernel.base.with_name("dash.service")
    service.mkdir()
    fake_kernel.fill(service, ["memory", "pids", "cpu"])
    monkeypatch.setattr(cgroup_tree, "delegated", lambda path: path == str(service))
    fake_kernel.put(service, os.getpid())
    with pytest.raises(NoCgroups, match="not started in a cgroup below it"):
        cgroup_tree.prove(str(fake_kernel.proc))
    cgroup_tree.settle(str(fake_kernel.proc))
    assert tree(service) == set(), "and it is not divided by us"
    fake_kernel.make_folder(f"{service}/{cgroup_tree.LEAF}")
    fake_kernel.put(service / cgroup_tree.LEAF, os.getpid())
    assert cgroup_tree.prove(str(fake_kernel.proc)) == str(service)


def test_what_is_not_delegated_is_left_alone(fake_kernel, monkeypatch):
    monkeypatch.setattr(cgroup_tree, "delegated", lambda _: False)
    with pytest.raises(NoCgroups, match="no cgroup is delegated to this user"):
        cgroup_tree.prove(str(fake_kernel.proc))
    assert tree(fake_kernel.base) == set()
    assert cgroup_tree.sweep(Path("/l"), lambda _: False, str(fake_kernel.proc)) == []


def test_others_in_the_same_cgroup_keep_it_from_being_divided(fake_kernel):
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        fake_kernel.put(fake_kernel.base, process.pid)
        with pytest.raises(NoCgroups, match=r"cgroup\.subtree_control: Device or resource busy"):
            cgroup_tree.prove(str(fake_kernel.proc))


def test_every_controller_must_be_there(tmp_path, fake_kernel):
    (fake_kernel.base / "cgroup.controllers").write_text("memory pids")
    with pytest.raises(NoCgroups, match="without the controllers cpu"):
        cgroup_tree.prove(str(fake_kernel.proc))


@pytest.mark.parametrize("name", ["memory.max", "pids.max", "cpu.max", "cgroup.subtree_control"])
def test_each_thing_that_cannot_be_written_is_found_by_the_trial(fake_kernel, name):
    fake_kernel.refused.add(name)
    with pytest.raises(NoCgroups, match=f"{name}: Permission denied"):
        cgroup_tree.prove(str(fake_kernel.proc))
    assert tree(fake_kernel.base) == {"dashd"}


def test_a_kernel_that_moves_nobody_or_ends_nobody_or_forgets_a_limit_is_found_out(fake_kernel, monkeypatch):
    write = fake_kernel.write
    monkeypatch.setattr(cgroup_tree, "PROVE_S_MAX", 0.01)
    wrong = {
        "one/cgroup.procs": "did not stay",
        "one/cgroup.kill": "ended nothing",
        "one/pids.max": "'max', not",
    }
    for end, words in wrong.items():
        monkeypatch.setattr(
            cgroup, "write", lambda path, text, end=end: path.endswith(end) or write(path, text)
        )
        monkeypatch.setattr(cgroup, "REMOVE_S_MAX", 0.0)
        with pytest.raises(NoCgroups, match=words):
            cgroup_tree.prove(str(fake_kernel.proc))


@pytest.mark.parametrize(
    ("cgroups", "mounts", "own"),
    [
        ("0::/a/b\n", "1 2 0:3 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup/a/b"),
        ("5:pids:/\n0::/\n", "1 2 0:3 / /cg rw shared:4 - cgroup2 none rw\n", "/cg"),
        ("0::/docker/x/y\n", "1 2 0:3 /docker/x /cg rw - cgroup2 cgroup rw\n", "/cg/y"),
        ("0::/other\n", "1 2 0:3 /docker/x /cg rw - cgroup2 cgroup rw\n", "outside of what is mounted"),
        ("0::/../other\n", "1 2 0:3 / /cg rw - cgroup2 cgroup rw\n", "outside of what is mounted"),
        ("4:memory:/x\n", "1 2 0:3 / /cg rw - cgroup cgroup rw,memory\n", "v2 is not mounted"),
        ("0::/x\n", "1 2 0:3 / /cg rw - cgroup cgroup rw,memory\n", "v2 is not mounted"),
    ],
)
def test_the_folder_of_our_own_cgroup(tmp_path, cgroups, mounts, own):
    (tmp_path / "cgroup").write_text(cgroups)
    (tmp_path / "mountinfo").write_text(mounts)
    if own.startswith("/"):
        assert cgroup_tree._own(str(tmp_path)) == own
        return
    with pytest.raises(NoCgroups, match=own):
        cgroup_tree._own(str(tmp_path))


def test_a_machine_without_any_says_so(tmp_path):
    with pytest.raises(NoCgroups, match="no cgroups: No such file"):
        cgroup_tree.find(str(tmp_path))


def test_under_systemd_only_its_mark_delegates(tmp_path, monkeypatch):
    real = os.path.isdir
    booted = True
    monkeypatch.setattr(
        os.path, "isdir", lambda path: booted if path == "/run/systemd/system" else real(path)
    )
    marks = {"user.delegate": b"1"}
    monkeypatch.setattr(os, "getxattr", lambda _, name: marks[name])
    assert not cgroup_tree.delegated(str(tmp_path)), "there is nothing to write to"
    for name in ("cgroup.procs", "cgroup.subtree_control"):
        (tmp_path / name).write_text("")
    assert cgroup_tree.delegated(str(tmp_path))
    marks["user.delegate"] = b"0"
    assert not cgroup_tree.delegated(str(tmp_path))
    booted = False
    assert cgroup_tree.delegated(str(tmp_path))


# -- what is made of it --------------------------------------------------------------------------------------


def test_two_daemons_in_one_cgroup_sweep_only_their_own(fake_kernel, tmp_path):
    base = cgroup_tree.prove(str(fake_kernel.proc))
    mine, other = tmp_path / "mine", tmp_path / "other"
    cgroup.Cgroup(**cgroup_tree.of_launch(base, other / "a", Bounds())).make()
    assert cgroup_tree.sweep(mine, lambda _: False, str(fake_kernel.proc)) == []
    assert tree(cgroup_tree.agents(base, other)) == {"a"}


def test_cgroups_of_tools_go_when_their_dashd_is_gone(fake_kernel, tmp_path):
    base = cgroup_tree.prove(str(fake_kernel.proc))
    for mark in (f"tool-{os.getpid()}-1", "tool-4194305-1", "tool-4194305-2"):
        cgroup.Cgroup(**cgroup_tree.of_tool(base, mark, Bounds())).make()
    assert cgroup_tree.sweep(tmp_path, lambda _: True, str(fake_kernel.proc)) == []
    assert tree(f"{base}/tools") == {f"tool-{os.getpid()}-1"}


def test_limits_are_those_of_the_bounds():
    found = cgroup_tree.limits(Bounds(memory_bytes=(64 << 20) + 1, processes=32))
    assert found["memory.max"] == str(64 << 20), "as the kernel will round it"
    assert found["pids.max"] == "36", "above the watchdog's"
    assert (found["memory.swap.max"], found["memory.oom.group"]) == ("0", "1")
    assert found["cpu.max"] == f"{cgroup_tree.processors() * 100_000} 100000"


@pytest.mark.parametrize(("here", "used"), [(1, 1), (2, 2), (3, 2), (16, 15)])
def test_of_more_than_two_processors_one_is_left_to_others(here, used, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(here)))
    assert cgroup_tree.processors() == used


def test_only_in_grade_a_is_anything_held_by_a_cgroup():
    by_cgroup = {
        grade: {what for what, (_, by) in launch.enforcers(grade, Bounds()).items() if "cgroup" in by}
        for grade in ("A", "B", "C", "0")
    }
    assert by_cgroup == {"A": {"memory", "processes", "cpu"}, "B": set(), "C": set(), "0": set()}
    assert "s of each process, " in launch.enforcers("A", Bounds(cpu_s=7))["cpu"][0]
    assert launch.enforcers("A", Bounds(cpu_s=7))["cpu"][1] == "rlimit, cgroup"


def test_the_probe_gives_grade_a_only_where_it_was_proved(monkeypatch):
    monkeypatch.setattr(probe, "attempt", lambda _: probe.Tried(""))
    monkeypatch.setattr(cgroup_tree, "prove", lambda: "/cg/base")
    found = probe.probe("/usr/bin/bwrap")
    assert (found.grade, found.cgroups, found.why) == ("A", "/cg/base", "")

    def refuse() -> str:
        raise NoCgroups("/cg is not")

    monkeypatch.setattr(cgroup_tree, "prove", refuse)
    found = probe.probe("/usr/bin/bwrap")
    assert (found.grade, found.cgroups) == ("B", "")
    assert (found.why, found.fix) == ("no limits by cgroup: /cg is not", cgroup_tree.DELEGATE)


def test_no_agent_sees_a_cgroup_of_its_own():
    """A delegated tree can be written by its user, so it is in no view."""
    places = [*view.SYSTEM, *view.SETTINGS]
    assert not [path for path in places if path == "/sys" or path.startswith("/sys/")]
