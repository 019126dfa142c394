"""`worktree.*` and `agent.diff`: what is wanted of workspaces is written down, and waited for."""

from collections.abc import Callable
from typing import Final

import msgspec
import trio

from dashd.domain import agent as agent_rules
from dashd.domain.repository import Terms
from dashd.store import agents, attempts, swarms, workspaces
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx
from dashd.store.workspaces import WorkspaceRow
from dashd.wire import errors
from dashd.wire.events import iso
from dashd.wire.methods import worktree as wire

from . import pages, reach, views
from .core import Caller, Core
from .landings import terms_of
from .ports import DiffSeen
from .swarms import refuse_ended

WAIT_S_MAX: Final = 300.0
FLAGGED_MAX: Final = 50


async def list_(core: Core, caller: Caller, params: wire.ListWorktrees) -> wire.WorktreeList:
    """One page, in order of creation."""
    after, states = pages.number(params.cursor), msgspec.json.encode(params.states).decode()

    def query(db: Snapshot) -> wire.WorktreeList:
        if params.swarm:
            swarms.get(db, params.swarm)
        among = reach.among(db, caller)
        found, last = workspaces.page(db, params.swarm or "", states, after, params.limit, among)
        next_cursor = str(last) if len(found) == params.limit else ""
        return wire.WorktreeList(items=[_shown(row) for row in found], next_cursor=next_cursor)

    return await core.store.reader.read(query)


async def create(core: Core, _caller: Caller, params: wire.CreateWorktree) -> wire.Worktrees:
    """The same that its first task would do."""

    def operation(tx: Tx) -> list[str]:
        seat = agents.get(tx.db, params.agent)
        terms = terms_of(tx.db, seat.swarm_id)
        refuse_ended(swarms.get(tx.db, seat.swarm_id))
        if seat.state in agent_rules.MACHINE.ended:
            raise errors.IllegalTransition(f"agent {seat.id} has ended: {seat.state}")
        row = workspaces.begin(tx, terms.owner(seat.swarm_id, seat.id), seat.swarm_id, terms.base)
        if row.state == "creating" and not _is_worked_in(tx.db, row):
            workspaces.want(tx, row, "make", "asked for")
        return [row.owner]

    return await _wanted(core, operation)


async def cleanup(core: Core, _caller: Caller, params: wire.CleanupWorktree) -> wire.Worktrees:
    """Saves first; what cannot be saved stays, unless it is given up."""

    def operation(tx: Tx) -> list[str]:
        rows = _named(tx.db, params)
        for row in rows:
            _refuse_worked_in(tx.db, row)
            if row.state != "removed":
                workspaces.want(tx, row, "give-up" if params.give_up else "remove", "asked for")
        return [row.owner for row in rows]

    return await _wanted(core, operation)


async def salvage(core: Core, _caller: Caller, params: wire.SalvageWorktree) -> wire.Worktrees:
    """Saves it as it is; a second time only what has changed."""

    def operation(tx: Tx) -> list[str]:
        row = workspaces.get(tx.db, params.worktree)
        _refuse_worked_in(tx.db, row)
        if row.state == "removed":
            where = f"all of it was in branch {row.branch}" if row.imported else "there is nothing of it"
            hint = f"it was saved as refs/dash/salvage/{row.owner} ({row.salvage})" if row.salvage else where
            raise errors.Conflict(f"worktree {row.owner} is gone", hint=hint)
        workspaces.want(tx, row, "save", "asked for")
        return [row.owner]

    return await _wanted(core, operation)


