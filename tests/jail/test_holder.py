"""The holder as the kernel sees it: exit codes, trees, leases, adoption, and being killed anywhere."""

import contextlib
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
        (["/etc/hostname", "x"], "/", "EACCES: Permission denied: exec '/etc/hostname'"),
        (["true", "x"], "/no/such/folder", "ENOENT: No such file or directory: chdir '/no/such/folder'"),
        (["true", "x"], "/etc/hostname", "ENOTDIR: Not a directory: chdir '/etc/hostname'"),
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
    script += "; print([os.readlink(f'/proc/self/fd/{n}')[:5] for n in os.listdir('/proc/self/fd')[:4]])"
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
    assert "['/dev/', 'pipe:', 'pipe:', '/proc']" in output
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
    assert len(whole(folder)) == 100_000
    assert (record.code, record.spool_dropped) == (0, 200_004)


@deadline
async def test_what_the_agent_leaves_behind_is_ended(world: World):
    folder = await world.launch("a", f"{ORPHAN} echo done", grace_s=0.1)
    record = await world.finish(folder)
    assert record.code == 0
    left = pids(whole(folder))
    assert left
    assert all(map(is_gone, left))


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
    assert whole(folder).endswith(b"bye\n")


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
async def test_a_lease_that_expires_writes_the_record_and_then_kills(world: World):
    folder = await world.launch("a", STUBBORN, lease_s=0.05)
    link = await world.adopt(folder)
    left = pids(await printed(link, folder, b"ready"))
    await link.aclose()
    await gone(world.holders["a"][0])
    settled = launch_folder.examine(folder)
    assert isinstance(settled, launch_folder.Ended)
    assert (settled.record.reason, settled.record.code) == ("lease", None)
    assert all(map(is_gone, left))


@deadline
async def test_a_holder_killed_between_the_lease_s_record_and_the_kill(world: World):
    folder = await world.launch("a", STUBBORN, lease_s=0, crash_at="holder.before_kill")
    link = await world.adopt(folder)
    await printed(link, folder, b"ready")
    await link.aclose()
    await gone(world.holders["a"][0])
    settled = launch_folder.examine(folder)
    assert isinstance(settled, launch_folder.Ended)
    assert processes.end_marked("a") > 0
    assert processes.end_marked("a") == 0


@deadline
async def test_adopting_again_cancels_the_lease(world: World):
    folder = await world.launch("a", "read line; echo $line", stdin=True, lease_s=0.2)
    for epoch in range(1, 4):
        link = await world.adopt(folder, epoch)
        assert link.adopted.state == "running"
        await link.aclose()
    link = await world.adopt(folder, 9)
    await trio.sleep(0.3)  # longer than the lease, which must not be running
    await link.send_input(1, b"still here\n")
    assert (await exited(link)).reason == "exit"
    assert whole(folder) == b"still here\n"


@deadline
async def test_a_daemon_that_returns_as_the_lease_expires_gets_one_of_two_answers(world: World):
    """Either it adopts and the agent lives on, or the lease was first and the record says so. Never both."""
    answers: set[str] = set()

    async def one(number: int) -> None:
        folder = await world.launch(f"a{number}", "sleep", "100", lease_s=0.1)
        link = await world.adopt(folder, 1)
        await link.aclose()
        await trio.sleep(0.07 + number * 0.003)
        try:
            link = await world.adopt(folder, 2)
        except holder_link.HolderGone:
            settled = await world.settle(folder, 2)
            assert isinstance(settled, launch_folder.Ended)
            assert settled.record.reason == "lease"
            answers.add("lease")
            return
        assert link.adopted.state == "running"
        await link.stop(1)
        assert (await exited(link)).reason == "stop"
        await link.aclose()
        answers.add("adopted")

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(one, number)
    assert answers <= {"lease", "adopted"}
    assert answers


@deadline
async def test_of_two_daemons_the_higher_epoch_has_the_holder(world: World):
    folder = await world.launch("a", "read line", stdin=True)
    older = await world.adopt(folder, 5)
    newer = await world.adopt(folder, 6)
    with pytest.raises(holder_link.EpochRefused) as displaced:
        await exited(older)
    assert displaced.value.epoch == 6
    with pytest.raises(holder_link.EpochRefused) as refused:
        await world.adopt(folder, 5)
    assert refused.value.epoch == 6
    same = await world.adopt(folder, 6)  # equal: the newer connection wins
    with pytest.raises(holder_link.EpochRefused):
        await exited(newer)
    await same.send_input(1, b"\n")
    assert (await exited(same)).code == 0
    for link in (older, newer, same):


@deadline
async def test_daemons_that_race_leave_exactly_one(world: World):
    folder = await world.launch("a", "read line", stdin=True)
    links: list[holder_link.HolderLink] = []
    refused: list[int] = []

    async def race(epoch: int) -> None:
        try:
            links.append(await world.adopt(folder, epoch))
        except holder_link.EpochRefused:
            refused.append(epoch)

    async with trio.open_nursery() as nursery:
        for epoch in range(12):
            nursery.start_soon(race, epoch)
    last = await world.adopt(folder, 11)
    for link in links:
        with pytest.raises(holder_link.EpochRefused):
            await exited(link)
    assert len(links) + len(refused) == 12
    await last.send_input(1, b"\n")
    assert (await exited(last)).code == 0
    for link in [*links, last]:


@deadline
async def test_strangers_do_not_hold_the_lease_and_are_bounded(world: World):
    folder = await world.launch("a", "sleep", "100", lease_s=0.1)
    link = await world.adopt(folder)
    strangers = [await connect(folder) for _ in range(20)]
    assert await strangers[0].recv(1) == b""  # the oldest made room
    for stranger, line in zip(
        strangers[-4:], [b"junk\n", b'{"stop": 0}\n', b"[]\n", b"[" * 9999], strict=True
    ):
        await stranger.send(line)
    for stranger in strangers[-4:-1]:
        with contextlib.suppress(ConnectionResetError):
            assert await stranger.recv(1) == b""
    await link.aclose()
    await gone(world.holders["a"][0])
    assert launch_folder.examine(folder).record.reason == "lease"
    for stranger in strangers:
        stranger.close()


async def connect(folder) -> trio.socket.SocketType:
    sock = await holder_link._connect(folder)
    return trio.socket.from_stdlib_socket(sock)


@pytest.mark.parametrize(
    "line",
    [
        b"junk\n",
        b'{"stop": NaN}\n',
        b'{"stop": 1e99}\n',
        b'{"input": 1, "data": "@"}\n',
        b"[" * 99999 + b"\n",
    ],
)
@deadline
async def test_nonsense_from_the_daemon_costs_the_connection_only(world: World, line: bytes):
    folder = await world.launch("a", "read line", stdin=True)
    sock = await connect(folder)
    await sock.send(b'{"adopt": 1}\n' + line)
    while await sock.recv(4096):
        pass
    sock.close()
    link = await world.adopt(folder, 1)
    await link.send_input(1, b"\n")
    assert (await exited(link)).code == 0


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
    """Never two runs, never a survivor: the tree is gone after `end_marked`, and the answer fits what happened."""
    script = (
        f"echo ran >> '{tmp_path}/journal'; (setsid sh -c 'trap \"\" TERM; sleep 100' &); read line; exit 3"
    )
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
