"""`audit.*`: who did what, in a chain that shows where it was changed."""

from typing import Annotated

import msgspec
from msgspec import Meta, field

from .table import Data, Method, Page, Params, Result, Seq

Pattern = Annotated[str, Meta(max_length=100)]
Head = Annotated[str, Meta(max_length=100, description="`seq:hash` of the last row")]


class ListAudit(Params):
    """Asks for what was done, newest first."""

    before: Seq = 0
    """Rows before this one; from `next`. 0 begins with the newest."""
    limit: Page = 20
    action: Pattern = ""
    """A method or an event's kind, or a pattern: `budget.*`, `auth.*`."""
    actor: Pattern = ""
    """Such as `operator:*` or `orchestrator:claude`."""
    subject: Annotated[str, Meta(max_length=200)] = ""


class AuditRow(Result):
    """One thing that was done."""

    seq: int
    at: str
    at_ms: int
    actor: str
    action: str
    subject: str
    data: Data
    prev: str
    hash: str


class AuditList(Result):
    """Rows, newest first; `next` is 0 at the end."""

    rows: list[AuditRow] = field(default_factory=list)
    next: int = 0
    head: Head = ""


class VerifyAudit(Params):
    """Asks whether the chain is whole, and whether it still holds a head that somebody noted."""

    head: Head | msgspec.UnsetType = msgspec.UNSET


class AuditVerified(Result):
    """The chain as it was found."""

    ok: bool
    rows: int
    """Rows that hold, from the first one on."""
    head: Head
    broken: int | None
    """The first row that does not."""
    why: str


class ExportAudit(Params):
    """Asks for the rows in order, with what is needed to check them elsewhere."""

    since: Seq = 0
    """Rows after this one; from `next`."""
    limit: Annotated[int, Meta(ge=1, le=2_000)] = 1_000


class SealedRow(Result):
    """A row; `hash` is SHA-256 of the seven fields from `prev` to `data`, joined by newlines."""

    prev: str
    seq: int
    at_ms: int
    actor: str
    action: str
    subject: str
    data: str
    hash: str


class AuditExported(Result):
    """Rows, oldest first; `next` is 0 at the end, and then `head` is that of the last row."""

    rows: list[SealedRow] = field(default_factory=list)
    next: int = 0
    head: Head = ""


METHODS = (
    Method("audit.list", ListAudit, AuditList, "Lists who did what, newest first."),
    Method("audit.verify", VerifyAudit, AuditVerified, "Says whether the record of who did what is whole."),
    Method("audit.export", ExportAudit, AuditExported, "Lists the record in order, to be checked elsewhere."),
)
