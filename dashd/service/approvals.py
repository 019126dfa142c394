"""`approval.*`: the one inbox, and who may decide about what is in it.

The operator may decide about everything, an orchestrator's key about what was delegated to it and what it
has not asked for itself. An agent never can: it has no way to this door.
"""

import sys

import msgspec

from dashd.store import approvals, decisions
from dashd.store.approvals import ApprovalRow
from dashd.store.rows import Snapshot
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.events import iso
from dashd.wire.methods import approval as wire

from . import reach
from .core import Caller, Core

PERSONS = 2
"""Whose yes a gate for two persons needs."""


async def list_(core: Core, caller: Caller, params: wire.ListApprovals) -> wire.ApprovalList:
    """One page, newest first."""
    state = "" if params.state == "any" else params.state
    swarm, now_ms = params.swarm or "", core.clock.now_ms()

    def query(db: Snapshot) -> wire.ApprovalList:
        among = reach.among(db, caller)
        found = approvals.page(db, params.before or sys.maxsize, state, swarm, params.limit, among)
        more = found[-1].number or 0 if len(found) == params.limit else 0
        return wire.ApprovalList(items=[_shown(db, row, now_ms) for row in found], next=more)

    return await core.store.reader.read(query)


async def resolve(core: Core, caller: Caller, params: wire.ResolveApprovals) -> wire.ApprovalsResolved:
    """All in one operation: where one is unknown or not the caller's to decide, none is decided."""

    def operation(tx: Tx) -> wire.ApprovalsResolved:
        found = [approvals.get(tx.db, each) for each in dict.fromkeys(params.approvals)]
        for row in found:
            _check(caller, row, params.decision)
        items = [_resolve(tx, caller, row, params) for row in found]
        return wire.ApprovalsResolved(items=items, cursor=tx.seq)

    return await core.store.writer.apply(operation)


def _check(caller: Caller, row: ApprovalRow, decision: str) -> None:
    """Raises Forbidden where the caller may not decide about it."""
    if caller.actor not in ("operator", row.who):
        raise errors.Forbidden(
            f"{row.id} is for the operator to decide, not for {caller.who}",
            hint=f"tell the operator: dashctl approval resolve {row.id} {decision}",
        )
    if caller.actor == "orchestrator" and row.asked_by == caller.who:
        raise errors.Forbidden(
            f"{row.id} was asked for by {caller.who}, who cannot decide about it too",
            hint=f"tell the operator: dashctl approval resolve {row.id} {decision}",
        )
    if row.two_person and decision == "allow" and not caller.key:
        raise errors.Forbidden(
            f"{row.id} needs the yes of two keys; {caller.who} has shown none",
            hint="key.create makes one for each person; say it with DASH_KEY. To deny needs no key",
        )


def _resolve(tx: Tx, caller: Caller, row: ApprovalRow, params: wire.ResolveApprovals) -> wire.Resolved:
    row = approvals.get(tx.db, row.id)  # one decision of this call may have withdrawn another request
    if row.state != "open":
        return _outcome(tx, row, changed=False)
    if params.decision == "deny":
        return _outcome(tx, decisions.decide(tx, row, "deny", caller.who, params.note), changed=True)
    before = _votes(tx.db, row, tx.now_ms)
    approvals.vote(tx, row, caller.who)
    after = _votes(tx.db, row, tx.now_ms)
    if len(after) < (PERSONS if row.two_person else 1):
        return _outcome(tx, row, changed=after != before)
    by = " and ".join(after)
    return _outcome(tx, decisions.decide(tx, row, "allow", by, params.note), changed=True)


def _votes(db: Snapshot, row: ApprovalRow, now_ms: int) -> list[str]:
    """Who has said yes; of two persons, while it is open, those whose key still stands."""
    counts = row.two_person and row.state == "open"
    return approvals.standing_votes(db, row, now_ms) if counts else approvals.votes(db, row)


def _outcome(tx: Tx, row: ApprovalRow, *, changed: bool) -> wire.Resolved:
    votes = _votes(tx.db, row, tx.now_ms)
    return wire.Resolved(
        id=row.id,
        state=row.state,  # type: ignore[arg-type]  # the table's CHECK is the wire's Literal
        changed=changed,
        votes=votes,
        waits_for=f"the yes of another key than {votes[0]}" if row.state == "open" and votes else "",
    )


def _shown(db: Snapshot, row: ApprovalRow, now_ms: int) -> wire.Approval:
    return wire.Approval(
        id=row.id,
        gate=row.gate,
        kind=row.kind,  # type: ignore[arg-type]  # the table's CHECK is the wire's Literal
        what=row.what,
        swarm=row.swarm_id,
        agent=row.agent_id,
        asked_by=row.asked_by,
        context=msgspec.json.decode(row.context),
        state=row.state,  # type: ignore[arg-type]
        who=row.who,  # type: ignore[arg-type]
        two_person=bool(row.two_person),
        votes=_votes(db, row, now_ms),
        asked_at=iso(row.asked_at_ms),
        deadline=iso(row.deadline_at_ms),
        at_deadline=row.at_deadline,  # type: ignore[arg-type]
        decided_by=row.decided_by,
        decided_at=None if row.decided_at_ms is None else iso(row.decided_at_ms),
        note=row.note,
    )
