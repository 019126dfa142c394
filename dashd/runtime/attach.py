"""A launch taken over: adopted while its holder lives, else known by its folder. Nothing is executed here."""

import contextlib
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from dashd import threads
from dashd.domain.attempt import UNLAUNCHED, Ending
from dashd.jail import holder_link, launch_folder, processes
from dashd.jail.holder_link import HolderGone, HolderLink
from dashd.jail.launch_folder import ExitRecord

from .world import World

START_S_MAX = 20.0
"""For the fork server's answer and the holder's; a stuck start is examined, never waited out."""
LEAVING_S = 0.01
"""Between looks at a holder that is just leaving: its lock is the only sign, and a lock rings no bell."""
TROUBLE_S = 1.0
"""Between looks at a folder that cannot be read or written."""

Attached = HolderLink | ExitRecord | Ending
Serve = Callable[[socket.socket], Awaitable[None]]
"""Serves a listener from now on, and owns it."""


async def unless_over(link: HolderLink) -> HolderLink | ExitRecord:
    """The link, or the exit record where the agent has ended already."""
    if link.adopted.exit is None:
        return link
    await link.aclose()
    return link.adopted.exit


async def serve_kept(link: HolderLink, serve: Serve) -> None:
    """Has the listener served that the holder keeps, if it does; whatever goes wrong, nothing stays open."""
    if link.listener is None:
        return
    try:
        await serve(link.listener)
    except BaseException:
        with trio.CancelScope(shield=True):  # bounded: it only closes
            await link.aclose()
        raise


async def attach(world: World, launch_id: str, serve: Serve) -> Attached:
    """Takes over what there is of a launch; where nothing was executed, nothing ever will be."""
    folder = world.folder(launch_id)
    world.points.at("run.before_adopt")
    while True:
        with trio.move_on_after(START_S_MAX), contextlib.suppress(HolderGone):
            link = await holder_link.adopt(folder, world.epoch)
            await serve_kept(link, serve)
            return await unless_over(link)
        try:
            if (found := await threads.run(_settled, folder)) is not None:
                return found
            await trio.sleep(LEAVING_S)
        except OSError as error:  # a full disk, mostly, or what survives SIGKILL: it must wait
            world.trouble.say(f"looking at {folder}: {error.strerror or error}; trying again")
            await trio.sleep(TROUBLE_S)


def _settled(folder: Path) -> ExitRecord | Ending | None:
    """What became of a launch, of which nothing runs any more then; None while its holder lives. Blocking.

    Raises OSError, TimeoutError where some of it cannot be ended.
    """
    match launch_folder.examine(folder):
        case launch_folder.NeverStarted():
            return Ending("never", UNLAUNCHED)
        case launch_folder.Ended(record):
            if record.reason == "lease":  # written first, and its holder may have been killed then
                processes.end_marked(folder.name)
            return record
        case launch_folder.Lost(agent):
            processes.end_marked(folder.name, agent)
            return Ending("lost", "its holder was killed; what was left of it has been ended")
        case launch_folder.Alive():
            return None
