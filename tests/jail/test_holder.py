"""The holder as the kernel sees it: exit codes, trees, leases, adoption, and being killed anywhere."""

import os
import signal
import socket
import sys

import pytest
import trio

from dashd.jail import holder_link, launch_folder, processes
from tests.jail.world import PATH, World, deadline, exited, gone, is_gone, printed, whole

# Programs that leave processes behind in every way there is. Each prints the pids to look for.
ORPHAN = "(setsid sh -c 'echo $$; trap \"\" TERM HUP; sleep 100 & wait; sleep 100' &) ; sleep 0.05;"
STUBBORN = (
    "trap '' TERM; echo $$; (trap '' TERM; sleep 100) & echo $!; echo ready; while :; do sleep 100; done"
)
STORM = f"""{sys.executable} -I -S -c '
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for depth in range(30):
    os.write(1, b"%d\\n" % os.getpid())
    if os.fork():
        if depth and depth % 3 == 0: os._exit(0)
        break
    if depth % 2: os.setsid()
else:
    os.write(1, b"ready\\n")
time.sleep(100)
'"""

HOLDER_POINTS = [
    "holder.born",
    "holder.before_begin",
    "holder.after_begin",
    "holder.after_fork",
    "holder.after_exec",
    "holder.after_adopt",
    "holder.before_exit",
    "holder.exit_tmp",
    "holder.after_exit",
    "holder.before_notify",
]


def pids(output: bytes) -> list[int]:
    return [int(word) for word in output.split() if word.isdigit()]


@pytest.mark.parametrize(
    ("script", "code", "number"),
    [("exit 0", 0, None), ("exit 255", 255, None), ("kill -9 $$", None, 9), ("kill -TERM $$", None, 15)],
)
@deadline
async def test_the_exit_is_the_main_process_s(
    world: World, script: str, code: int | None, number: int | None
):
    record = await world.finish(await world.launch("a", script))
    assert (record.code, record.signal, record.reason) == (code, number, "exit")
    assert record.max_rss_kib > 0
    assert record.wall_ms >= 0


@pytest.mark.parametrize(
    ("argv", "cwd", "error"),
    [
        (["/no/such/program"], "/", "ENOENT: No such file or directory: exec '/no/such/program'"),
        (["no-such-program"], "/", "ENOENT: No such file or directory: exec 'no-such-program'"),
        (["/etc/passwd", "x"], "/", "EACCES: Permission denied: exec '/etc/passwd'"),
        (["true", "x"], "/no/such/folder", "ENOENT: No such file or directory: chdir '/no/such/folder'"),
        (["true", "x"], "/etc/passwd", "ENOTDIR: Not a directory: chdir '/etc/passwd'"),
    ],
)
@deadline
async def test_a_start_failure_is_no_exit_code(world: World, argv: list[str], cwd: str, error: str):
    folder = await world.launch("a", *argv, "x", cwd=cwd)
    record = await world.finish(folder)
    assert (record.reason, record.code, record.signal, record.error) == ("start", None, None, error)


@deadline
async def test_a_file_that_is_no_program_is_a_start_failure(world: World, tmp_path):
    (tmp_path / "junk").write_bytes(b"\0junk")
    (tmp_path / "junk").chmod(0o755)
    record = await world.finish(await world.launch("a", str(tmp_path / "junk"), "x"))
    assert record.reason == "start"
    assert record.error.startswith("ENOEXEC")


@deadline
async def test_the_agent_gets_its_environment_and_nothing_else(world: World):
    script = "import os,sys,signal; print(os.environ); print(os.getcwd(), os.getsid(0) == os.getpid())"
    script += "; print([os.readlink(f'/proc/self/fd/{n}')[:5] for n in '012'], os.listdir('/proc/self/fd'))"
    script += "; print([line for line in open('/proc/self/status') if line[:6] in ('SigIgn', 'SigBlk')])"
    env = {"A": "1", "Z": "ü"}
    folder = await world.launch("a", "env", env=env, cwd="/usr")
    await world.finish(folder)
    assert set(whole(folder).decode().splitlines()) >= {"A=1", "Z=ü", "DASH_LAUNCH=a"}
    folder = await world.launch("b", "/usr/bin/env", "-0", env=env)
    await world.finish(folder)
    assert sorted(whole(folder).split(b"\0")[:-1]) == [b"A=1", b"DASH_LAUNCH=b", "Z=ü".encode()]
    folder = await world.launch("c", sys.executable, "-I", "-S", "-c", script, cwd="/usr")
    await world.finish(folder)
    output = whole(folder).decode()
    assert "/usr True" in output
    assert "['/dev/', 'pipe:', 'pipe:'] ['0', '1', '2', '3']" in output  # 3 is the listing's own
    assert output.count("0000000000000000") == 1  # nothing blocked; Python itself ignores SIGPIPE and SIGXFSZ
    assert "0000000001001000" in output


