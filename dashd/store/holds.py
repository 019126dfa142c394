"""Table `hold`: one row a try of a model call, open until it is settled, exactly once."""

import msgspec

from . import budgets, rows
from .rows import Snapshot, columns, placeholders
from .transaction import Tx


class HoldRow(msgspec.Struct, frozen=True):
    """Table `hold`."""

    id: int | None
    budget_id: str
    swarm_id: str | None
    agent_id: str | None
    task_id: str | None
    model: str
    provider: str
    state: str
    held_nusd: int
    held_tokens: int
    cost_nusd: int | None
    tokens: int | None
    input_tokens: int | None
    output_tokens: int | None
    basis: str | None
    confirmed: int | None
    price_date: str
    started_at_ms: int
    settled_at_ms: int | None


class Settlement(msgspec.Struct, frozen=True):
    """What a try came to."""

    cost_nusd: int
    tokens: int
    basis: str
    """usage, partial, worst-case, rejected, unsent, crash."""
    input_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def confirmed(self) -> bool:
        """True where the provider's own usage says so, or nothing can have been billed."""
        return self.basis in ("usage", "rejected", "unsent")


_COLUMNS = columns(HoldRow)
_q_insert = f"INSERT INTO hold ({_COLUMNS}) VALUES ({placeholders(HoldRow)}) RETURNING id"
_q_get = f"SELECT {_COLUMNS} FROM hold WHERE id = ?"
_q_open = f"SELECT {_COLUMNS} FROM hold WHERE state = 'open' ORDER BY id"
_q_settle = (
    "UPDATE hold SET state = 'settled', cost_nusd = ?2, tokens = ?3, input_tokens = ?4, output_tokens = ?5,"
    " basis = ?6, confirmed = ?7, settled_at_ms = ?8 WHERE id = ?1"
)
_q_page = (
    f"SELECT {_COLUMNS} FROM hold WHERE state = 'settled' AND id > ?1"
    " AND id < coalesce((SELECT min(id) FROM hold WHERE state = 'open'), 9223372036854775807)"
    " AND (?2 IS NULL OR swarm_id = ?2) ORDER BY id LIMIT ?3"
)
_OVER = "FROM hold WHERE swarm_id = ?1 AND state = 'settled' AND cost_nusd > held_nusd"
_q_overruns = f"SELECT {_COLUMNS} {_OVER} ORDER BY id LIMIT ?2"
_q_overrun = f"SELECT count(*), coalesce(sum(cost_nusd - held_nusd), 0) {_OVER}"
_q_lately = (
    "SELECT started_at_ms / 1000 * 1000, count(*), coalesce(sum(tokens), 0) FROM hold"
    " WHERE swarm_id IS ?1 AND started_at_ms >= ?4 AND agent_id IS ?2 AND budget_id = coalesce(?3, budget_id)"
    " AND basis IS NOT 'unsent' GROUP BY 1 ORDER BY 1"
)

_q_last = (
    "SELECT held_nusd, held_tokens FROM hold WHERE swarm_id = ? AND agent_id = ? ORDER BY started_at_ms DESC"
    " LIMIT 1"
)
_q_largest = (
    "SELECT coalesce(max(held_nusd), 0), coalesce(max(held_tokens), 0) FROM (SELECT held_nusd, held_tokens"
    " FROM hold WHERE {where} LIMIT 20)"
)


def insert(tx: Tx, row: HoldRow) -> int:
    """Opens a hold on its budget and every budget above it, before a byte leaves; returns its id."""
    budgets.hold(tx, row.budget_id, row.held_nusd, row.held_tokens, row.task_id)
    hold_id: int = rows.value(tx.db, _q_insert, msgspec.structs.astuple(row))
    return hold_id


def get(db: Snapshot, hold_id: int) -> HoldRow:
    """The hold; it must exist."""
    row = rows.first(HoldRow, db, _q_get, (hold_id,))
    assert row is not None, f"no hold {hold_id}"
    return row


def open_holds(db: Snapshot) -> list[HoldRow]:
    """Holds of calls under way, oldest first."""
    return rows.every(HoldRow, db, _q_open)


def settle(tx: Tx, hold_id: int, settlement: Settlement) -> HoldRow | None:
    """Settles a hold and the budgets it is held on; None, and no change, where it was settled before."""
    row = get(tx.db, hold_id)
    if row.state != "open":
        return None
    figures = (settlement.cost_nusd, settlement.tokens, settlement.input_tokens, settlement.output_tokens)
    tx.execute(_q_settle, (hold_id, *figures, settlement.basis, int(settlement.confirmed), tx.now_ms))
    budgets.settle(
        tx,
        row.budget_id,
        held_nusd=row.held_nusd,
        held_tokens=row.held_tokens,
        cost_nusd=settlement.cost_nusd,
        tokens=settlement.tokens,
        confirmed=settlement.confirmed,
        task_id=row.task_id,
    )
    return row


def largest_lately(db: Snapshot, budget: budgets.BudgetRow) -> tuple[int, int]:
    """(nano-dollars, tokens) that the last calls under a budget have held at most; each way has its index."""
    lately = "ORDER BY started_at_ms DESC"
    where = {
        "project": "?1 IS ?1 AND ?2 IS ?2 ORDER BY id DESC",
        "swarm": f"swarm_id IS ?2 AND ?1 IS ?1 {lately}",
        "key": f"budget_id = ?1 AND agent_id IS NULL AND ?2 IS ?2 {lately}",
    }.get(budget.kind, f"swarm_id IS ?2 AND budget_id = ?1 {lately}")
    nusd, tokens = rows.table(db, _q_largest.format(where=where), (budget.id, budget.swarm_id))[0]
    return nusd, tokens


def page(db: Snapshot, swarm_id: str | None, after: int, limit: int) -> list[HoldRow]:
    """Settled tries in order, of one swarm or of all.

    It ends before the oldest try under way, so that whoever goes on from the last row misses none.
    """
    return rows.every(HoldRow, db, _q_page, (after, swarm_id, limit))


def overruns(db: Snapshot, swarm_id: str, limit: int) -> list[HoldRow]:
    """The swarm's calls that cost more than they held, oldest first."""
    return rows.every(HoldRow, db, _q_overruns, (swarm_id, limit))


def overrun(db: Snapshot, swarm_id: str) -> tuple[int, int]:
    """(how many those are, what they cost above their holds in all)."""
    count, nusd = rows.table(db, _q_overrun, (swarm_id,))[0]
    return count, nusd


def lately(
    db: Snapshot,
    since_ms: int,
    *,
    swarm_id: str | None,
    agent_id: str | None = None,
    budget_id: str | None = None,
) -> list[tuple[int, int, int]]:
    """(instant, tries, tokens) of one agent or one budget, by the second they began in, oldest first."""
    return rows.table(db, _q_lately, (swarm_id, agent_id, budget_id, since_ms))


def last(db: Snapshot, swarm_id: str, agent_id: str) -> tuple[int, int] | None:
    """(nano-dollars, tokens) that an agent's latest call held; None where it has made none."""
    found = rows.table(db, _q_last, (swarm_id, agent_id))
    return found[0] if found else None
