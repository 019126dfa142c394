"""A world of launches for one test: a fork server, holders, and that none of them outlives it."""

import contextlib
import functools
import os
import select
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from dashd.jail import holder_link, launch_folder, launcher, processes, spool

LIMIT_S = 15
PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


class World:
    """One launches folder, its path longer than a socket's, and everything started in it."""

    def __init__(self, launches: Path) -> None:
        self.launches = launches
        self.launcher: launcher.Launcher
        self.links: list[holder_link.HolderLink] = []
        self.holders: dict[str, tuple[int, int]] = {}

    def folder(self, launch_id: str) -> Path:
        return self.launches / launch_id

    async def launch(self, launch_id: str, *argv: str, listener=None, env=PATH, cwd="/", **options) -> Path:
        """Starts a holder; `sh` scripts are given as one argument."""
        command = ["sh", "-c", argv[0]] if len(argv) == 1 else list(argv)
        spec = launcher.LaunchSpec(launch_id, command, env, cwd, **options)
        pid = await self.launcher.launch(spec, listener)
        self.holders[launch_id] = pid, processes.start_time(pid) or 0
        return self.folder(launch_id)

    async def adopt(self, folder: Path, epoch: int = 1) -> holder_link.HolderLink:
        """The caller may close the link, to detach; the world does in the end."""
        return self.keep(await holder_link.adopt(folder, epoch))

    def keep(self, link: holder_link.HolderLink) -> holder_link.HolderLink:
        """Closes the link in the end."""
        self.links.append(link)
        return link

    async def finish(self, folder: Path) -> launch_folder.ExitRecord:
        """Adopts and waits for the end, whichever way it is learnt first."""
        settled = await self.settle(folder)
        assert isinstance(settled, launch_folder.Ended), settled
        return settled.record

    async def settle(self, folder: Path, epoch: int = 1) -> object:
        """What recovery does: adopt what lives and wait for its end, examine what does not."""
        while True:
            with contextlib.suppress(holder_link.HolderGone):
                await exited(await self.adopt(folder, epoch))
            settled = launch_folder.examine(folder)
            if not isinstance(settled, launch_folder.Alive):
                return settled
            await trio.sleep(0.001)

    def close_links(self) -> None:
        for link in self.links:
            link._sock.close()
            if link.listener:
                link.listener.close()

    def end_everything(self) -> None:
        for pid, started in self.holders.values():
            processes.send_signal(pid, started, signal.SIGKILL)
        processes.end_all_marked(list(self.holders))


async def exited(link: holder_link.HolderLink) -> launch_folder.ExitRecord:
    """Receives until the end."""
    while True:
        message = await link.receive()
        if isinstance(message, holder_link.Exited):
            return message.record


async def printed(link: holder_link.HolderLink, folder: Path, text: bytes) -> bytes:
    """Waits until the agent's output contains `text`; returns all of it."""
    while text not in (output := whole(folder)):
        await link.receive()
    return output


def whole(folder: Path, stream: int | None = None) -> bytes:
    """All the output so far."""
    records, _ = spool.read(folder, 0, 1 << 30)
    return b"".join(payload for number, payload in records if stream in (None, number))


async def gone(pid: int) -> None:
    """Waits for the end of a process that need not be ours."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(fd)
    finally:
        os.close(fd)


def is_gone(pid: int) -> bool:
    """Whether a process has ended, zombies included; looks once."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], 0)[0])
    finally:
        os.close(fd)


def deadline(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Real processes, real clock, so a real limit: a test that hangs fails."""

    @functools.wraps(test)
    async def limited(*args: object, **fixtures: object) -> None:
        with trio.fail_after(LIMIT_S):
            await test(*args, **fixtures)

    return limited
