"""What sockets and pipes may hold: real ones of this very process, and of who hides."""

import contextlib
import os
import socket

import pytest

from dashd.jail import queues
from dashd.jail.usage import Process

ME = [Process(os.getpid(), 0, 1, 1, 0)]
MIB = 1 << 20


@pytest.fixture
def stack():
    with contextlib.ExitStack() as made:
        yield made


def _pairs(stack: contextlib.ExitStack, count: int) -> None:
    for _ in range(count):
        for each in socket.socketpair():
            stack.enter_context(each)


def test_as_many_as_any_program_has_do_not_count(stack) -> None:
    before = queues.queued_bytes(ME)
    _pairs(stack, 10)
    assert queues.queued_bytes(ME) == before


def test_each_socket_beyond_counts_as_what_its_buffers_hold_once_for_all_who_have_it(stack) -> None:
    _pairs(stack, queues.FREE // 2)
    before = queues.queued_bytes(ME)
    _pairs(stack, 50)
    after = queues.queued_bytes(ME)
    sizes = [
        stack.enter_context(socket.socket(socket.AF_UNIX)).getsockopt(socket.SOL_SOCKET, option)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF)
    ]
    assert after - before == 100 * sum(sizes)
    assert queues.queued_bytes(ME * 2) == queues.queued_bytes(ME)


def test_pipes_beyond_count_once_for_both_ends(stack) -> None:
    made = []
    try:
        made += [os.pipe() for _ in range(queues.FREE)]
        before = queues.queued_bytes(ME)
        made += [os.pipe() for _ in range(10)]
        assert queues.queued_bytes(ME) - before == 10 * queues.PIPE_BYTES
    finally:
        for fd in (fd for ends in made for fd in ends):
            os.close(fd)


def test_of_a_connection_what_is_queued_counts_from_the_first_on(stack) -> None:
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    ours = stack.enter_context(socket.create_connection(listener.getsockname()))
    theirs = stack.enter_context(listener.accept()[0])
    ours.setblocking(False)
    before, sent = queues.queued_bytes(ME), 0
    with contextlib.suppress(BlockingIOError):
        while sent < 8 * MIB:
            sent += ours.send(b"x" * 65536)
    assert sent > 65536
    # What is received and not acknowledged yet is in both.
    assert sent <= queues.queued_bytes(ME) - before <= 2 * sent
    left = sent
    while left:
        left -= len(theirs.recv(65536))
    assert queues.queued_bytes(ME) - before < sent // 4


def test_who_hides_counts_as_all_that_it_may_have_open(tmp_path, monkeypatch) -> None:
    def refusing(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refusing)
    assert queues.queued_bytes(ME, str(tmp_path)) == (
        (queues.HIDDEN_SOCKETS - queues.FREE) * 2 * queues._SOCKET_BYTES  # where the kernel does not say
    )


def test_with_one_on_its_way_any_number_may_be_in_it(stack) -> None:
    _pairs(stack, queues.FREE)
    ours, theirs = (stack.enter_context(each) for each in socket.socketpair())
    before = queues.queued_bytes(ME)
    socket.send_fds(ours, [b"x"], [ours.fileno()])
    assert queues.queued_bytes(ME) - before > queues.HIDDEN_SOCKETS * (1 << 12)
    for fd in socket.recv_fds(theirs, 1, 1)[1]:
        os.close(fd)
    assert queues.queued_bytes(ME) == before


def test_a_tree_with_too_many_open_files_is_not_looked_through(stack, monkeypatch) -> None:
    before = queues.queued_bytes(ME)
    monkeypatch.setattr(queues, "FDS_MAX", 1)
    asked = []
    real = queues._open
    monkeypatch.setattr(queues, "_open", lambda folder: asked.append(folder) or real(folder))
    assert queues.queued_bytes(ME * 3) - before > queues.HIDDEN_SOCKETS * (1 << 12)
    assert len(asked) == 1


def test_who_has_ended_has_none(tmp_path) -> None:
    assert queues.queued_bytes(ME, str(tmp_path)) == 0
