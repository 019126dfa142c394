"""The made-up holders of these tests and real ones, held to the same contract: what dashd says and hears."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from dashd.jail import holder_link, launch_folder, launcher, spool
from dashd.jail.holder_link import EpochRefused, HolderGone
from dashd.jail.launcher import LaunchFailed, LaunchSpec
from tests.fakes.launch import FakeLauncher
from tests.jail.world import World

LIVES = "echo hello; exec sleep 60"
ENDS = "echo hello; exit 3"


class Fakes:
    """Made-up holders whose agents do what the two scripts say."""

    def __init__(self, launches: Path, nursery: trio.Nursery) -> None:
        self.launches = launches
        self.launcher = FakeLauncher(launches, nursery)

    async def launch(self, launch_id: str, script: str) -> Path:
        await self.launcher.launch(LaunchSpec(launch_id, ("sh", "-c", script), {}, "/"))
        holder = self.launcher.holders[launch_id]
        holder.prints(b"hello\n")
        if script == ENDS:
            holder.exits(3)
        return self.launches / launch_id

    def kill(self, launch_id: str) -> None:
        self.launcher.holders[launch_id].dies()


class Reals:
    """Real holders under a real fork server."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.launch = world.launch

    def kill(self, launch_id: str) -> None:
        holder, started = self.world.holders[launch_id]
        assert launcher.processes.send_signal(holder, started, 9)


@pytest.fixture
def real_world(tmp_path: Path):
    """Ends every real process, whatever became of the test."""
    world = World(tmp_path / "real")
    yield world
    world.end_everything()


@pytest.fixture(params=["fake", "real"])
async def holders(
    request: pytest.FixtureRequest, tmp_path: Path, real_world: World, launchers: list, nursery: trio.Nursery
) -> AsyncIterator[Fakes | Reals]:
    with trio.fail_after(15):
        if request.param == "fake":
            fakes = Fakes(tmp_path / "fake", nursery)
            launchers.append(fakes.launcher)
            yield fakes
        else:
            async with launcher.open_launcher(real_world.launches) as opened:
                real_world.launcher = opened
                yield Reals(real_world)


async def _heard(link: holder_link.HolderLink, kind: type) -> holder_link.Message:
    """The next message of this kind."""
    while not isinstance(message := await link.receive(), kind):
        pass
    return message


async def _settled(folder: Path) -> object:
    """What became of a launch that is just leaving; its lock is the only sign, and a lock rings no bell."""
    while isinstance(found := launch_folder.examine(folder), launch_folder.Alive):  # noqa: ASYNC110
        await trio.sleep(0.001)
    return found


async def test_a_living_one_is_adopted_paused_resumed_and_stopped(holders: Fakes | Reals) -> None:
    folder = await holders.launch("a", LIVES)
    link = await holder_link.adopt(folder, 1)
    assert launch_folder.examine(folder) == launch_folder.Alive()
    adopted = link.adopted
    assert (adopted.state, adopted.exit, adopted.input) == ("running", None, 0)
    assert adopted.pid > 0
    assert adopted.start_time >= 0
    assert adopted.boot_id
    await link.pause()
    assert await _heard(link, holder_link.Paused) == holder_link.Paused(True)
    await link.resume()
    assert await _heard(link, holder_link.Paused) == holder_link.Paused(False)
    await link.stop(5.0)
    message = await _heard(link, holder_link.Exited)
    assert (message.record.code, message.record.signal, message.record.reason) == (None, 15, "stop")
    with pytest.raises(HolderGone):
        await link.receive()
    await link.aclose()
    assert launch_folder.examine(folder) == launch_folder.Ended(message.record)


async def test_the_end_of_one_that_nobody_followed_is_in_its_record(holders: Fakes | Reals) -> None:
    folder = await holders.launch("a", ENDS)
    # Adopted first, as everywhere: looking at a launch that has not quite begun would forbid it to.
    with contextlib.suppress(HolderGone):
        link = await holder_link.adopt(folder, 1)
        try:
            await _heard(link, holder_link.Exited)
        finally:
            await link.aclose()
    found = await _settled(folder)
    assert isinstance(found, launch_folder.Ended)
    record = found.record
    assert (record.code, record.signal, record.reason, record.error) == (3, None, "exit", None)
    assert record.spool_bytes == len("hello\n") + spool.HEADER.size
    assert spool.read(folder, 0, 1 << 20) == ([(1, b"hello\n")], record.spool_bytes)
    with pytest.raises(HolderGone):
        await holder_link.adopt(folder, 1)


async def test_a_killed_one_is_gone_and_its_launch_lost(holders: Fakes | Reals) -> None:
    folder = await holders.launch("a", LIVES)
    link = await holder_link.adopt(folder, 1)
    holders.kill("a")
    with pytest.raises(HolderGone):
        await _heard(link, holder_link.Exited)
    await link.aclose()
    found = await _settled(folder)
    assert isinstance(found, launch_folder.Lost)
    with pytest.raises(HolderGone):
        await holder_link.adopt(folder, 1)


async def test_the_highest_epoch_has_it_and_a_new_connection_displaces_the_old(
    holders: Fakes | Reals,
) -> None:
    folder = await holders.launch("a", LIVES)
    first = await holder_link.adopt(folder, 2)
    with pytest.raises(EpochRefused) as caught:
        await holder_link.adopt(folder, 1)
    assert caught.value.epoch == 2
    second = await holder_link.adopt(folder, 2)
    with pytest.raises((HolderGone, EpochRefused)):
        await _heard(first, holder_link.Exited)
    await first.aclose()
    await second.stop(5.0)
    await _heard(second, holder_link.Exited)
    await second.aclose()


async def test_one_launch_begins_once(holders: Fakes | Reals) -> None:
    await holders.launch("a", LIVES)
    with pytest.raises((LaunchFailed, FileExistsError)):
        await holders.launch("a", LIVES)
