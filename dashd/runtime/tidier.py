"""What becomes of workspaces: made ahead, saved, removed, as rows want it and when it falls due.

Nothing is removed before its content was saved (invariant 10). In order: the row says `saving`; the content
goes into the user's repository (or provably is there); the row says so, and `removing`; the proof is made
again, and the tree goes; the row says `removed`. Killed anywhere, the next daemon does the step again.
A tree that is run in is left alone.
"""

import logging
from functools import partial
from typing import Final

import trio

from dashd.domain import repository
from dashd.store import attempts, swarms, workspaces
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx
from dashd.store.workspaces import WorkspaceRow
from dashd.workspace.errors import WorkspaceError
from dashd.workspace.place import Workspace
from dashd.workspace.tree import Unsaved

from .working_tree import set_ready
from .workspaces import spoken
from .world import World

log = logging.getLogger(__name__)
PATH_CHARS_MAX: Final = 200
GIVEN_UP_PATHS_MAX: Final = 5
"""That the event and the record name of what was given up."""


async def run(world: World) -> None:
    """One workspace after the other, until cancelled; sleeps until a bell or the next that falls due."""
    while True:
        ticket = world.store.bells.workspaces.ticket()
        row = await world.commit(workspaces.next_wanted)
        if row is not None:
            await _serve(world, row.owner)
            continue
        due_ms = await world.store.own.read(workspaces.next_due_ms)
        with trio.move_on_at(_deadline(world, due_ms)):
            await ticket.wait()


async def _serve(world: World, owner: str) -> None:
    async with world.workspaces.lock(owner):
        row, runs = await world.store.own.read(partial(_look, owner))
        if runs:
            problem = "an agent works in it; it was left alone"
        else:
            try:
                problem = await _do(world, row)
            except WorkspaceError as error:
                problem = str(error)
        if problem:
            log.warning("a workspace stays", extra={"owner": owner, "why": problem})
            await world.commit(partial(workspaces.set_kept, owner=owner, problem=problem))


async def _do(world: World, row: WorkspaceRow) -> str:
    """What is wanted; gives why it was not done, or nothing. Raises WorkspaceError."""
    if row.wanted == "make":
        await _make(world, row)
    elif row.state == "removed":
        await world.commit(partial(workspaces.set_idle, owner=row.owner))
    elif (known := await world.workspaces.find(row.owner)) is None:  # a death, or somebody, took it away
        unnoted = "given up; what was lost with it was not noted" if row.wanted == "give-up" else ""
        await world.commit(partial(workspaces.set_removed, owner=row.owner, problem=unnoted))
    else:
        if row.state == "creating":  # a death came right after it was made
            await world.commit(partial(set_ready, known))
        left_out = await _save(world, row, known)
        if row.wanted == "save":
            problem = f"not in its salvage: {_spoken(left_out)}" if left_out else ""
            await world.commit(partial(workspaces.set_kept, owner=row.owner, problem=problem))
        else:
            await _remove(world, row, known, left_out)
    return ""


async def _make(world: World, row: WorkspaceRow) -> None:
    def begin(tx: Tx) -> tuple[WorkspaceRow, repository.Terms]:
        repo = swarms.get(tx.db, row.swarm_id).repo
        assert repo is not None, "only a swarm with a repository has workspaces"
        return workspaces.begin(tx, row.owner, row.swarm_id, row.base), repository.from_json(repo)

    begun, terms = await world.commit(begin)
    made = await world.workspaces.make(row.owner, row.swarm_id, terms, begun.base, alone=True)

    def ready(tx: Tx) -> None:
        if begun.state == "creating":
            set_ready(made, tx)
        workspaces.set_kept(tx, row.owner, "")

    await world.commit(ready)


async def _save(world: World, row: WorkspaceRow, workspace: Workspace) -> list[Unsaved]:
    """Gives what is in no commit of the user's repository then, and would be lost with the tree."""
    await world.commit(partial(workspaces.set_state, owner=row.owner, state="saving"))
    saved = await world.workspaces.save(workspace, world.clock.now_ms())
    world.points.at("workspace.after_save")
    if saved is None:
        return []
    left_out = [each for each in saved.unsaved if each.is_content]
    told = {"ref": saved.ref, "commit": saved.commit, "files": saved.files, "unsaved": len(left_out)}
    await world.commit(partial(workspaces.set_saved, owner=row.owner, commit=saved.commit, told=told))
    return left_out


async def _remove(world: World, row: WorkspaceRow, workspace: Workspace, left_out: list[Unsaved]) -> None:
    await world.commit(partial(workspaces.set_state, owner=row.owner, state="removing"))
    world.points.at("workspace.before_remove")
    problem = await world.workspaces.remove(workspace, give_up=row.wanted == "give-up")
    world.points.at("workspace.after_remove")
    await world.commit(partial(_set_removed, row.owner, problem, left_out))


def _set_removed(owner: str, problem: str, lost: list[Unsaved], tx: Tx) -> None:
    """What was given up is in the row, and in the event, so on record too; the proof let nothing else go."""
    paths = [spoken(each.path)[:PATH_CHARS_MAX] for each in lost[:GIVEN_UP_PATHS_MAX]]
    told = {"given_up": len(lost), "first": paths} if lost else {}
    if lost:
        problem = "; ".join(filter(None, [f"given up, and lost: {_spoken(lost)}", problem]))
    workspaces.set_removed(tx, owner, problem, told)


def _spoken(left_out: list[Unsaved]) -> str:
    """How much, and what was first."""
    first = left_out[0]
    more = f", and {len(left_out) - 1} more" if len(left_out) > 1 else ""
    return f"{spoken(first.path)[:PATH_CHARS_MAX]} ({first.kind}, {first.size} bytes: {first.why}){more}"


def _look(owner: str, db: Snapshot) -> tuple[WorkspaceRow, bool]:
    row = workspaces.get(db, owner)
    if row.agent is not None:
        return row, attempts.open_of_agent(db, row.agent) is not None
    return row, attempts.open_in_swarm(db, row.swarm_id) > 0


def _deadline(world: World, due_ms: int | None) -> float:
    if due_ms is None:
        return float("inf")
    return trio.current_time() + max(0, due_ms - world.clock.now_ms()) / 1_000
