"""The blocking client against the wire's own types, and against peers that misbehave."""

import inspect
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dashd import client_blocking
from dashd.wire import envelope, errors, framing, paths
from dashd.wire.methods import daemon
from tests.fakes import daemon as fake
from tests.fakes.daemon_thread import DaemonThread

SOON_S = 5.0


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "s")


@contextmanager
def scripted(path: str, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """A peer that does `serve(connection)` with the first connection, then goes away."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        listening.settimeout(SOON_S)

        def run() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(SOON_S)
                serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        yield
        thread.join(SOON_S)
        assert not thread.is_alive()


def lines(*frames: bytes | dict) -> Callable[[socket.socket], None]:
    """Reads a request, then sends the frames and ends the connection."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        for frame in frames:
            connection.sendall((frame if isinstance(frame, bytes) else json.dumps(frame).encode()) + b"\n")

    return serve


def ping(path: str, serve: Callable[[socket.socket], None]) -> dict:
    """What a client makes of the peer's answer to its first call."""
    with scripted(path, serve), client_blocking.Client(path) as client:
        return client.call("daemon.ping", deadline_s=SOON_S)


def test_it_speaks_the_wire(path: str):
    with DaemonThread(path) as dashd, client_blocking.Client(path) as client:
        assert client.call("daemon.ping") == {"version": "0", "pid": 1}
        assert client.call("swarm.get", {"swarm": fake.ID})["id"] == fake.ID
        assert dashd.asked("swarm.get") == [{"swarm": fake.ID}]


def test_every_error_of_the_wire_arrives_whole(path: str):
    with DaemonThread(path) as dashd, client_blocking.Client(path) as client:
        for kind in errors.BY_KIND.values():
            error = kind("what", hint="how", path="a.b", data={"x": 1})
            dashd.on("daemon.ping", error)
            with pytest.raises(client_blocking.Refused) as raised:
                client.call("daemon.ping")
            again = errors.from_wire({**error.to_wire(), "message": raised.value.message})
            assert type(again) is kind
            assert raised.value.as_dict() == {
                "code": error.code,
                "kind": kind.__name__,
                "category": error.category,
                "message": "what",
                "hint": "how",
                "retryable": error.retryable,
                "path": "a.b",
                "details": {"x": 1},
            }


def test_its_own_errors_are_those_of_the_wire():
    for failure, kind in (
        (client_blocking.Unreachable("absent", "x"), errors.DaemonUnreachable),
        (client_blocking.Unreachable("denied", "x"), errors.Forbidden),
        (client_blocking.DeadlinePassed("x"), errors.DeadlinePassed),
        (client_blocking.CallFailed("x"), errors.DashError),
    ):
        told = {name: value for name, value in failure.as_dict().items() if name not in ("message", "hint")}
        assert told == {
            "code": kind.code,
            "kind": kind.__name__,
            "category": kind.category,
            "retryable": kind.retryable,
        }


def test_frames_are_as_large_as_the_wire_allows():
    assert framing.FRAME_BYTES_MAX == client_blocking.FRAME_BYTES_MAX


def test_what_it_sends_is_a_request(path: str):
    seen = []

    def serve(connection: socket.socket) -> None:
        seen.append(connection.recv(65_536))
        connection.sendall(b'{"jsonrpc":"2.0","id":1,"result":{}}\n')

    with scripted(path, serve), client_blocking.Client(path) as client:
        assert client.call("swarm.get", {"swarm": "日本\n"}) == {}
    request = envelope.decode(seen[0].rstrip(b"\n"))
    assert isinstance(request, envelope.Request)
    assert (request.method, json.loads(bytes(request.params))) == ("swarm.get", {"swarm": "日本\n"})


def test_no_socket_and_a_stale_socket_are_told_apart(path: str):
    with pytest.raises(client_blocking.Unreachable, match="there is no socket") as absent:
        client_blocking.Client(path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    with pytest.raises(client_blocking.Unreachable, match="stale") as stale:
        client_blocking.Client(path)
    assert (absent.value.state, stale.value.state) == ("absent", "stale")
    assert absent.value.hint == stale.value.hint == "dashctl up"


def test_other_ways_not_to_get_through(tmp_path: Path):
    with pytest.raises(client_blocking.Unreachable) as too_long:
        client_blocking.Client(str(tmp_path / ("x" * 200)))
    assert paths.too_long(str(tmp_path / ("x" * 200))) == (too_long.value.message, too_long.value.hint)
    assert client_blocking.PATH_BYTES_MAX == paths.SOCKET_PATH_BYTES_MAX
    (tmp_path / "file").touch()
    with pytest.raises(client_blocking.Unreachable) as inside_a_file:
        client_blocking.Client(str(tmp_path / "file" / "s"))
    assert inside_a_file.value.state == "absent"


def test_a_full_backlog_is_waited_for_and_then_said(path: str):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(0)
        first = client_blocking.Client(path)
        with pytest.raises(client_blocking.Unreachable, match="too many") as busy:
            client_blocking.Client(path, connect_s=0.05)
        first.close()
    assert busy.value.state == "busy"


def test_a_deadline_ends_the_call_and_the_connection(path: str):
    with DaemonThread(path), client_blocking.Client(path) as client:
        with pytest.raises(client_blocking.DeadlinePassed):
            client.call("event.wait", {"since": 0}, deadline_s=0.05)
        with pytest.raises(client_blocking.Unreachable):
            client.call("daemon.ping")


def test_a_daemon_that_dies_under_the_call_is_lost(path: str):
    with pytest.raises(client_blocking.Unreachable) as lost:
        ping(path, lines())
    assert lost.value.state == "lost"


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"HTTP/1.1 400 Bad Request", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"[" * 100_000, "not JSON"),
        ({"id": 1}, "neither"),
    ],
)
def test_another_protocol_is_recognised(path: str, frame: bytes | dict, why: str):
    with pytest.raises(client_blocking.ProtocolBroken, match=why):
        ping(path, lines(frame))


