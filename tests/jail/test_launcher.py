"""The launcher: many at once, refusals, a fork server that dies, and the one that came before."""

import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from dashd.jail import forkserver, holder_link, launch_folder, launcher, processes
from tests.jail.world import PATH, World, deadline, exited, gone, is_gone, printed, whole
from tests.tidy import TOP

SYSTEM_PYTHON = Path("/usr/bin/python3")
REQUEST_POINTS = [
    "forkserver.before_folder",
    "forkserver.after_folder",
    "forkserver.after_bind",
    "forkserver.after_fork",
    "forkserver.after_answer",
]


@deadline
async def test_a_program_runs_and_its_end_is_seen(world: World):
    record = await world.finish(await world.launch("a", "/bin/true"))
    assert (record.code, record.signal, record.reason, record.error) == (0, None, "exit", None)


@deadline
async def test_a_launch_with_an_epoch_is_adopted_from_birth(world: World):
    spec = launcher.LaunchSpec("a", ["sh", "-c", "exit 5"], PATH, "/", lease_s=0)
    link = await world.launcher.launch_adopted(spec, 7)
    assert (await exited(link)).code == 5
    assert isinstance(launch_folder.examine(world.folder("a")), launch_folder.Ended)
    await link.aclose()


@deadline
async def test_an_adoption_at_birth_counts_like_any_other(world: World):
    spec = launcher.LaunchSpec("a", ["sh", "-c", "read line"], PATH, "/", stdin=True)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        first = await world.launcher.launch_adopted(spec, 7, listener)
    assert (first.adopted.state, first.listener) == ("running", None)
    with pytest.raises(holder_link.EpochRefused):
        await world.adopt(world.folder("a"), 6)
    second = await world.adopt(world.folder("a"), 7)
    assert second.listener is not None
    with pytest.raises(holder_link.EpochRefused):
        await exited(first)
    await first.aclose()
    await second.send_input(1, b"\n")
    assert (await exited(second)).code == 0


@deadline
async def test_an_agent_adopted_from_birth_dies_with_its_daemon_where_the_lease_is_nothing(world: World):
    spec = launcher.LaunchSpec("a", ["sleep", "100"], PATH, "/", lease_s=0)
    link = await world.launcher.launch_adopted(spec, 1)
    await link.aclose()
    await gone(link.adopted.pid)
    settled = await world.settle(world.folder("a"))
    assert settled.record.reason == "lease"


@deadline
async def test_an_agent_inherits_neither_the_link_nor_the_listener(world: World):
    """Else its orphans would keep both open, and a killed holder would not be noticed."""
    spec = launcher.LaunchSpec("a", ["ls", "/proc/self/fd"], PATH, "/")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        link = world.keep(await world.launcher.launch_adopted(spec, 1, listener))
    await exited(link)
    assert whole(world.folder("a")) == b"0\n1\n2\n3\n"  # 3 is the listing's own


@deadline
async def test_a_failed_start_is_told_at_once(world: World):
    link = await world.launcher.launch_adopted(launcher.LaunchSpec("a", ["/no/such"], {}, "/"), 1)
    assert (await exited(link)).error == "ENOENT: No such file or directory: exec '/no/such'"
    await link.aclose()


@pytest.mark.parametrize("point", ["holder.born", "holder.after_begin", "holder.after_adopt"])
@deadline
async def test_a_holder_that_dies_in_an_adopting_launch_is_gone(world: World, point: str):
    spec = launcher.LaunchSpec("a", ["true"], PATH, "/", crash_at=point)
    with pytest.raises(holder_link.HolderGone):
        await exited(world.keep(await world.launcher.launch_adopted(spec, 1)))
    never = isinstance(await world.settle(world.folder("a")), launch_folder.NeverStarted)
    assert never == (point == "holder.born")


@pytest.mark.skipif(not SYSTEM_PYTHON.exists(), reason="there is no system Python here")
@deadline
async def test_the_system_python_runs_fork_server_and_holder(ended_world: World):
    async with launcher.open_launcher(ended_world.launches, python=str(SYSTEM_PYTHON)) as opened:
        ended_world.launcher = opened
        record = await ended_world.finish(await ended_world.launch("a", "exit 3"))
        assert record.code == 3
        ended_world.close_links()


