"""The merge queue: one merge at a time, in order, until the target was seen to move, or nothing has changed.

The row says `running` before anything begins and where the target was, and behind the gates where it is about
to be. Killed anywhere, the next daemon takes the same merge up again: where the target is just there already
it is merged, else all of it is done again, gates too. A merge that is to be cancelled is let go at once; only
if its target is just there it counts as merged. A target that somebody else has moved says nothing.
"""

import logging
from functools import partial
from pathlib import Path

import msgspec
import trio

from dashd.domain import repository
from dashd.domain.repository import Terms
from dashd.jail import view
from dashd.store import merges, swarms
from dashd.store.merges import MergeRow
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx
from dashd.workspace.errors import GateFailed, MergeConflict, WorkspaceError
from dashd.workspace.merge import Gate, Merged

from .workspaces import spoken
from .world import World

log = logging.getLogger(__name__)
PROBLEM_CHARS_MAX = 4_000


async def run(world: World) -> None:
    """Merges until cancelled; sleeps until something is queued."""
    while True:
        ticket = world.store.bells.merges.ticket()
        found = await world.store.own.read(_next)
        if found is None:
            await ticket.wait()
        elif found[0].cancel and found[0].state == "queued":
            await world.commit(partial(_end, found[0], "cancelled", "it was taken out of the queue"))
        else:
            await _merge(world, *found)


async def _merge(world: World, row: MergeRow, terms: Terms) -> None:
    outcome: Merged | WorkspaceError | None
    try:
        outcome = await _tried(world, row, terms)
    except WorkspaceError as error:
        outcome = error
    if isinstance(outcome, WorkspaceError):
        log.warning("a merge came to nothing", extra={"merge": row.id, "why": outcome.message})
    await world.commit(partial(_write_down, row, outcome))


async def _tried(world: World, row: MergeRow, terms: Terms) -> Merged | None:
    """None where it was cancelled in time. Raises WorkspaceError."""
    if (merged := await _moved_by_us(world, row, terms)) is not None:
        return merged  # before a death
    before = await world.workspaces.tip(terms, row.target)
    await world.commit(partial(merges.set_running, row=row, before=before))
    world.points.at("merge.before")
    merged = await _cancellable(world, row, terms)
    if merged is None:  # it may have been too late
        now = await world.store.own.read(partial(merges.get, merge_id=row.id))
        merged = await _moved_by_us(world, now, terms)
    world.points.at("merge.after")
    return merged


async def _moved_by_us(world: World, row: MergeRow, terms: Terms) -> Merged | None:
    """What has come of it, where the target is just where it was about to be moved, behind its gates."""
    if row.result is None or await world.workspaces.tip(terms, row.target) != row.result:
        return None
    return Merged(row.target, row.result, row.before)


async def _cancellable(world: World, row: MergeRow, terms: Terms) -> Merged | None:
    """None where it was cancelled. An error is raised outside of the nursery, which would wrap it."""
    found: list[Merged | WorkspaceError] = []

    async def watch(scope: trio.CancelScope) -> None:
        while True:
            ticket = world.store.bells.merges.ticket()
            if (await world.store.own.read(partial(merges.get, merge_id=row.id))).cancel:
                scope.cancel(reason="the merge is to be cancelled")
            await ticket.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, nursery.cancel_scope)
        try:
            found.append(await _once(world, row, terms))
        except WorkspaceError as error:
            found.append(error)
        nursery.cancel_scope.cancel(reason="the merge has ended")
    if found and isinstance(found[0], WorkspaceError):
        raise found[0]
    return found[0] if found else None  # type: ignore[return-value]  # an error was raised


async def _once(world: World, row: MergeRow, terms: Terms) -> Merged:
    async def intend(commit: str) -> None:
        await world.commit(partial(merges.set_intended, row=row, commit=commit))

    gates = _gates(world, row)
    if row.onto:
        return await world.workspaces.rebase(
            terms,
            key=row.id,
            target=row.target,
            onto=row.commit_id,
            at_ms=row.queued_at_ms,
            gates=gates,
            intend=intend,
        )
    return await world.workspaces.merge(
        terms,
        key=row.id,
        commit=row.commit_id,
        target=row.target,
        at_ms=row.queued_at_ms,  # the same commits, however often it is tried
        gates=gates,
        intend=intend,
    )


def _gates(world: World, row: MergeRow) -> list[Gate]:
    """Gates see what an agent sees of the system: its folders, and the programs on dashd's PATH."""
    argvs = msgspec.json.decode(row.gates, type=list[tuple[str, ...]])
    read = tuple(Path(folder.at) for folder in view.runtimes(world.environ))
    env = {name: world.environ[name] for name in ("PATH",) if name in world.environ}
    return [Gate(argv, read=read, env=env) for argv in argvs]


def _told(error: WorkspaceError) -> str:
    output = f"\n{error.output}" if isinstance(error, GateFailed) and error.output else ""
    return f"{error}{output}"[:PROBLEM_CHARS_MAX]


def _next(db: Snapshot) -> tuple[MergeRow, Terms] | None:
    row = merges.next_open(db)
    if row is None:
        return None
    repo = swarms.get(db, row.swarm_id).repo
    assert repo is not None, "only a swarm with a repository has merges"
    return row, repository.from_json(repo)


def _end(row: MergeRow, state: str, problem: str, tx: Tx) -> None:
    merges.ended(tx, row, state, problem=problem)


def _write_down(row: MergeRow, outcome: Merged | WorkspaceError | None, tx: Tx) -> None:
    match outcome:
        case None:
            merges.ended(tx, row, "cancelled", problem="it was cancelled while it ran")
        case Merged():
            merges.ended(tx, row, "merged", result=outcome.commit)
        case MergeConflict():
            paths = [spoken(path) for path in outcome.paths]
            merges.ended(tx, row, "conflict", problem=outcome.message, paths=paths)
        case _:
            merges.ended(tx, row, "failed", problem=_told(outcome))
