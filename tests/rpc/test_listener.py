"""Who serves, who may come in, what is left behind, and a whole door under pressure."""

import errno
import os
import resource
import socket
import stat
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from dashd.rpc import connection, listener
from dashd.wire import errors
from tests.fakes import frames

from .conftest import Peer, call


@pytest.fixture
def path(tmp_path):
    # A folder of its own, because pytest's is not always 0700.
    return tmp_path / "run" / "dashd.sock"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# Taking over


def test_folder_socket_and_lock_are_ours_alone(path):
    before = os.umask(0)
    try:
        with listener.open_listener(path) as sock:
            assert (mode(path.parent), mode(path)) == (0o700, 0o600)
            assert stat.S_ISSOCK(path.lstat().st_mode)
            assert not sock.getblocking()
            assert (path.parent / "lock").read_text() == f"{os.getpid()}\n"
            assert mode(path.parent / "lock") == 0o600
            assert os.umask(0) == 0, "the umask is as it was"
        assert [each.name for each in path.parent.iterdir()] == ["lock"]
        assert (path.parent / "lock").read_text() == ""
    finally:
        os.umask(before)


def test_the_kernel_frees_the_lock_of_a_killed_daemon_and_its_socket_is_replaced(path):
    program = "\n".join(
        [
            "import sys, time, pathlib; from dashd.rpc import listener",
            "with listener.open_listener(pathlib.Path(sys.argv[1])): print(flush=True); time.sleep(60)",
        ]
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout as out:
        assert out.readline() == b"\n"
        with (
            pytest.raises(errors.Conflict, match=rf"Another dashd \(pid {child.pid}\)"),
            listener.open_listener(path),
        ):
            pass
        assert path.exists(), "the living daemon's socket was left alone"
        child.kill()
        child.wait()
    assert path.exists(), "a killed daemon leaves its socket"
    with socket.socket(socket.AF_UNIX) as client:
        with pytest.raises(ConnectionRefusedError):
            client.connect(str(path))
        with listener.open_listener(path):
            client.connect(str(path))


def test_twice_in_one_process(path):
    with listener.open_listener(path):
        with pytest.raises(errors.Conflict) as caught, listener.open_listener(path):
            pass
        assert "dashctl down" in caught.value.hint
    with listener.open_listener(path):
        pass


def test_a_link_in_place_of_the_folder_is_refused(path, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    path.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.Forbidden) as caught, listener.open_listener(path):
        pass
    assert "DASH_SOCKET" in caught.value.hint
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_in_place_of_the_folder_is_refused(path):
    path.parent.write_text("")
    with pytest.raises(errors.Forbidden), listener.open_listener(path):
        pass


@pytest.mark.parametrize("bits", [0o755, 0o710, 0o701, 0o777])
def test_a_folder_that_others_may_enter_is_refused(path, bits):
    path.parent.mkdir()
    path.parent.chmod(bits)
    with pytest.raises(errors.Forbidden, match=f"{bits:04o}") as caught, listener.open_listener(path):
        pass
    assert f"chmod 700 {path.parent}" in caught.value.hint
    assert list(path.parent.iterdir()) == []


def test_a_folder_of_somebody_else_is_refused(path, monkeypatch):
    path.parent.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(errors.Forbidden, match="belongs to uid"), listener.open_listener(path):
        pass


def test_a_folder_that_cannot_be_made_says_why(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(errors.DashError) as caught,
        listener.open_listener(tmp_path / "file" / "run" / "d.sock"),
    ):
        pass
    assert str(tmp_path / "file" / "run") in caught.value.message
    assert "DASH_SOCKET" in caught.value.hint


def test_a_path_that_is_too_long_says_what_to_set(tmp_path):
    with (
        pytest.raises(errors.InvalidParams, match="107") as caught,
        listener.open_listener(tmp_path / ("x" * 200)),
    ):
        pass
    assert "export DASH_SOCKET=/" in caught.value.hint


def test_what_is_not_a_socket_is_not_removed(path):
    path.parent.mkdir(mode=0o700)
    path.write_text("precious")
    with pytest.raises(errors.Conflict, match="not a socket"), listener.open_listener(path):
        pass
    assert path.read_text() == "precious"


def test_a_socket_that_is_not_ours_any_more_is_left(path):
    with listener.open_listener(path), socket.socket(socket.AF_UNIX) as other:
        path.rename(path.with_name("kept"))
        other.bind(str(path))
    assert path.exists()


def test_a_lock_that_is_a_link_is_not_followed(path, tmp_path):
    path.parent.mkdir(mode=0o700)
    (tmp_path / "victim").write_text("precious")
    (path.parent / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(errors.DashError), listener.open_listener(path):
        pass
    assert (tmp_path / "victim").read_text() == "precious"


# Serving


@asynccontextmanager
async def door(path, table, *, sock=None, **given):
    """A served listener, and a function that connects a Peer. Leaving cancels accepting, then the rest."""
    with listener.open_listener(path) as own, trio.fail_after(20):
        async with trio.open_nursery() as connections, trio.open_nursery() as accepting:

            async def serve(task_status):
                await listener.serve(
                    sock(own) if sock else own,
                    table,
                    connections=connections,
                    task_status=task_status,
                    **given,
                )

            await accepting.start(serve)

            def connect():
                client = socket.socket(socket.AF_UNIX)
                client.connect(str(path))
                return Peer(client)

            yield connect, accepting, connections
            accepting.cancel_scope.cancel()
            connections.cancel_scope.deadline = trio.current_time() + 5


async def test_peers_are_served_side_by_side(path, table):
    async with door(path, table) as (connect, _accepting, _connections):
        peers = [connect() for _ in range(100)]
        for number, peer in enumerate(peers):
            await peer.send(call("subtract", {"minuend": number}, id=number))
        for number, peer in enumerate(peers):
            assert (await peer.answer())["result"] == {"value": number}
            peer.close()


async def test_stopping_answers_what_is_in_flight_and_no_more(path, table, log):
    async with door(path, table) as (connect, accepting, connections):
        idle, busy = connect(), connect()
        assert (await idle.ask(call("subtract", {"minuend": 1})))["id"] == 1
        await busy.send(call("wait", id=1))
        await trio.testing.wait_all_tasks_blocked()
        accepting.cancel_scope.cancel()
        connections.cancel_scope.deadline = trio.current_time() + 10
        with trio.CancelScope(shield=True), trio.fail_after(5):
            assert await idle.ended()
            log.release.set()
            assert (await busy.answer())["id"] == 1
            assert await busy.ended()
        assert not connections.child_tasks
        idle.close()
        busy.close()


async def test_one_connection_too_many_is_told_so(path, table):
    async with door(path, table, connections_max=2) as (connect, _accepting, _connections):
        peers = [connect(), connect()]
        for peer in peers:
            assert (await peer.ask(call("subtract", {"minuend": 1})))["id"] == 1
        late = connect()
        answer = await late.answer()
        assert answer["error"]["data"]["kind"] == "RateLimited"
        assert await late.ended()
        late.close()
        peers.pop().close()
        await trio.testing.wait_all_tasks_blocked()
        peers.append(connect())
        assert (await peers[1].ask(call("subtract", {"minuend": 1})))["id"] == 1
        for peer in peers:
            peer.close()


@pytest.mark.parametrize(("uid", "let_in"), [(os.geteuid(), True), (0, True), (54_321, False)])
async def test_only_our_own_uid_and_root_come_in(path, table, monkeypatch, uid, let_in):
    monkeypatch.setattr(listener, "peer_uid", lambda _sock: uid)
    async with door(path, table) as (connect, _accepting, _connections):
        peer = connect()
        if let_in:
            assert (await peer.ask(call("subtract", {"minuend": 1})))["id"] == 1
        else:
            assert (await peer.answer())["error"]["data"]["kind"] == "Forbidden"
            assert await peer.ended()
        peer.close()


def test_the_kernel_says_who_is_there():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert listener.peer_uid(ours) == os.getuid()


class Starved:
    """A listening socket whose process has no descriptors left, for a while."""

    def __init__(self, sock, failures):
        self.sock = sock
        self.failures = failures
        self.tries = 0

    def fileno(self):
        return self.sock.fileno()

    def accept(self):
        self.tries += 1
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self.sock.accept()


async def test_without_descriptors_it_waits_and_says_so_once(path, table, caplog, autojump_clock):
    made = []

    def starved(sock):
        made.append(Starved(sock, 30))
        return made[0]

    async with door(path, table, sock=starved) as (connect, _accepting, _connections):
        begun = trio.current_time()
        peer = connect()
        assert (await peer.ask(call("subtract", {"minuend": 1})))["id"] == 1
        # 30 failures, each followed by a pause: neither spinning nor dead.
        assert trio.current_time() - begun == pytest.approx(30 * listener.SCARCITY_PAUSE_S)
        assert len([each for each in caplog.records if "cannot accept" in each.message]) == 1
        peer.close()


# Pressure


@pytest.mark.slow
async def test_200_slow_writers_disturb_nobody(path, table):
    frame = b'{"jsonrpc":"2.0","id":1,"method":"subtract","params":{"minuend":1}}\n'
    async with door(path, table) as (connect, _accepting, _connections):
        slow = [connect() for _ in range(200)]
        quick = connect()

        async def took(count):
            begun = time.process_time()
            for _ in range(count):
                assert (await quick.ask(frame))["id"] == 1
            return time.process_time() - begun

        alone = min([await took(50) for _ in range(5)])
        among = []
        for place in range(len(frame)):
            for peer in slow:
                await peer.send(frame[place : place + 1])
            await trio.testing.wait_all_tasks_blocked()
            among.append(await took(50) if place % 15 == 0 else alone)
        # Their own bytes were dealt with before each measurement: what is left is the price of having them.
        assert min(among) < 5 * alone
        for peer in slow:
            assert (await peer.answer())["result"] == {"value": 1}
            peer.close()
        quick.close()


def resident_kib():
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


@pytest.mark.slow
async def test_malformed_frames_leave_it_answering_and_no_larger(path, table):
    async with door(path, table) as (connect, _accepting, _connections):

        async def torment(seed, count):
            peer = connect()
            ask = call("subtract", {"minuend": seed}, id=f"end {seed}")
            async with trio.open_nursery() as nursery:
                stream = b"".join(frame + b"\n" for frame in frames.malformed(seed, count))
                nursery.start_soon(peer.send, stream, ask)
                while (line := await peer.line()) is not None and f"end {seed}".encode() not in line:
                    pass
            assert line is not None, "the connection was dropped"
            peer.close()

        for seed in range(2):
            await torment(seed, 500)
        before = resident_kib()
        for seed in range(2, 10):
            await torment(seed, 500)
        assert resident_kib() - before < 8 * 1024


@pytest.mark.slow
async def test_connections_leave_nothing_behind(path, table):
    def descriptors():
        return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0

    async with door(path, table) as (connect, _accepting, connections):
        before = descriptors()
        for number in range(300):
            peer = connect()
            if number % 3 == 0:
                await peer.ask(call("subtract", {"minuend": 1}))
            elif number % 3 == 1:
                await peer.send(call("wait", id=1), b'{"half')
            peer.close()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not connections.child_tasks
        assert descriptors() == before


def test_limits_are_what_the_manual_says():
    assert connection.DEFAULTS.frame_bytes_max == 4 * 1024 * 1024
    assert listener.CONNECTIONS_MAX == 512


async def test_a_peer_that_has_left_before_it_was_asked_who_it_is(path, table, monkeypatch):
    def gone(_sock):
        raise OSError(errno.ENOTCONN, "Socket is not connected")

    async with door(path, table) as (connect, _accepting, _connections):
        with monkeypatch.context() as patched:
            patched.setattr(listener, "peer_uid", gone)
            peer = connect()
            assert await peer.ended()
            peer.close()
        peer = connect()
        assert (await peer.ask(call("subtract", {"minuend": 1})))["id"] == 1
        peer.close()