@deadline
async def test_both_streams_are_kept_and_told_apart(world: World):
    folder = await world.launch("a", "echo out; echo err >&2; printf more")
    record = await world.finish(folder)
    assert (whole(folder, 1), whole(folder, 2)) == (b"out\nmore", b"err\n")
    assert record.spool_bytes == (folder / "spool").stat().st_size


@deadline
async def test_output_over_the_limit_is_dropped_and_counted(world: World):
    folder = await world.launch("a", "head -c 300000 /dev/zero; echo end >&2", output_bytes_max=100_000)
    record = await world.finish(folder)
    assert len(whole(folder)) == 100_000 + 65_536 + 4  # what came first, and the end of each stream
    assert whole(folder, 2) == b"end\n"
    assert (record.code, record.spool_dropped) == (0, 300_004 - 165_540)


@deadline
async def test_what_the_agent_leaves_behind_is_ended(world: World):
    folder = await world.launch("a", f"{ORPHAN} echo done", grace_s=0.1)
    record = await world.finish(folder)
    assert record.code == 0
    left = pids(whole(folder))
    assert left
    assert all(map(is_gone, left))


@pytest.mark.slow
@pytest.mark.parametrize("program", [ORPHAN + " echo ready; sleep 100", STUBBORN, STORM])
@deadline
async def test_stop_ends_every_tree(world: World, program: str):
    folder = await world.launch("a", program)
    link = await world.adopt(folder)
    left = pids(await printed(link, folder, b"ready"))
    await link.stop(0.1)
    record = await exited(link)
    assert record.reason == "stop"
    assert left
    assert all(map(is_gone, left))
    assert isinstance(launch_folder.examine(folder), launch_folder.Ended)
    assert processes.end_marked("a") == 0


@deadline
async def test_a_tree_that_obeys_is_not_killed_and_needs_no_grace(world: World):
    folder = await world.launch("a", "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done")
    link = await world.adopt(folder)
    await printed(link, folder, b"ready")
    await link.stop(1000)
    record = await exited(link)
    assert (record.code, record.reason) == (7, "stop")
    assert b"bye\n" in whole(folder)


@deadline
async def test_a_second_stop_can_only_shorten_the_grace(world: World):
    folder = await world.launch("a", STUBBORN)
    link = await world.adopt(folder)
    await printed(link, folder, b"ready")
    await link.stop(1000)
    await link.stop(2000)
    await link.stop(0)
    assert (await exited(link)).signal == signal.SIGKILL


@deadline
async def test_pause_stops_the_whole_tree_and_resume_lets_it_go_on(world: World):
    folder = await world.launch("a", "(setsid sleep 100 & echo $!); sleep 100 & echo $!; echo ready; wait")
    link = await world.adopt(folder)
    tree = [link.adopted.pid, *pids(await printed(link, folder, b"ready"))]
    await link.pause()
    assert await told(link, holder_link.Paused) == holder_link.Paused(True)
    assert {processes.stat_fields(pid)[0] for pid in tree} == {"T"}
    second = await world.adopt(folder)
    assert second.adopted.state == "paused"
    await second.resume()
    assert await told(second, holder_link.Paused) == holder_link.Paused(False)
    assert "T" not in {processes.stat_fields(pid)[0] for pid in tree}
    await second.pause()
    await second.stop(0.1)  # a paused tree can be stopped
    record = await exited(second)
    assert record.reason == "stop"
    assert all(map(is_gone, tree))


async def told(link: holder_link.HolderLink, kind: type) -> object:
    while not isinstance(message := await link.receive(), kind):
        pass
    return message


@deadline
async def test_a_request_of_a_later_version_is_answered_and_ignored(world: World):
    folder = await world.launch("a", "read line", stdin=True)
    link = await world.adopt(folder)
    for request in ({"dance": 1}, {"stop": float("nan")}, {"stop": 1e99}, {"stop": -1}, {"input": 1}):
        await link._send(request)
    await link.send_input(1, b"\n")
    assert (await exited(link)).code == 0


