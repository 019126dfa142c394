"""Before READY: every attempt that an earlier daemon left open is looked at, and what lives is adopted.

The old fork server is ended first, so that from then on nobody creates `begin` but us and holders already
forked; each launch folder then gives one answer for ever. Recovery may itself be killed at any point: it
decides nothing that the next one would decide otherwise.
"""

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import trio

from dashd import threads
from dashd.jail import cgroup_tree, launch_folder, launcher, processes
from dashd.jail.holder_link import HolderLink
from dashd.store import agents, attempts, daemons, tasks
from dashd.store.opening import Store
from dashd.store.queue import Claim
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx

from .attach import Attached
from .run import Run, prepare_all
from .world import World

LOOK_S_MAX = 5.0
"""For one holder's answer; one that takes longer (it is frozen, perhaps) must not keep the others waiting."""


class Recovered(msgspec.Struct, frozen=True):
    """An open attempt and what was found of it."""

    run: Run
    attached: Attached | None
    """None: its holder lives and does not answer, so whether the agent does is not known."""

    @property
    def live(self) -> bool:
        """True where the agent runs and is ours now."""
        return isinstance(self.attached, HolderLink)


async def begin_epoch(store: Store, launches: Path, at_point: Callable[[str], None]) -> int:
    """Raises the epoch, doubts every agent's life, and ends the old fork server; returns the epoch."""

    def operation(tx: Tx) -> int:
        agents.doubt_all(tx)
        return daemons.raise_epoch(tx)

    at_point("recovery.before_epoch")
    epoch = await store.writer.apply(operation)
    at_point("recovery.after_epoch")
    await threads.run(launcher.end_previous_fork_server, launches)
    at_point("recovery.after_fork_server_ended")
    return epoch


async def recover(world: World) -> list[Recovered]:
    """Looks at every open attempt; those that answer are adopted, in one transaction, when this returns."""
    claims = await world.store.own.read(_open_claims)
    runs = [Run(world, claim) for claim in claims]
    await prepare_all(world, runs)
    own = [run.claim.attempt_id for run in runs if not run.plan.gateway]
    await threads.run(_end_lost, world.launches, own)
    await threads.run(cgroup_tree.sweep, world.launches, partial(_is_alive, world.launches))
    found: list[Recovered] = []
    async with trio.open_nursery() as nursery:
        for run in runs:
            nursery.start_soon(_look, world, run, found)
    live = [(each.run, each.attached) for each in found if isinstance(each.attached, HolderLink)]

    def operation(tx: Tx) -> None:
        for run, link in live:
            run.started(tx, link, adopted=True)

    world.points.at("recovery.before_commit")
    await world.commit(operation)
    world.points.at("recovery.after_commit")
    return found


async def _look(world: World, run: Run, found: list[Recovered]) -> None:
    world.points.at("recovery.before_adopt")
    attached = None
    if not run.plan.gateway:  # whose gateway is looked at later
        with trio.move_on_after(LOOK_S_MAX):
            attached = await run.attach()
    found.append(Recovered(run, attached))
    world.points.at("recovery.after_adopt")


def _open_claims(db: Snapshot) -> list[Claim]:
    return [
        Claim(
            row.id,
            row.agent_id,
            row.task_id,
            tasks.get(db, row.task_id).swarm_id,
            attempts.launch(db, row.launch_id).place,
        )
        for row in attempts.open_attempts(db)
    ]


def _is_alive(launches: Path, launch_id: str) -> bool:
    """Whether a holder has this launch; where a folder cannot be read, one may have."""
    try:
        folder = launches / launch_id
        return (folder / "begin").exists() and isinstance(launch_folder.examine(folder), launch_folder.Alive)
    except OSError:
        return True


def _end_lost(launches: Path, launch_ids: list[str]) -> None:
    """One scan for the remains of every lost launch, instead of one scan each."""
    lost: dict[str, tuple[int, int] | None] = {}
    for launch_id in launch_ids:
        with contextlib.suppress(OSError):  # a full disk, mostly: each run looks again later
            state = launch_folder.examine(launches / launch_id)
            if isinstance(state, launch_folder.Lost):
                lost[launch_id] = state.agent
    if lost:
        with contextlib.suppress(OSError):  # what survives SIGKILL is shown by the run that waits for its end
            processes.end_all_marked(list(lost), dict(agent for agent in lost.values() if agent))