async def seen(core: Core, agent: str, patch_bytes: int, files: int) -> tuple[str, DiffSeen]:
    """(the worktree of an agent, what it differs from its base in).

    Looked at as it is now, in a jail, believing nothing that the agent's own .git says. Where it is gone,
    what it has left in the repository is shown: what came back, or else its salvage. Raises Conflict.
    """

    def query(db: Snapshot) -> tuple[str, Terms, WorkspaceRow | None]:
        seat = agents.get(db, agent)
        terms = terms_of(db, seat.swarm_id)
        owner = terms.owner(seat.swarm_id, seat.id)
        return owner, terms, workspaces.find(db, owner)

    owner, terms, row = await core.store.reader.read(query)
    found = await core.repositories.diff(owner, patch_bytes, files)
    if found is None and row is not None and (commit := row.imported or row.salvage):
        found = await core.repositories.diff_kept(
            terms.path,
            row.base,
            commit,
            patch_bytes,
            files,
            salvage=not row.imported,
            granted=terms.granted,
        )
    if found is None:
        raise errors.Conflict(
            f"the worktree of {agent} is not there",
            hint="worktree.list says what came back, and where it was saved",
        )
    return owner, found


async def diff(core: Core, _caller: Caller, params: wire.DiffAgent) -> wire.AgentDiff:
    """Of its worktree, or of what that has left."""
    owner, found = await seen(core, params.agent, params.patch_bytes, params.files)
    return wire.AgentDiff(
        agent=params.agent,
        worktree=owner,
        base=found.base,
        files=[
            wire.FileDiff(
                path=each.path,
                status=each.status,
                lines_added=each.lines_added,
                lines_removed=each.lines_removed,
                from_path=each.from_path,
                flags=list(each.flags),
            )
            for each in found.files
        ],
        more_files=found.more_files,
        nested=list(found.nested),
        patch=found.patch,
        patch_cut=found.cut,
    )


async def _wanted(core: Core, operation: Callable[[Tx], list[str]]) -> wire.Worktrees:
    """Writes it down, then waits until nothing more is wanted of any of them, or for so long."""
    owners = await core.store.writer.apply(operation)
    deadline = trio.current_time() + WAIT_S_MAX
    while True:
        ticket = core.store.bells.workspaces.ticket()
        rows = await core.store.reader.read(lambda db: [workspaces.get(db, each) for each in owners])
        if not any(row.wanted for row in rows) or trio.current_time() >= deadline:
            break
        with trio.move_on_at(deadline):
            await ticket.wait()
    return wire.Worktrees(items=[_shown(row) for row in rows], cursor=core.store.tail.last_seq)


def _named(db: Snapshot, params: wire.CleanupWorktree) -> list[WorkspaceRow]:
    if (params.worktree is msgspec.UNSET) == (params.swarm is msgspec.UNSET):
        raise errors.InvalidParams("name a worktree, or a swarm", hint="worktree.list", path="worktree")
    if params.worktree:
        return [workspaces.get(db, params.worktree)]
    terms_of(db, str(params.swarm))
    return workspaces.of_swarm(db, str(params.swarm))


def _is_worked_in(db: Snapshot, row: WorkspaceRow) -> bool:
    if row.agent is not None:
        return attempts.open_of_agent(db, row.agent) is not None
    return attempts.open_in_swarm(db, row.swarm_id) > 0


def _refuse_worked_in(db: Snapshot, row: WorkspaceRow) -> None:
    if _is_worked_in(db, row):
        raise errors.Conflict(
            f"somebody works in worktree {row.owner}",
            hint=f"wait for its end, or agent.kill {row.agent or row.swarm_id}",
        )


def _shown(row: WorkspaceRow) -> wire.Worktree:
    changed = workspaces.changed_of(row)
    return wire.Worktree(
        id=row.owner,
        swarm=row.swarm_id,
        state=row.state,  # type: ignore[arg-type]  # the table's CHECK is the wire's Literal
        path=row.path,
        branch=row.branch,
        base=row.base,
        commit=row.imported,
        files=len(changed) + row.changed_more,
        flagged=[each.path for each in changed if each.flags][:FLAGGED_MAX],
        salvage=row.salvage,
        problem=row.problem,
        created_at=iso(row.created_at_ms),
        removed_at=views.iso_or_none(row.removed_at_ms),
        due_at=views.iso_or_none(row.due_ms),
    )
