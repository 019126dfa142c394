"""Where the gateways of a swarm keep their sessions: in one folder for all of them, one after the other, so
that the next one has what the one before it was killed in.

It lies in the folder of the first one's launch: nobody else reads it, it counts like all that the agents
write, and it goes with what they printed. Keys and token are not in it; they end with each gateway.
"""

from dataclasses import replace
from pathlib import Path

from dashd import threads
from dashd.domain import ids
from dashd.jail.launcher import LaunchFailed
from dashd.jail.view import Folder

from .jails import Asked
from .world import World

NAME = "state"


def folder(world: World, swarm_id: str) -> Path:
    """The same for every gateway of the swarm."""
    return world.folder(ids.gateway_id(swarm_id, 1)) / NAME


async def begin(world: World, swarm_id: str) -> str:
    """The folder, which is there then, with what an earlier gateway has left in it. Raises LaunchFailed."""
    found = folder(world, swarm_id)
    try:
        await threads.run(_make, found)
    except OSError as error:
        raise LaunchFailed(f"no folder for its sessions: {error.strerror}") from None
    return str(found)


def shown(world: World, swarm_id: str, asked: Asked) -> Asked:
    """The walls, and inside them the folder."""
    return replace(asked, write_too=(*asked.write_too, Folder(str(folder(world, swarm_id)))))


def _make(found: Path) -> None:
    for each in (found.parent, found):
        each.mkdir(mode=0o700, exist_ok=True)
