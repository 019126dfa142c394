"""`audit.*`: reads the chain in pages on a reader, so that it neither holds up the writer nor the loop."""

import sys
from typing import Final

import msgspec

from dashd.domain import chain
from dashd.domain.chain import Fault, Head, Link
from dashd.store import audit
from dashd.store.rows import Snapshot
from dashd.wire import errors
from dashd.wire.events import iso
from dashd.wire.methods import audit as wire

from . import reach
from .core import Caller, Core

VERIFY_ROWS_MAX: Final = 2_000
"""Rows of one read: some milliseconds of a reader's thread."""


async def list_(core: Core, caller: Caller, params: wire.ListAudit) -> wire.AuditList:
    """One page, newest first. A key with folders sees what it has done itself: rows name anybody's swarms."""
    own = caller.who if reach.is_bounded(caller) else ""

    def query(db: Snapshot) -> wire.AuditList:
        found = audit.page(
            db,
            params.before or sys.maxsize,
            params.limit,
            action=params.action,
            actor=params.actor,
            subject=params.subject,
            only=own,
        )
        last = found[-1].seq if len(found) == params.limit else 0
        return wire.AuditList(rows=[_shown(each) for each in found], next=last, head=str(audit.head(db)))

    return await core.store.reader.read(query)


async def verify(core: Core, _caller: Caller, params: wire.VerifyAudit) -> wire.AuditVerified:
    """Walks from the first row to where the chain ended when the call came."""
    noted = None
    if not isinstance(params.head, msgspec.UnsetType):
        noted = chain.read_head(params.head)
        if noted is None:
            raise errors.InvalidParams(
                f"{params.head!r} is no head", hint="as daemon.status shows it: 42:9f86d0…", path="head"
            )
    end = await core.store.reader.read(audit.head)
    reached, fault = Head(), None
    while fault is None and reached.seq < end.seq:
        before = reached
        reached, fault = await core.store.reader.read(lambda db, at=before: _walk(db, at, end))  # type: ignore[misc]
    if fault is None and reached != end:
        fault = Fault(end.seq, f"the chain ends at {reached}, and its head says {end}")
    if fault is None:
        fault = await core.store.reader.read(lambda db: _beyond(db, end) or _unlike(db, noted))
    return wire.AuditVerified(
        ok=fault is None,
        rows=reached.seq,
        head=str(end),
        broken=fault.seq if fault else None,
        why=fault.why if fault else "",
    )


async def export(core: Core, _caller: Caller, params: wire.ExportAudit) -> wire.AuditExported:
    """One page, oldest first; rows never change, so pages fit together."""

    def query(db: Snapshot) -> wire.AuditExported:
        found = audit.after(db, params.since, params.limit)
        more = len(found) == params.limit
        return wire.AuditExported(
            rows=[wire.SealedRow(**each._asdict()) for each in found],
            next=found[-1].seq if more else 0,
            head=str(audit.head(db)),
        )

    return await core.store.reader.read(query)


def _walk(db: Snapshot, reached: Head, end: Head) -> tuple[Head, Fault | None]:
    found = audit.after(db, reached.seq, min(VERIFY_ROWS_MAX, end.seq - reached.seq))
    if not found:
        gone = f"rows {reached.seq + 1} to {end.seq} are missing: the end of the chain was cut off"
        return reached, Fault(reached.seq + 1, gone)
    return chain.walk(found, reached)


def _beyond(db: Snapshot, end: Head) -> Fault | None:
    """A row that the head does not know may only be one that came since."""
    now = audit.head(db)
    if now.seq == end.seq and audit.after(db, end.seq, 1):
        return Fault(end.seq + 1, f"row {end.seq + 1} was added past the head")
    return None


def _unlike(db: Snapshot, noted: Head | None) -> Fault | None:
    """Whether the chain still holds the head that somebody noted."""
    if noted is None or noted == Head():
        return None
    found = audit.hash_of(db, noted.seq)
    if found is None:
        return Fault(noted.seq, f"row {noted.seq} is missing: the chain was cut off after it was noted")
    if found != noted.hash:
        return Fault(noted.seq, f"row {noted.seq} is another one than when it was noted")
    return None


def _shown(row: Link) -> wire.AuditRow:
    return wire.AuditRow(
        seq=row.seq,
        at=iso(row.at_ms),
        at_ms=row.at_ms,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        data=msgspec.json.decode(row.data),
        prev=row.prev,
        hash=row.hash,
    )
