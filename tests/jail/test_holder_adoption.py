"""Who has the holder: leases, epochs, daemons that race, and strangers at the door."""

import contextlib

import pytest
import trio

from dashd.jail import holder, holder_link, launch_folder, processes
from tests.jail.test_holder import STUBBORN, pids
from tests.jail.world import World, deadline, exited, gone, is_gone, printed, whole


@pytest.mark.parametrize("lease_s", [0, 0.05])
@deadline
async def test_a_lease_that_expires_writes_the_record_and_then_kills(world: World, lease_s: float):
    folder = await world.launch("a", STUBBORN, lease_s=lease_s)
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


@pytest.mark.slow
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


@pytest.mark.slow
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
        for epoch in range(holder.STRANGERS_MAX):  # of more, those that have not spoken yet may be dropped
            nursery.start_soon(race, epoch)
    last = await world.adopt(folder, holder.STRANGERS_MAX)
    for link in links:
        with pytest.raises(holder_link.EpochRefused):
            await exited(link)
    assert len(links) + len(refused) == holder.STRANGERS_MAX
    await last.send_input(1, b"\n")
    assert (await exited(last)).code == 0


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


@pytest.mark.parametrize("line", [b"junk\n", b"[]\n", b"\xff\n", b"[" * 99999 + b"\n"])
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
