"""Numbered input: each number once, bounded, closed after the last."""

import os

from dashd.jail.agent_stdin import PENDING_BYTES_MAX, AgentStdin


def test_numbers_are_taken_once_and_in_order():
    stdin = AgentStdin(True)
    for number, data in ((1, b"a"), (1, b"A"), (5, b"b"), (3, b"C"), (6, b"d")):
        stdin.take(number, data, False)
    assert os.read(stdin.read_end, 100) == b"abd"
    assert stdin.report() == {"last": 6, "full": False, "closed": False}
    stdin.take(7, b"", True)
    assert stdin.report() == {"last": 7, "full": False, "closed": True}
    assert stdin.fds() == ()


def test_what_does_not_fit_waits_and_more_than_that_is_refused():
    stdin = AgentStdin(True)
    stdin.take(1, b"x" * PENDING_BYTES_MAX, False)  # a single one may always come
    stdin.take(2, b"x" * PENDING_BYTES_MAX, False)
    assert stdin.report() == {"last": 1, "full": True, "closed": False}
    read = 0
    while not stdin.write():
        read += len(os.read(stdin.read_end, 1 << 20))
    stdin.take(2, b"end", True)
    while data := os.read(stdin.read_end, 1 << 20) if stdin.read_end >= 0 else b"":
        read += len(data)
        stdin.write()
    assert stdin.last == 2


def test_end_of_input_waits_for_what_is_pending():
    stdin = AgentStdin(True)
    reader = os.dup(stdin.read_end)
    stdin.take(1, b"x" * 200_000, True)
    stdin.take(2, b"never", False)
    read = 0
    while data := os.read(reader, 1 << 20):
        read += len(data)
        stdin.write()
    os.close(reader)
    assert (read, stdin.last, stdin.closed) == (200_000, 1, True)


def test_without_a_pipe_nothing_is_taken():
    stdin = AgentStdin(False)
    stdin.take(1, b"x", False)
    assert stdin.report() == {"last": 0, "full": False, "closed": True}


def test_nothing_is_taken_before_what_there_was_no_room_for():
    """The daemon learns of a refusal later: what it has sent by then may be short enough to fit."""
    stdin = AgentStdin(True)
    stdin.take(1, b"x" * (PENDING_BYTES_MAX - 10), False)
    stdin.take(2, b"y" * 1_000_000, False)
    stdin.take(3, b"z", False)
    assert stdin.report() == {"last": 1, "full": True, "closed": False}
    read = b""
    while not stdin.write():
        read += os.read(stdin.read_end, 1 << 20)
    stdin.take(4, b"too early", False)
    for number, data in ((2, b"y"), (3, b"z"), (4, b"end")):
        stdin.take(number, data, False)
    assert (stdin.last, os.read(stdin.read_end, 1 << 20)[-5:]) == (4, b"yzend")
