"""Nobody waits in order to send; what waits is bounded, ordered and goes out as it is read."""

import socket

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from dashd.rpc.outbox import Outbox


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    ours.setblocking(False)
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def read(theirs):
    data = b""
    while True:
        try:
            chunk = theirs.recv(1 << 20)
        except BlockingIOError:
            return data
        if not chunk:
            return data
        data += chunk


def fill(outbox, size=100_000):
    while outbox.send(b"z" * size):
        pass


def test_put_waits_for_flush(pair):
    ours, theirs = pair
    outbox = Outbox(ours, bytes_max=10, stall_s=1)
    outbox.put(b"ab")
    outbox.put(b"cd")
    assert (outbox.size, read(theirs)) == (4, b"")
    assert outbox.flush()
    assert (outbox.size, read(theirs)) == (0, b"abcd")


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "send", "flush", "read"]), st.sampled_from([0, 1, 7, 5_000, 300_000])
        )
    )
)
def test_bytes_come_out_in_order_whatever_is_done(steps):
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        outbox = Outbox(ours, bytes_max=1_000, stall_s=1)
        sent, got = b"", b""
        for place, (step, size) in enumerate(steps):
            data = bytes([place % 251]) * size
            if step == "read":
                got += read(theirs)
            elif step == "flush":
                assert outbox.flush() == (outbox.size == 0)
            else:
                sent += data
                getattr(outbox, step)(data)
            assert outbox.full == (outbox.size > 1_000)
        while not outbox.flush():
            got += read(theirs)
        got += read(theirs)
        assert got == sent
        assert outbox.size == 0


async def test_drain_sends_the_rest_as_it_is_read(pair):
    ours, theirs = pair
    outbox = Outbox(ours, bytes_max=10, stall_s=5)
    outbox.put(b"x" * 3_000_000)
    got = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.drain)
        with trio.fail_after(5):
            while len(got) < 3_000_000:
                await trio.lowlevel.wait_readable(theirs)
                got += theirs.recv(100_000)
    assert got == b"x" * 3_000_000
    assert outbox.size == 0


async def test_room_comes_with_the_bound(pair):
    ours, theirs = pair
    outbox = Outbox(ours, bytes_max=200_000, stall_s=5)
    await outbox.room()
    fill(outbox)
    while not outbox.full:
        outbox.put(b"y" * 50_000)
    waiting = trio.Event()

    async def wait():
        await outbox.room()
        waiting.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not waiting.is_set()
        nursery.start_soon(outbox.drain)
        with trio.fail_after(5):
            while not waiting.is_set():
                read(theirs)
                await trio.lowlevel.checkpoint()
            assert not outbox.full
            while outbox.size:
                read(theirs)
                await trio.lowlevel.checkpoint()


async def test_a_peer_that_does_not_read_stalls(pair, autojump_clock):
    ours, _theirs = pair
    outbox = Outbox(ours, bytes_max=10, stall_s=30)
    fill(outbox)
    begun = trio.current_time()
    with pytest.raises(trio.TooSlowError):
        await outbox.drain()
    assert trio.current_time() - begun == 30


async def test_a_peer_that_drips_stalls_too(pair, autojump_clock):
    ours, theirs = pair
    outbox = Outbox(ours, bytes_max=10, stall_s=30)
    fill(outbox)
    outbox.put(b"w" * 10_000_000)

    async def drip():
        while True:
            await trio.sleep(10)
            theirs.recv(300_000)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        begun = trio.current_time()
        with pytest.raises(trio.TooSlowError):
            await outbox.drain()
        assert trio.current_time() - begun == 30
        nursery.cancel_scope.cancel()


async def test_a_peer_that_is_gone_takes_everything(pair):
    ours, theirs = pair
    outbox = Outbox(ours, bytes_max=10, stall_s=5)
    fill(outbox)
    theirs.close()
    outbox.put(b"w" * 1_000_000)
    assert outbox.flush()
    assert outbox.send(b"more")
    assert outbox.size == 0
    with trio.fail_after(5):
        await outbox.drain()
        await outbox.room()
