"""The holder's end of a connection: never blocks, never grows, cuts lines anywhere."""

import json
import socket

import pytest

from dashd.jail.daemon_link import LINE_BYTES_MAX, DaemonLink


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    theirs.settimeout(5)
    with ours, theirs:
        yield DaemonLink(ours), theirs


def test_lines_are_whole_wherever_they_are_cut(pair):
    link, peer = pair
    data = b'{"a": 1}\n{"b": "\xc3\xa9"}\n'
    for byte in range(len(data)):
        got = []
        for piece in (data[:byte], data[byte:]):
            peer.sendall(piece)
            if piece:
                got += link.lines()
        assert got == [{"a": 1}, {"b": "é"}]
    assert link.lines() == []


@pytest.mark.parametrize("line", [b"junk\n", b"[]\n", b"1\n", b"\xff\n", b"\n"])
def test_what_is_no_request_is_a_value_error(pair, line: bytes):
    link, peer = pair
    peer.sendall(line)
    with pytest.raises(ValueError, match=r"object|utf-8|Expecting"):
        link.lines()


def test_the_end_is_a_connection_error(pair):
    link, peer = pair
    peer.close()
    with pytest.raises(ConnectionError):
        link.lines()


def test_a_line_without_end_is_refused(pair):
    link, peer = pair
    link.incoming += b"x" * LINE_BYTES_MAX
    peer.sendall(b"x")
    with pytest.raises(ValueError, match="too long"):
        link.lines()


def test_only_the_newest_of_each_kind_waits(pair):
    link, peer = pair
    for total in range(20_000):
        link.say("spool", total)
        link.flush()  # nobody reads: the socket fills, the queue does not
    assert len(link.pending) <= 1
    link.say("exited", {"code": 0})
    received = b""
    while not (received.endswith(b"\n") and b"exited" in received):
        link.flush()
        received += peer.recv(1 << 20)
    messages = [json.loads(line) for line in received.splitlines()]
    totals = [message["spool"] for message in messages if "spool" in message]
    assert totals == sorted(totals)
    assert totals[-1] == 19_999
    assert messages[-1] == {"exited": {"code": 0}}


def test_an_answer_carries_a_dup(pair):
    link, peer = pair
    with socket.socket() as listener:
        link.answer({"adopted": {}}, listener.fileno())
        data, fds, _, _ = socket.recv_fds(peer, 100, 2)
        assert data == b'{"adopted": {}}\n'
        with socket.socket(fileno=fds[0]) as dup:
            assert dup.fileno() != listener.fileno()
    link.answer({"adopted": {}}, None)
    assert socket.recv_fds(peer, 100, 2)[1] == []
