"""dashd's end: numbered input across connections, limits, and a holder that is not one."""

import errno
import json
import os
import socket

import pytest
import trio
import trio.testing

from dashd.jail import agent_stdin, holder_link
from tests.jail.world import World, deadline, exited, printed, whole


async def taken(link: holder_link.HolderLink) -> holder_link.InputTaken:
    while not isinstance(message := await link.receive(), holder_link.InputTaken):
        pass
    return message


@deadline
async def test_an_input_is_written_once_however_often_and_by_whom_it_is_sent(world: World):
    folder = await world.launch("a", "cat", stdin=True)
    first = await world.adopt(folder, 1)
    for number in (1, 2, 1, 2):
        await first.send_input(number, b"%d;" % number)
    assert (await taken(first)).last in (1, 2)
    await printed(first, folder, b"1;2;")
    second = await world.adopt(folder, 2)
    assert second.adopted.input == 2
    for number in (1, 2, 3):
        await second.send_input(number, b"%d;" % number)
    await second.send_input(4, b"", eof=True)
    await second.send_input(5, b"too late")
    assert (await exited(second)).code == 0
    assert whole(folder) == b"1;2;3;"


@deadline
async def test_input_sent_just_before_the_daemon_dies_arrives(world: World):
    folder = await world.launch("a", "cat", stdin=True)
    link = await world.adopt(folder, 1)
    await link.send_input(1, b"x" * 500_000)
    await link.aclose()  # half of it is still in the holder, which the agent has not read
    link = await world.adopt(folder, 2)
    assert link.adopted.input == 1
    await link.send_input(2, b"", eof=True)
    await exited(link)
    assert whole(folder) == b"x" * 500_000


@pytest.mark.slow
@deadline
async def test_an_agent_that_does_not_read_fills_its_holder_and_no_more(world: World, tmp_path):
    os.mkfifo(tmp_path / "go")
    folder = await world.launch("a", f"read go < '{tmp_path}/go'; wc -c", stdin=True)
    link = await world.adopt(folder)
    block = b"x" * holder_link.INPUT_BYTES_MAX
    sent, answer = 0, holder_link.InputTaken(0, False, False)
    while not answer.full:
        sent += 1
        await link.send_input(sent, block)
        while answer.last < sent and not answer.full:
            answer = await taken(link)
    assert answer.last == sent - 1
    assert sent * len(block) <= agent_stdin.PENDING_BYTES_MAX + 2 * len(block)
    await trio.to_thread.run_sync((tmp_path / "go").write_text, "go\n")
    while answer.full:  # the agent reads, the holder says so
        answer = await taken(link)
    await link.send_input(sent, block, eof=True)
    await exited(link)
    assert int(whole(folder)) == sent * len(block)


@deadline
async def test_without_stdin_no_input_is_taken(world: World):
    folder = await world.launch("a", "wc -c; sleep 100")
    link = await world.adopt(folder)
    await link.send_input(1, b"x")
    assert await taken(link) == holder_link.InputTaken(0, False, True)
    await printed(link, folder, b"0\n")
    await link.stop(1)
    await exited(link)


@deadline
async def test_an_agent_that_closes_its_stdin_breaks_nothing(world: World):
    folder = await world.launch("a", "exec < /dev/null; echo closed; sleep 100", stdin=True)
    link = await world.adopt(folder)
    await printed(link, folder, b"closed")
    await link.send_input(1, b"x" * 200_000)
    assert (await taken(link)).last == 1
    await link.stop(1)
    assert (await exited(link)).reason == "stop"


@deadline
async def test_what_a_full_disk_does_not_take_is_told_and_told_again_to_the_next_daemon(world: World):
    folder = world.folder("a")
    folder.mkdir(mode=0o700)
    (folder / "spool").symlink_to("/dev/full")  # whose every write fails for want of room
    link = await world.adopt(await world.launch("a", "echo lost; sleep 100"))
    while not link.adopted.lost:
        message = await link.receive()
        if isinstance(message, holder_link.OutputLost):
            assert message.lost_bytes == len(b"lost\n")
            await link.aclose()
            link = await world.adopt(folder, epoch=2)
    assert (link.adopted.lost, link.adopted.spool_bytes) == (len(b"lost\n"), 0)