@deadline
async def test_a_terminated_holder_stops_its_agent_first(world: World):
    folder = await world.launch("a", "trap 'exit 4' TERM; echo ready; while :; do sleep 0.01; done")
    link = await world.adopt(folder)
    await printed(link, folder, b"ready")
    os.kill(world.holders["a"][0], signal.SIGTERM)
    record = await exited(link)
    assert (record.code, record.reason) == (4, "stop")


@deadline
async def test_the_listener_outlives_the_daemon_and_refuses_nobody(world: World):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(4)
    address = listener.getsockname()
    folder = await world.launch("a", "read line", stdin=True, listener=listener)
    link = await world.adopt(folder, 1)
    link.listener.close()
    await link.aclose()
    listener.close()  # dashd is gone, with every fd of its own
    with socket.create_connection(address, timeout=5) as client:
        client.sendall(b"asked during the outage")
        link = await world.adopt(folder, 2)
        with link.listener, link.listener.accept()[0] as served:
            assert served.recv(100) == b"asked during the outage"
    await link.send_input(1, b"\n")
    await exited(link)


@pytest.mark.parametrize("point", HOLDER_POINTS)
@deadline
async def test_wherever_a_holder_dies_the_folder_says_what_is_known(world: World, point: str, tmp_path):
    """Never two runs, never a survivor: `end_marked` ends the tree, and the answer fits what happened."""
    stubborn = "(setsid sh -c 'trap \"\" TERM; sleep 100' &)"
    script = f"echo ran >> '{tmp_path}/journal'; {stubborn}; read line; exit 3"
    folder = await world.launch("a", script, stdin=True, grace_s=0.1, crash_at=point)
    holder = world.holders["a"][0]
    try:
        link = await world.adopt(folder)
        await link.send_input(1, b"\n")
        await exited(link)
        await link.aclose()
    except holder_link.HolderGone:
        pass
    await gone(holder)
    settled = launch_folder.examine(folder)
    agent = settled.agent if isinstance(settled, launch_folder.Lost) else None
    processes.end_marked("a", agent)
    assert processes.end_marked("a", agent) == 0
    ran = (tmp_path / "journal").read_text().count("ran") if (tmp_path / "journal").exists() else 0
    match point:
        case "holder.born" | "holder.before_begin":
            assert (settled, ran) == (launch_folder.NeverStarted(), 0)
        case "holder.after_exit" | "holder.before_notify":
            assert settled.record.code == 3
            assert ran == 1
        case _:
            assert isinstance(settled, launch_folder.Lost)
            assert ran <= 1
    assert launch_folder.examine(folder) == settled  # for ever


@deadline
async def test_the_agent_dies_with_a_killed_holder(world: World):
    folder = await world.launch("a", "echo ready; exec sleep 100")
    link = await world.adopt(folder)
    await printed(link, folder, b"ready")
    os.kill(world.holders["a"][0], signal.SIGKILL)
    with pytest.raises(holder_link.HolderGone):
        await exited(link)
    await gone(link.adopted.pid)
    assert launch_folder.examine(folder) == launch_folder.Lost((link.adopted.pid, link.adopted.start_time))


@deadline
async def test_a_process_outside_the_tree_that_holds_the_output_does_not_hold_the_holder(
    world: World, tmp_path
):
    """The agent's stdout is passed over a socket to us, who never close it: no EOF, and yet an end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mailbox:
        mailbox.bind(str(tmp_path / "mail"))
        script = "import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)"
        script += f"; s.connect({str(tmp_path)!r} + '/mail')"
        script += "; print('sent', flush=True); socket.send_fds(s, [b'x'], [1])"
        folder = await world.launch("a", sys.executable, "-I", "-S", "-c", script, env=PATH)
        _, fds, _, _ = await trio.to_thread.run_sync(socket.recv_fds, mailbox, 1, 1)
        record = await world.finish(folder)
        assert (record.code, whole(folder)) == (0, b"sent\n")
        for fd in fds:
            os.close(fd)


@deadline
async def test_why_it_was_ended_is_in_the_record_though_nobody_is_left_to_write_it(world: World):
    """The daemon goes in the instant after it had the agent ended."""
    for number in range(10):
        link = await world.adopt(await world.launch(f"a{number}", "sleep 100", lease_s=0))
        await link.breach("memory 64 MiB exceeded")
        processes.send_signal(link.adopted.pid, link.adopted.start_time, signal.SIGKILL)
        await link.aclose()
        settled = await world.settle(world.folder(f"a{number}"), epoch=2)
        assert isinstance(settled, launch_folder.Ended)
        assert (settled.record.signal, settled.record.breach) == (9, "memory 64 MiB exceeded")