@pytest.mark.slow
@deadline
async def test_callers_are_pipelined_and_each_gets_its_own(world: World):
    async def one(number: int) -> None:
        folder = await world.launch(f"n{number}", f"echo {number}; exit {number}")
        record = await world.finish(folder)
        assert (record.code, whole(folder)) == (number, b"%d\n" % number)

    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(one, number)
    assert len(set(world.holders.values())) == 30


@deadline
async def test_a_request_larger_than_a_packet_arrives_whole(world: World):
    argv = ["/bin/echo", *["x" * 100_000] * 5, "Zoë \udcff"]
    folder = await world.launch("big", *argv)
    await world.finish(folder)
    assert whole(folder) == b" ".join(map(os.fsencode, argv[1:])) + b"\n"


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("launch", {"launch_id": "../outside"}),
        ("launch", {"launch_id": ""}),
        ("launch", {"launch_id": "a" * 101}),
        ("argv", {"argv": []}),
        ("argv", {"argv": ["nul\0"]}),
        ("argv", {"argv": [""]}),
        ("env", {"env": {"A=B": ""}}),
        ("env", {"env": {"A": "\0"}}),
        ("cwd", {"cwd": ""}),
        ("lease_s", {"lease_s": -1}),
        ("grace_s", {"grace_s": float("nan")}),
        ("output_bytes_max", {"output_bytes_max": -1}),
    ],
)
@deadline
async def test_a_bad_launch_is_refused_by_name_and_harms_nobody(world: World, field: str, spec: dict):
    pid = world.launcher.fork_server_pid
    fields = {"launch_id": "bad", "argv": ["true"], "env": {}, "cwd": "/"} | spec
    with pytest.raises(launcher.LaunchFailed, match=field):
        await world.launcher.launch(launcher.LaunchSpec(**fields))
    await world.finish(await world.launch("good", "/bin/true"))
    assert world.launcher.fork_server_pid == pid
    assert [entry.name for entry in world.launches.iterdir() if entry.is_dir()] == ["good"]


@deadline
async def test_a_launch_id_serves_once(world: World):
    folder = await world.launch("once", "echo ran")
    await world.finish(folder)
    with pytest.raises(launcher.LaunchFailed, match="in use"):
        await world.launch("once", "echo ran")
    assert whole(folder) == b"ran\n"


@deadline
async def test_a_killed_fork_server_harms_no_holder_and_is_replaced(world: World):
    folder = await world.launch("lives", "echo up; read line", stdin=True)
    link = await world.adopt(folder)
    first = world.launcher.fork_server_pid
    os.kill(first, signal.SIGKILL)
    await gone(first)
    await world.finish(await world.launch("next", "/bin/true"))
    assert world.launcher.fork_server_pid != first
    await link.send_input(1, b"line\n")
    assert (await exited(link)).code == 0


@deadline
async def test_launches_in_flight_are_in_doubt_when_the_fork_server_dies(world: World):
    pid = world.launcher.fork_server_pid
    os.kill(pid, signal.SIGSTOP)
    doubtful: list[str] = []

    async def one(launch_id: str) -> None:
        with contextlib.suppress(launcher.ForkServerGone):
            await world.launch(launch_id, "/bin/true")
            return
        doubtful.append(launch_id)

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(one, f"d{number}")
        await trio.testing.wait_all_tasks_blocked(0.05)
        os.kill(pid, signal.SIGKILL)
    assert sorted(doubtful) == ["d0", "d1", "d2"]
    assert [launch_folder.examine(world.folder(each)) for each in doubtful] == [
        launch_folder.NeverStarted()
    ] * 3


