"""`merge.*`: check, decide, write, return; the runtime merges, one after the other."""

import re
import sys
from typing import Final

import msgspec

from dashd.domain import repository
from dashd.store import merges, swarms, workspaces
from dashd.store.merges import MergeRow
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.events import iso
from dashd.wire.methods import merge as wire

from . import reach, views
from .core import Caller, Core
from .idempotency import once
from .landings import terms_of

QUEUE_MAX: Final = 1_000
_TARGET: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]|\.(?!\.|lock(?:/|$)|/|$)|/(?![./-]))*(?<!/)")


async def enqueue(core: Core, caller: Caller, params: wire.EnqueueMerges) -> wire.MergesQueued:
    """One merge each; what is in the queue, or merged, already is not queued again."""
    await reach.check_swarm(
        core, caller, await core.store.reader.read(lambda db: swarms.get(db, params.swarm))
    )

    def operation(tx: Tx) -> wire.MergesQueued:
        terms_of(tx.db, params.swarm)
        target = params.target or repository.result_branch(params.swarm)
        work = {row.owner: row for row in workspaces.of_swarm(tx.db, params.swarm)}
        _check_target(params.swarm, target, list(work))
        rows = _chosen(params, work)
        if len(rows) + len(merges.page(tx.db, sys.maxsize, "", '["queued"]', QUEUE_MAX)) > QUEUE_MAX:
            raise errors.Conflict(f"{QUEUE_MAX} merges wait already", hint="merge.list {states: [queued]}")
        found = [(row, merges.known(tx.db, row.owner, target, str(row.imported))) for row in rows]
        made = [
            merges.enqueue(
                tx,
                swarm=params.swarm,
                owner=row.owner,
                target=target,
                commit=str(row.imported),
                gates=params.gates,
                asked_by=caller.who,
            )
            for row, known in found
            if known is None
        ]
        left = [known for _, known in found if known is not None]
        notes = [f"{', '.join(row.owner for row in left)}: in the queue, or merged, already"] if left else []
        return wire.MergesQueued(
            items=[_shown(tx.db, row) for row in made],
            known=[_shown(tx.db, row) for row in left],
            cursor=tx.seq,
            notes=notes,
        )

    return await core.store.writer.apply(
        once(caller, "merge.enqueue", params, params.idempotency_key, operation, wire.MergesQueued)
    )


async def list_(core: Core, caller: Caller, params: wire.ListMerges) -> wire.MergeList:
    """One page, newest first."""
    states = msgspec.json.encode(params.states).decode()

    def query(db: Snapshot) -> wire.MergeList:
        swarm, among = params.swarm or "", reach.among(db, caller)
        found = merges.page(db, params.before or sys.maxsize, swarm, states, params.limit, among)
        more = found[-1].number or 0 if len(found) == params.limit else 0
        return wire.MergeList(items=[_shown(db, row) for row in found], next=more)

    return await core.store.reader.read(query)


async def status(core: Core, _caller: Caller, params: wire.GetMerge) -> wire.Merge:
    """How it stands."""
    return await core.store.reader.read(lambda db: _shown(db, merges.get(db, params.merge)))


async def cancel(core: Core, _caller: Caller, params: wire.CancelMerge) -> wire.MergeCancelled:
    """Records the wish; `merge.cancelled` comes when it is so, `merge.merged` where it was too late."""

    def operation(tx: Tx) -> wire.MergeCancelled:
        row = merges.get(tx.db, params.merge)
        changed = row.state in merges.OPEN and not row.cancel
        if changed:
            merges.want_cancelled(tx, row)
        return wire.MergeCancelled(id=row.id, state=row.state, changed=changed)  # type: ignore[arg-type]

    return await core.store.writer.apply(operation)


def _check_target(swarm: str, target: str, owners: list[str]) -> None:
    """Raises InvalidParams: the user's own branches move by landing alone, agents' by what they commit."""
    prefix = f"dash/{swarm}/"
    taken = [repository.branch_of(swarm, owner) for owner in owners]
    if not target.startswith(prefix) or target in taken or not _TARGET.fullmatch(target):
        raise errors.InvalidParams(
            f"{target} cannot be merged into",
            hint=f"a branch below {prefix}, such as {prefix}result, and no agent's; swarm.land moves yours",
            path="target",
        )


def _chosen(
    params: wire.EnqueueMerges, known: dict[str, workspaces.WorkspaceRow]
) -> list[workspaces.WorkspaceRow]:
    """Those that were named, in that order, or all that have brought something back."""
    if params.agents is msgspec.UNSET:
        found = [row for row in known.values() if row.imported and row.imported != row.base]
        if not found:
            raise errors.Conflict(
                f"no agent of swarm {params.swarm} has brought anything back",
                hint=f"swarm.report {params.swarm} says how its tasks stand",
            )
        return found
    for name in params.agents:
        if name not in known or known[name].imported is None:
            raise errors.Conflict(
                f"{name} has brought nothing back",
                hint="work comes back when a task succeeds: " + (", ".join(sorted(known)) or "there is none"),
                path="agents",
            )
    return [known[name] for name in dict.fromkeys(params.agents)]


def _shown(db: Snapshot, row: MergeRow) -> wire.Merge:
    return wire.Merge(
        id=row.id,
        swarm=row.swarm_id,
        worktree=row.owner,
        target=row.target,
        commit=row.commit_id,
        state=row.state,  # type: ignore[arg-type]  # the table's CHECK is the wire's Literal
        gates=msgspec.json.decode(row.gates, type=list[list[str]]),
        before=row.before,
        result=row.result if row.state == "merged" else None,
        problem=row.problem,
        files=msgspec.json.decode(row.paths, type=list[str]),
        queued_at=iso(row.queued_at_ms),
        ended_at=views.iso_or_none(row.ended_at_ms),
        ahead=merges.ahead(db, row),
        suggestion=merges.way_on(db, row),
    )
