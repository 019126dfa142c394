"""One launch's cgroup: its limits, the words for what ended it, its end; and what holders do with it."""

import os
import subprocess
from pathlib import Path

import pytest
import trio

from dashd.jail import cgroup, launch_folder, launcher, processes
from dashd.jail.cgroup import Cgroup
from tests.jail import inside
from tests.jail.kernel import FILES, FakeKernel, fake_kernel, real_base, real_hierarchy
from tests.jail.test_agent_start import spec
from tests.jail.world import World, deadline, exited, gone, is_gone, printed

__all__ = ["fake_kernel", "real_base", "real_hierarchy"]

LIMITS = {"memory.max": "67108864", "memory.swap.max": "0", "pids.max": "64"}
OVER = "memory 64 MiB exceeded (ended by the kernel, in its cgroup); --memory-mb raises it"


@pytest.fixture
def agents(fake_kernel: FakeKernel) -> Path:
    """The cgroup for those of launches, in one that we are not in ourselves."""
    fake_kernel.make_folder(f"{fake_kernel.base}/dashd")
    fake_kernel.put(fake_kernel.base / "dashd", os.getpid())
    cgroup.make_parent(str(fake_kernel.base))
    return fake_kernel.base / "agents"


def test_it_has_its_limits_before_anybody_is_in_it(agents: Path):
    Cgroup(f"{agents}/a", LIMITS).make()
    assert {name: (agents / "a" / name).read_text().strip() for name in LIMITS} == LIMITS
    assert (agents / "a" / "cgroup.procs").read_text() == ""
    assert (agents / "cgroup.subtree_control").read_text() == "memory pids cpu"


def test_an_earlier_one_of_that_name_gets_these_limits(agents: Path):
    Cgroup(f"{agents}/a", {"pids.max": "1"}).make()
    Cgroup(f"{agents}/a", {"pids.max": "2"}).make()
    assert (agents / "a" / "pids.max").read_text() == "2\n"


def test_a_limit_that_is_refused_leaves_nothing(agents: Path, fake_kernel: FakeKernel):
    fake_kernel.refused.add("pids.max")
    with pytest.raises(PermissionError, match=r"pids\.max"):
        Cgroup(f"{agents}/a", LIMITS).make()
    assert not (agents / "a").exists()


def test_controllers_that_were_switched_off_are_no_weaker_limit(agents: Path, fake_kernel: FakeKernel):
    """Without a file for a limit there is none; the parent is set right once, and then it is an error."""
    Cgroup(f"{agents}/a", LIMITS).make()
    (agents / "cgroup.subtree_control").write_text("")
    Cgroup(f"{agents}/b", LIMITS).make()
    assert (agents / "b" / "pids.max").read_text() == "64\n"
    (agents / "cgroup.subtree_control").write_text("")
    fake_kernel.refused.add("cgroup.subtree_control")
    with pytest.raises(OSError, match="subtree_control"):
        Cgroup(f"{agents}/c", LIMITS).make()
    assert not (agents / "c").exists()


def test_where_swap_is_not_counted_there_is_none_to_limit(agents: Path, monkeypatch):
    monkeypatch.delitem(FILES["memory"], "memory.swap.max")
    Cgroup(f"{agents}/a", LIMITS).make()
    assert not (agents / "a" / "memory.swap.max").exists()
    assert (agents / "a" / "pids.max").read_text() == "64\n"


def test_its_end_takes_all_that_is_in_it(agents: Path):
    place = Cgroup(f"{agents}/a", LIMITS)
    place.make()
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        cgroup.write(f"{place.path}/cgroup.procs", str(process.pid))
        place.remove()
        assert process.wait() == -9
    assert not (agents / "a").exists()
    place.kill()
    place.remove()  # and once more does nothing


def test_what_cannot_be_removed_does_not_keep_its_holder(agents: Path, fake_kernel: FakeKernel, monkeypatch):
    monkeypatch.setattr(cgroup, "REMOVE_S_MAX", 0.0)
    place = Cgroup(f"{agents}/a", LIMITS)
    place.make()
    fake_kernel.refused.add("cgroup.kill")
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        cgroup.write(f"{place.path}/cgroup.procs", str(process.pid))
        place.remove()
        assert process.poll() is None
        process.kill()
    assert (agents / "a").exists()


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ("low 0\nmax 9\noom 1\noom_kill 3\noom_group_kill 1\n", OVER),
        ("low 0\nmax 9\noom 0\noom_kill 0\n", None),  # it came near, and memory was found
        ("oom 0\noom_kill 2\n", None),  # the machine's memory ran out, or what is around dashd
        ("oom 1\noom_kill 0\n", None),  # an allocation failed, and nothing was ended
        ("what is this\n", None),
        ("", None),
    ],
)
def test_only_its_own_limit_is_its_fault(agents: Path, events: str, words: str | None):
    place = Cgroup(f"{agents}/a", LIMITS)
    place.make()
    (agents / "a" / "memory.events").write_text(events)
    assert place.over() == words
    assert Cgroup(f"{agents}/gone", LIMITS).over() is None
    assert Cgroup(f"{agents}/a", {}).over() is None


# -- what holders do with it: files that act as no kernel, so that what was written can be seen --------------


def placed(folder: Path, launch_id: str, script: str, **options) -> launcher.LaunchSpec:
    """A jailed launch with a cgroup at `folder`."""
    found = spec(launch_id, folder.parent, script, **options)
    assert found.jail is not None
    found.jail["cgroup"] = {"path": str(folder), "limits": LIMITS}
    return found