@deadline
async def test_a_caller_that_replaces_a_dead_fork_server_does_not_break_those_who_wait_for_it(world: World):
    pid = world.launcher.fork_server_pid
    os.kill(pid, signal.SIGSTOP)
    doubtful: list[str] = []

    async def one(launch_id: str) -> None:
        with pytest.raises(launcher.ForkServerGone):
            await world.launch(launch_id, "/bin/true")
        doubtful.append(launch_id)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, "waits")
        await trio.testing.wait_all_tasks_blocked(0.05)
        os.kill(pid, signal.SIGKILL)
        # Blocking on purpose: the one who waits gets no turn before the next caller finds it dead.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222
        await world.launch("next", "/bin/true")
    assert doubtful == ["waits"]
    await world.finish(world.folder("next"))


@pytest.mark.parametrize("point", REQUEST_POINTS)
@deadline
async def test_wherever_the_fork_server_dies_exec_happens_at_most_once(world: World, point: str):
    journal = world.launches.parent / "journal"
    script = f"echo ran >> '{journal}'"
    answered = False
    with contextlib.suppress(launcher.ForkServerGone):
        await world.launch("a", script, crash_at=point)
        answered = True
    assert answered == (point == "forkserver.after_answer")
    settled = await world.settle(world.folder("a"))
    ran = journal.read_text().count("ran") if journal.exists() else 0
    assert ran == (1 if isinstance(settled, launch_folder.Ended) else 0)
    if point in REQUEST_POINTS[:3]:
        assert settled == launch_folder.NeverStarted()
    await world.finish(await world.launch("b", "/bin/true"))


@pytest.mark.parametrize("point", ["forkserver.before_lock", "forkserver.after_lock"])
@deadline
async def test_a_fork_server_that_dies_at_boot_is_an_error_and_leaves_no_lock(tmp_path, point: str):
    with pytest.raises(launcher.ForkServerGone):
        async with launcher.open_launcher(tmp_path, crash_at=point):
            pass
    async with launcher.open_launcher(tmp_path) as opened:
        assert not is_gone(opened.fork_server_pid)


@deadline
async def test_leaving_ends_the_fork_server_and_holders_live_on(ended_world: World):
    async with launcher.open_launcher(ended_world.launches) as opened:
        ended_world.launcher = opened
        folder = await ended_world.launch("lives", "echo up; exec sleep 100")
        pid = opened.fork_server_pid
    assert is_gone(pid)
    link = await ended_world.adopt(folder)
    await printed(link, folder, b"up")
    await link.stop(5)
    assert (await exited(link)).reason == "stop"
    ended_world.close_links()


@pytest.mark.slow
@deadline
async def test_a_second_launcher_over_the_same_folder_is_refused(world: World):
    with pytest.raises(launcher.LaunchFailed, match="another fork server"):
        async with launcher.open_launcher(world.launches):
            pass


@deadline
async def test_the_previous_fork_server_is_ended_even_when_stopped(world: World):
    pid = world.launcher.fork_server_pid
    os.kill(pid, signal.SIGSTOP)
    await trio.to_thread.run_sync(launcher.end_previous_fork_server, world.launches)
    assert is_gone(pid)
    await world.finish(await world.launch("after", "/bin/true"))


def test_no_previous_fork_server_is_fine(tmp_path):
    launcher.end_previous_fork_server(tmp_path)
    (tmp_path / "forkserver.lock").write_text(json.dumps({"pid": os.getpid(), "start_time": 1}))
    launcher.end_previous_fork_server(tmp_path)


def test_a_lock_whose_note_names_somebody_else_kills_nobody(tmp_path, monkeypatch):
    """A stale note: our own pid with another start time. Bounded, and we live to see it."""
    monkeypatch.setattr(launcher, "_END_S_MAX", 0.05)
    with open(tmp_path / "forkserver.lock", "w", encoding="utf-8") as lock:
        json.dump({"pid": os.getpid(), "start_time": 1}, lock)
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError):
            launcher.end_previous_fork_server(tmp_path)


@deadline
async def test_a_cancelled_caller_leaves_the_others_their_answers(world: World):
    os.kill(world.launcher.fork_server_pid, signal.SIGSTOP)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.launch, "kept", "/bin/true")
        with trio.move_on_after(0.05):
            await world.launch("given-up", "/bin/true")
        os.kill(world.launcher.fork_server_pid, signal.SIGCONT)
    await world.finish(world.folder("kept"))
    assert isinstance(await world.settle(world.folder("given-up")), launch_folder.Ended)