@deadline
async def test_an_input_too_large_for_a_line_is_refused_here(world: World):
    link = await world.adopt(await world.launch("a", "cat", stdin=True))
    with pytest.raises(ValueError, match="at most"):
        await link.send_input(1, b"x" * (holder_link.INPUT_BYTES_MAX + 1))


@deadline
async def test_a_daemon_that_does_not_read_holds_nobody_up(world: World, tmp_path):
    """Notifications coalesce: totals may be skipped, never repeated, and the last one is right."""
    os.mkfifo(tmp_path / "done")
    count = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done"
    folder = await world.launch("a", f"{count}; echo done > '{tmp_path}/done'; read line", stdin=True)
    link = await world.adopt(folder)
    assert await trio.to_thread.run_sync((tmp_path / "done").read_text) == "done\n"
    await link.send_input(1, b"\n")
    totals: list[int] = []
    while not isinstance(message := await link.receive(), holder_link.Exited):
        if isinstance(message, holder_link.SpoolGrew):
            totals.append(message.spool_bytes)
    assert totals == sorted(set(totals))
    assert (totals or [link.adopted.spool_bytes])[-1] == message.record.spool_bytes


@pytest.mark.parametrize("cut", range(1, 60, 7))
@deadline
async def test_messages_cut_anywhere_are_whole(cut: int):
    ours, theirs = trio.socket.socketpair()
    link = holder_link.HolderLink(ours)
    data = b'{"spool": 7}\n{"novelty": 1}\n{"paused": true}\n'
    data += b'{"input": {"last": 1, "full": false, "closed": true}}\n'
    with theirs:
        for piece in (data[:cut], data[cut:]):
            await theirs.send(piece)
            await trio.testing.wait_all_tasks_blocked()
    assert await link.receive() == holder_link.SpoolGrew(7)
    assert await link.receive() == holder_link.Paused(True)
    assert await link.receive() == holder_link.InputTaken(1, False, True)
    with pytest.raises(holder_link.HolderGone):
        await link.receive()
    await link.aclose()


@deadline
async def test_a_line_without_end_is_no_holder():
    ours, theirs = trio.socket.socketpair()
    link = holder_link.HolderLink(ours)
    with theirs:
        async with trio.open_nursery() as nursery:

            async def flood() -> None:
                while True:
                    await theirs.send(b"x" * 65536)

            nursery.start_soon(flood)
            with pytest.raises(holder_link.HolderGone, match="too long"):
                await link.receive()
            nursery.cancel_scope.cancel()
    await link.aclose()


@deadline
async def test_a_request_cut_by_a_cancellation_closes_the_way_for_others():
    ours, theirs = trio.socket.socketpair()
    link = holder_link.HolderLink(ours)
    with theirs:
        with trio.move_on_after(0.05) as scope:
            while True:
                await link.send_input(1, b"x" * 1_000_000)  # nobody reads
        assert scope.cancelled_caught
        with pytest.raises(holder_link.HolderGone, match="cut"):
            await link.stop(1)
    await link.aclose()


@deadline
async def test_adopt_waits_for_a_holder_whose_door_is_full(tmp_path):
    """The backlog is full for a while; nothing is refused."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "h.sock"))
        door.listen(0)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(adopt_quietly, tmp_path)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(3):
                served, _ = await trio.to_thread.run_sync(door.accept)
                served.recv(100)
                served.sendall(json.dumps({"refused": {"epoch": 9}}).encode() + b"\n")
                served.close()


async def adopt_quietly(folder) -> None:
    with pytest.raises(holder_link.EpochRefused):
        await holder_link.adopt(folder, 1)


@deadline
async def test_without_a_descriptor_left_a_holder_is_not_reached(tmp_path, monkeypatch):
    def scarce(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(holder_link.socket, "socket", scarce)
    with pytest.raises(holder_link.HolderGone, match="Too many open files"):
        await holder_link.adopt(tmp_path, 1)
    assert len(os.listdir("/proc/self/fd")) == before
