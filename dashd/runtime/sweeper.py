"""Removes launch folders, and with them what agents printed: of destroyed swarms at once, of others in time.
And copies of conversations that nobody asked for, in their time; of gateways that did not start it keeps few.

Until then logs and reports read it. It waits for a swarm's end or for one deadline, when the oldest output
has been kept long enough; where nothing is kept it sleeps without one.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import trio

from dashd import threads
from dashd.jail import launch_folder
from dashd.store import attempts, gateways, session_room, swarms
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx

from .world import World

AT_ONCE_MAX = 500
"""Folders and swarms of one step, so that the writer is never held up for long."""
STEP_MS = 3_600_000
"""Deadlines are rounded up to this: what ends within an hour goes with one wake-up."""
_DAY_MS = 86_400_000


class _Found(NamedTuple):
    """What there is to do now."""

    expired: list[str]
    launches: list[str]
    failed: list[str]
    """Launches of gateways."""
    swept: list[str]
    oldest_ms: int | None


async def run(world: World, kept_days: float) -> None:
    """Sweeps at the start, whenever a swarm has ended and when output has become old, until cancelled."""
    kept_ms = round(kept_days * _DAY_MS)
    while True:
        ticket = world.store.bells.swarms.ticket()
        oldest_ms = await _sweep(world, kept_ms)
        with trio.move_on_at(_deadline(world, oldest_ms, kept_ms)):
            await ticket.wait()


async def forget(world: World, kept_days: float) -> None:
    """The same for copies that nobody asked for, those that are too old and those that are too many.

    Rows go first, since a file without a row goes at the next start.
    """
    kept_ms = round(kept_days * _DAY_MS)
    while True:
        ticket = world.store.bells.swarms.ticket()
        while gone := await world.commit(partial(_expire_copies, world.clock.now_ms() - kept_ms)):
            await world.transcripts.remove(gone)
        while gone := await world.commit(partial(_trim_copies, world.checkpoints_bytes_max)):
            await world.transcripts.remove(gone)
        oldest_ms = await world.store.own.read(session_room.oldest_ms)
        with trio.move_on_at(_deadline(world, oldest_ms, kept_ms)):
            await ticket.wait()


def _expire_copies(made_by_ms: int, tx: Tx) -> list[str]:
    return session_room.expire(tx, made_by_ms, AT_ONCE_MAX)


def _trim_copies(bytes_max: int, tx: Tx) -> list[str]:
    return session_room.trim(tx, bytes_max, AT_ONCE_MAX)


async def _sweep(world: World, kept_ms: int) -> int | None:
    """Until nothing is left to do; gives the instant at which the oldest swarm with output ended."""
    after = after_failed = ""
    while True:
        ended_by_ms = world.clock.now_ms() - kept_ms
        found = await world.store.own.read(partial(_look, ended_by_ms, after, after_failed))
        if found.expired:
            await world.commit(partial(_expire, found.expired))
        elif found.launches:
            removed = await _removed(world, found.launches)
            await world.commit(partial(_set_removed, removed))
            after = found.launches[-1]  # what could not be removed is tried again another time
        elif found.failed:
            await world.commit(partial(_forget, await _removed(world, found.failed)))
            after_failed = found.failed[-1]
        elif found.swept:
            await world.commit(partial(_set_gone, found.swept))
        else:
            return found.oldest_ms


def _deadline(world: World, oldest_ms: int | None, kept_ms: int) -> float:
    if oldest_ms is None:
        return float("inf")
    due_ms = (oldest_ms + kept_ms + STEP_MS - 1) // STEP_MS * STEP_MS
    return trio.current_time() + max(0, due_ms - world.clock.now_ms()) / 1_000


def _look(ended_by_ms: int, after: str, after_failed: str, db: Snapshot) -> _Found:
    return _Found(
        swarms.expired(db, ended_by_ms, AT_ONCE_MAX),
        attempts.removable_launches(db, after, AT_ONCE_MAX),
        gateways.old_failures(db, after_failed, AT_ONCE_MAX),
        swarms.swept(db),
        swarms.oldest_kept_ms(db),
    )


def _expire(swarm_ids: list[str], tx: Tx) -> None:
    for swarm_id in swarm_ids:
        swarms.drop_output(tx, swarm_id)
        tx.emit("swarm.swept", swarm=swarm_id, data={"why": "kept long enough"})


def _set_removed(launch_ids: list[str], tx: Tx) -> None:
    attempts.set_removed(tx, launch_ids)


def _forget(launch_ids: list[str], tx: Tx) -> None:
    gateways.forget(tx, launch_ids)


def _set_gone(swarm_ids: list[str], tx: Tx) -> None:
    swarms.set_output_gone(tx, swarm_ids)


async def _removed(world: World, launch_ids: list[str]) -> list[str]:
    folders = [world.folder(launch_id) for launch_id in launch_ids]
    return await threads.run(_remove, folders)


def _remove(folders: list[Path]) -> list[str]:
    """The names of the folders that are gone; one that cannot be removed now is tried another time."""
    removed = []
    for folder in folders:
        try:
            launch_folder.remove(folder)
        except (OSError, launch_folder.FolderInUse):
            continue
        removed.append(folder.name)
    return removed