@pytest.mark.slow
@deadline
async def test_nobody_wakes_while_nothing_happens(world: World):
    folder = await world.launch("idle", "echo up; exec sleep 100")
    link = await world.adopt(folder)
    await printed(link, folder, b"up")
    pids = [world.launcher.fork_server_pid, world.holders["idle"][0]]

    def wake_ups() -> list[str]:
        lines = [line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
        return [line for line in lines if line.startswith("voluntary")]

    await trio.sleep(0.1)
    before = wake_ups()
    await trio.sleep(1)  # the length of the measurement
    assert wake_ups() == before


@deadline
async def test_a_holder_keeps_nothing_of_the_fork_server(world: World):
    with trio.socket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        folder = await world.launch("a", "sleep", "100", listener=listener)
    link = await world.adopt(folder)
    link.listener.close()
    pid = world.holders["a"][0]
    targets = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    assert not [target for target in targets if target.endswith("forkserver.lock")]
    assert os.getsid(pid) == pid
    assert [target for target in targets if target.startswith(str(world.launches))] != []
    assert str(world.launches) not in targets
    assert processes.start_time(pid) == world.holders["a"][1]


def test_the_lock_names_its_owner(tmp_path):
    async def look() -> None:
        with trio.fail_after(10):
            async with launcher.open_launcher(tmp_path) as opened:
                note = json.loads((tmp_path / "forkserver.lock").read_text())
                pid = opened.fork_server_pid
                assert note == {"pid": pid, "start_time": processes.start_time(pid)}

    trio.run(look)


@deadline
async def test_adopting_a_launch_that_never_was_is_holder_gone(world: World):
    with pytest.raises(holder_link.HolderGone):
        await holder_link.adopt(world.folder("nobody"), 1)


def test_both_ends_agree_on_the_size_of_a_packet():
    """The launcher repeats it: the fork server's module would stay in dashd's memory."""
    assert launcher._PACKET_BYTES_MAX == forkserver.PACKET_BYTES_MAX
    loaded = "import sys, dashd.app; print(*[name for name in sys.modules if name.startswith('dashd.jail.')])"
    argv = [sys.executable, "-c", loaded]
    found = subprocess.run(argv, cwd=TOP, check=True, capture_output=True, text=True).stdout.split()
    assert "dashd.jail.launcher" in found
    assert not {"dashd.jail.forkserver", "dashd.jail.holder"} & set(found)


def _scarce(*_, **__):
    raise OSError(errno.EMFILE, "Too many open files")


@deadline
async def test_without_a_descriptor_left_nothing_was_started_and_the_next_one_is(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    spec = launcher.LaunchSpec("a", ["sh", "-c", "exit 5"], PATH, "/", lease_s=0)
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socketpair", _scarce)
        with pytest.raises(launcher.LaunchFailed, match="Too many open files"):
            await world.launcher.launch_adopted(spec, 1)
    world.launcher.close()
    for scarce in ((socket, "socketpair"), (subprocess, "Popen")):
        with monkeypatch.context() as patched:
            patched.setattr(*scarce, _scarce)
            with pytest.raises(launcher.LaunchFailed, match="Too many open files"):
                await world.launcher.launch(spec)
    link = await world.launcher.launch_adopted(spec, 1)
    assert (await exited(link)).code == 5
    await link.aclose()


@deadline
async def test_one_that_another_caller_closes_as_it_begins_to_serve_is_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    """Whose own launch took too long: it replaces the fork server, whichever that is by then."""
    start = launcher._ForkServer.start

    async def closed(server) -> None:
        await start(server)
        world.launcher.close()

    world.launcher.close()
    monkeypatch.setattr(launcher._ForkServer, "start", closed)
    with pytest.raises(launcher.ForkServerGone):
        await world.launcher.launch(launcher.LaunchSpec("a", ["true"], PATH, "/"))
