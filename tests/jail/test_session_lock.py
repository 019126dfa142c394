"""The lock of a session: one holder at a time, through the death of everybody but that holder."""

import fcntl
import os
import signal
from pathlib import Path

import pytest

from dashd.jail import launcher
from tests.jail.world import World, deadline, exited, gone, printed

WAITS = "echo ready; read -r _"


def is_locked(path: Path) -> bool:
    """As any other program on this machine sees it."""
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


@deadline
async def test_a_second_one_is_refused_until_the_first_has_ended(world: World, tmp_path: Path):
    lock = tmp_path / "session.lock"
    first = await world.adopt(await world.launch("a", WAITS, stdin=True, session_lock=str(lock)))
    await printed(first, world.folder("a"), b"ready")
    with pytest.raises(launcher.LaunchFailed, match=r"its session is locked: .*session\.lock"):
        await world.launch("b", "true", session_lock=str(lock))
    await world.launch("c", "true", session_lock=str(tmp_path / "another"))
    await first.send_input(1, b"", eof=True)
    await exited(first)  # from here on the next one may begin
    record = await world.finish(await world.launch("d", "exit 3", session_lock=str(lock)))
    assert record.code == 3
    assert lock.stat().st_mode & 0o777 == 0o600


@deadline
async def test_it_ends_with_the_holder_and_with_nobody_else(world: World, tmp_path: Path):
    lock = tmp_path / "session.lock"
    link = await world.adopt(await world.launch("a", WAITS, stdin=True, lease_s=60, session_lock=str(lock)))
    await printed(link, world.folder("a"), b"ready")
    world.close_links()  # dashd has gone
    fork_server = world.launcher.fork_server_pid
    assert fork_server is not None
    os.kill(fork_server, signal.SIGKILL)
    await gone(fork_server)
    assert is_locked(lock)
    holder, _ = world.holders["a"]
    os.kill(holder, signal.SIGKILL)
    await gone(holder)
    assert not is_locked(lock)


@deadline
async def test_an_agent_has_no_part_in_it(world: World, tmp_path: Path):
    lock = tmp_path / "session.lock"
    script = f"{WAITS}; ls -l /proc/self/fd"  # its holder leaves with it, and is to be adopted before
    folder = await world.launch("a", script, stdin=True, session_lock=str(lock))
    link = await world.adopt(folder)
    await link.send_input(1, b"go\n", eof=True)
    await exited(link)
    assert b"session.lock" not in await printed(link, folder, b"\n")
    assert not is_locked(lock)


@deadline
async def test_one_that_cannot_be_made_starts_nothing_and_says_where(world: World, tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(launcher.LaunchFailed, match="symbolic links"):
        await world.launch("a", "true", session_lock=str(tmp_path / "link"))
    assert not (tmp_path / "elsewhere").exists()