def files(folder: Path, events: str = "") -> Path:
    folder.mkdir()
    for name in ("cgroup.procs", "cgroup.kill", *LIMITS):
        (folder / name).write_text("")
    (folder / "memory.events").write_text(events)
    return folder


@deadline
async def test_the_agent_enters_by_itself_and_the_record_says_what_ended_it(world: World, tmp_path):
    place = files(tmp_path / "cg", "oom 1\noom_kill 1\n")
    link = world.keep(await world.launcher.launch_adopted(placed(place, "a", "kill -9 $$"), 1))
    record = await exited(link)
    assert (record.breach, record.signal) == (OVER, 9)
    assert {name: (place / name).read_text() for name in LIMITS} == LIMITS
    assert (place / "cgroup.procs").read_text() == "0"
    assert launch_folder.examine(world.folder("a")) == launch_folder.Ended(record)


@deadline
async def test_a_bound_that_the_watchdog_told_first_is_kept(world: World, tmp_path):
    place = files(tmp_path / "cg", "oom 1\noom_kill 1\n")
    link = world.keep(await world.launcher.launch_adopted(placed(place, "a", "echo up; sleep 60"), 1))
    await printed(link, world.folder("a"), b"up")
    await link.breach("processes 4 exceeded")
    assert (await exited(link)).breach == "processes 4 exceeded"


@deadline
async def test_an_agent_that_is_killed_is_killed_with_its_cgroup(world: World, tmp_path):
    place = files(tmp_path / "cg")
    script = "trap '' TERM; echo up; while :; do sleep 1; done"
    link = world.keep(await world.launcher.launch_adopted(placed(place, "a", script), 1))
    await printed(link, world.folder("a"), b"up")
    await link.stop(0.01)
    record = await exited(link)
    assert (record.reason, record.breach) == ("stop", None)
    assert (place / "cgroup.kill").read_text() == "1"


@deadline
async def test_nothing_starts_outside_of_a_cgroup_that_cannot_be_entered(world: World, tmp_path):
    place = files(tmp_path / "cg")
    (place / "cgroup.procs").unlink()
    link = world.keep(await world.launcher.launch_adopted(placed(place, "a", "echo ran > ran"), 1))
    record = await exited(link)
    assert record.reason == "start"
    assert record.error == f"ENOENT: No such file or directory: enter '{place}'"
    assert not (tmp_path / "ran").exists()


@deadline
async def test_a_cgroup_that_cannot_be_made_is_a_launch_that_was_refused(world: World, tmp_path):
    with pytest.raises(launcher.LaunchFailed, match="No such file"):
        await world.launcher.launch_adopted(placed(tmp_path / "no" / "cg", "a", "echo"), 1)


@deadline
async def test_its_holder_removes_it_last(world: World, tmp_path):
    """The agent takes away the files that a kernel would."""
    place = files(tmp_path / "cg")
    link = world.keep(
        await world.launcher.launch_adopted(placed(place, "a", "read x; rm cg/*", stdin=True), 1)
    )
    holder = int(processes.stat_fields(link.adopted.pid)[1])
    await link.send_input(1, b"go\n")
    assert (await exited(link)).code == 0
    await gone(holder)
    assert not place.exists()


@deadline
async def test_a_holder_that_could_not_be_forked_leaves_none(world: World, tmp_path):
    place = tmp_path / "cg"
    started = placed(place, "a", "echo")
    assert started.jail is not None
    started.jail["cgroup"]["limits"] = {}
    (world.folder("a") / "exit.tmp").mkdir(parents=True)
    with pytest.raises(launcher.LaunchFailed, match="Is a directory"):
        await world.launcher.launch_adopted(started, 1)
    assert not place.exists()


# -- on a machine that has them ------------------------------------------------------------------------------


@deadline
async def test_all_of_a_jail_is_in_it_and_ends_with_it(world: World, tmp_path, real_hierarchy):
    around = f"{real_hierarchy}/test-{os.getpid()}"
    cgroup.make_folder(around)
    try:
        started = spec("a", tmp_path, "echo up; setsid sleep 60 & sleep 60")
        assert started.jail is not None
        started.jail["cgroup"] = {"path": f"{around}/a", "limits": {}}
        link = world.keep(await world.launcher.launch_adopted(started, 1))
        holder = int(processes.stat_fields(link.adopted.pid)[1])
        await printed(link, world.folder("a"), b"up")
        pids = [int(pid) for pid in cgroup.read(f"{around}/a/cgroup.procs").split()]
        assert len(pids) >= 4  # bubblewrap, its first process, the shell, two that sleep
        assert link.adopted.pid in pids
        Cgroup(f"{around}/a", {}).kill()
        assert (await exited(link)).signal == 9
        assert all(is_gone(pid) for pid in pids)
        await gone(holder)
        assert not await trio.Path(f"{around}/a").exists()
    finally:
        Cgroup(around, {}).remove()


@deadline
async def test_memory_over_its_bound_ends_all_of_it_and_is_the_reason(world: World, tmp_path, real_base):
    around = f"{real_base}/test-{os.getpid()}"
    bomb = inside.python_inside("import mmap; m = mmap.mmap(-1, 256 << 20); m.write(b'x' * (256 << 20))")
    started = spec("a", tmp_path, *bomb)
    assert started.jail is not None
    started.jail["cgroup"] = {"path": f"{around}/a", "limits": {**LIMITS, "memory.oom.group": "1"}}
    try:
        record = await exited(world.keep(await world.launcher.launch_adopted(started, 1)))
        assert (record.breach, record.signal) == (OVER, 9)
    finally:
        Cgroup(around, {}).remove()