def test_an_answer_without_an_end_is_not_read_for_ever(path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_blocking, "FRAME_BYTES_MAX", 100_000)

    def serve(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(b"x" * 65_536)
        except OSError:
            return

    with pytest.raises(client_blocking.ProtocolBroken, match="larger"):
        ping(path, serve)


def test_a_request_larger_than_a_frame_is_not_sent(path: str):
    with DaemonThread(path) as dashd, client_blocking.Client(path) as client:
        with pytest.raises(client_blocking.ProtocolBroken, match="at most"):
            client.call("swarm.create", {"task": "x" * client_blocking.FRAME_BYTES_MAX})
        assert client.call("daemon.ping")
        assert not dashd.asked("swarm.create")


def test_answers_of_others_are_skipped_and_pushes_kept(path: str):
    pushed = {"jsonrpc": "2.0", "method": "$/events", "params": {"subscription": 1, "events": []}}
    late = {"jsonrpc": "2.0", "id": 99, "result": {"no": 1}}
    serve = lines(pushed, late, {"jsonrpc": "2.0", "id": 1, "result": {"yes": 1}}, pushed)
    with scripted(path, serve), client_blocking.Client(path) as client:
        assert client.call("daemon.ping", deadline_s=SOON_S) == {"yes": 1}
        assert client.notification(deadline_s=SOON_S) == pushed
        assert client.notification(deadline_s=SOON_S) == pushed
        client.wait_closed(deadline_s=SOON_S)


def test_pushes_that_nobody_reads_are_bounded(path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_blocking, "NOTIFICATIONS_MAX", 2)
    pushed = {"jsonrpc": "2.0", "method": "$/events", "params": {}}
    with pytest.raises(client_blocking.ProtocolBroken, match="more was pushed"):
        ping(path, lines(pushed, pushed, pushed))


def test_waiting_for_the_end_has_a_deadline(path: str):
    with DaemonThread(path) as dashd, client_blocking.Client(path) as client:
        client.call("daemon.ping")
        with pytest.raises(client_blocking.DeadlinePassed):
            client.wait_closed(deadline_s=0.02)
        with client_blocking.Client(path) as other:
            other.call("daemon.ping")
            dashd.die()
            other.wait_closed(deadline_s=SOON_S)


@pytest.mark.parametrize("cut", [1, 7, 30])
def test_a_frame_may_come_in_pieces(path: str, cut: int):
    frame = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"a": "日本"}}).encode() + b"\n"

    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        for at in range(0, len(frame), cut):
            connection.sendall(frame[at : at + cut])

    assert ping(path, serve) == {"a": "日本"}


def test_it_needs_the_standard_library_alone():
    """And of that, little: this is what `dashctl status` pays for at every start."""
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, dashd.client_blocking; print('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"typing", "dataclasses", "asyncio", "trio", "msgspec", "socket", "selectors"} & set(loaded)
    assert "dashd.wire" not in loaded


def test_the_method_table_is_not_known_to_it():
    source = inspect.getsource(client_blocking)
    assert not [name for name in ("swarm.create", daemon.METHODS[1].name) if name in source]
