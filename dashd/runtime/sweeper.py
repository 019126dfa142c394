"""Removes the launch folders of destroyed swarms, and with them what their agents printed.

Until a swarm is destroyed its output is kept: logs and reports read it.
"""

from pathlib import Path

import trio

from dashd.jail import launch_folder
from dashd.store import attempts

from .world import World


async def run(world: World) -> None:
    """Sweeps at the start and whenever a swarm has ended, until cancelled; a removal may be cut short."""
    while True:
        ticket = world.store.bells.swarms.ticket()
        launches = await world.store.own.read(attempts.removable_launches)
        removed = await trio.to_thread.run_sync(_remove, [world.folder(launch_id) for launch_id in launches])
        if removed:
            await world.commit(lambda tx, removed=removed: attempts.set_removed(tx, removed))  # type: ignore[misc]
        await ticket.wait()


def _remove(folders: list[Path]) -> list[str]:
    """The names of the folders that are gone; one that cannot be removed now is tried at the next start."""
    removed = []
    for folder in folders:
        try:
            launch_folder.remove(folder)
        except (OSError, launch_folder.FolderInUse):
            continue
        removed.append(folder.name)
    return removed
