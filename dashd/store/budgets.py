"""Tables `budget`, `budget_above` and `budget_change`: the tree of who may spend how much."""

import msgspec

from dashd.domain import budget as rules
from dashd.wire import errors

from . import rows
from .rows import Snapshot, columns, placeholders
from .transaction import Tx

PROJECT = "project"


class BudgetRow(msgspec.Struct, frozen=True):
    """Table `budget`; dollars are integer nano-dollars."""

    id: str
    kind: str
    parent_id: str | None
    swarm_id: str | None
    limit_nusd: int | None
    limit_tokens: int | None
    allotment_nusd: int | None
    reserve_nusd: int
    held_nusd: int
    spent_nusd: int
    unconfirmed_nusd: int
    overrun_nusd: int
    held_tokens: int
    spent_tokens: int
    frozen: str | None
    reached: int
    action_75: str
    action_90: str
    action_100: str
    ended: int
    created_at_ms: int
    seat_rule: str | None = None
    seat_nusd: int | None = None
    paused_by: str | None = None
    need_nusd: int | None = None
    need_tokens: int | None = None
    set_by: str | None = None


class ChangeRow(msgspec.Struct, frozen=True):
    """Table `budget_change`."""

    at_ms: int
    kind: str
    from_nusd: int | None
    to_nusd: int | None
    why: str
    from_tokens: int | None = None
    to_tokens: int | None = None
    actions: str = ""


_COLUMNS = columns(BudgetRow)
_q_get = f"SELECT {_COLUMNS} FROM budget WHERE id = ?"
_q_insert = f"INSERT INTO budget ({_COLUMNS}) VALUES ({placeholders(BudgetRow)})"
_q_insert_above = (
    "INSERT INTO budget_above (id, above_id)"
    " SELECT ?1, above_id FROM budget_above WHERE id = ?2 UNION SELECT ?1, ?1"
)
_q_path = (
    f"WITH RECURSIVE path (id, depth) AS (SELECT ?1, 0 UNION ALL SELECT b.parent_id, depth + 1"
    " FROM path JOIN budget b ON b.id = path.id WHERE b.parent_id IS NOT NULL)"
    f" SELECT {columns(BudgetRow, 'b.')} FROM path JOIN budget b ON b.id = path.id ORDER BY depth"
)
_q_live = (
    "SELECT count(*) FROM budget_above a JOIN budget b ON b.id = a.id"
    " WHERE a.above_id = ? AND b.kind = 'agent' AND b.ended = 0"
)
_q_children = f"SELECT {_COLUMNS} FROM budget WHERE parent_id = ? ORDER BY id"
_q_hold = (
    "UPDATE budget SET held_nusd = held_nusd + ?2, held_tokens = held_tokens + ?3"
    " WHERE id IN (SELECT above_id FROM budget_above WHERE id = ?1 UNION ALL SELECT ?4)"
)
_q_settle = (
    "UPDATE budget SET held_nusd = held_nusd - ?2, held_tokens = held_tokens - ?3,"
    " spent_nusd = spent_nusd + ?4, spent_tokens = spent_tokens + ?5,"
    " unconfirmed_nusd = unconfirmed_nusd + ?6, overrun_nusd = overrun_nusd + ?7"
    " WHERE id IN (SELECT above_id FROM budget_above WHERE id = ?1 UNION ALL SELECT ?8)"
)
_q_limit = "UPDATE budget SET limit_nusd = ?2, limit_tokens = ?3 WHERE id = ?1"
_q_set_by = "UPDATE budget SET set_by = ?2 WHERE id = ?1"
_q_actions = "UPDATE budget SET action_75 = ?2, action_90 = ?3, action_100 = ?4 WHERE id = ?1"
_q_reached = "UPDATE budget SET reached = ?2 WHERE id = ?1"
_q_frozen = "UPDATE budget SET frozen = ?2 WHERE id = ?1"
_q_need = "UPDATE budget SET need_nusd = ?2, need_tokens = ?3 WHERE id = ?1"
_q_ended = "UPDATE budget SET ended = ?2 WHERE id = ?1"
_q_share = (
    "UPDATE budget SET allotment_nusd = ?2, reserve_nusd = ?3, seat_rule = ?4, seat_nusd = ?5 WHERE id = ?1"
)
_q_paused_by = "UPDATE budget SET paused_by = ?2 WHERE id = ?1"
_q_refused = f"SELECT {_COLUMNS} FROM budget WHERE need_nusd IS NOT NULL ORDER BY id"
_q_paused = f"SELECT {_COLUMNS} FROM budget WHERE paused_by = ? ORDER BY id"
_q_change = (
    f"INSERT INTO budget_change (budget_id, {columns(ChangeRow)}) VALUES (?, {placeholders(ChangeRow)})"
)
_q_changes = f"SELECT {columns(ChangeRow)} FROM budget_change WHERE budget_id = ? ORDER BY id DESC LIMIT ?"


def new(
    budget_id: str,
    kind: str,
    parent: str | None,
    swarm_id: str | None,
    *,
    at_ms: int,
    limit: int | None = None,
) -> BudgetRow:
    """A node that has spent nothing, not yet in the table; `limit` in nano-dollars."""
    return BudgetRow(
        id=budget_id,
        kind=kind,
        parent_id=parent,
        swarm_id=swarm_id,
        limit_nusd=limit,
        limit_tokens=None,
        allotment_nusd=None,
        reserve_nusd=0,
        held_nusd=0,
        spent_nusd=0,
        unconfirmed_nusd=0,
        overrun_nusd=0,
        held_tokens=0,
        spent_tokens=0,
        frozen=None,
        reached=0,
        action_75="notify",
        action_90="notify",
        action_100="pause",
        ended=0,
        created_at_ms=at_ms,
    )


def insert(tx: Tx, row: BudgetRow) -> None:
    """Adds a node under its parent, which must exist."""
    tx.execute(_q_insert, msgspec.structs.astuple(row))
    tx.execute(_q_insert_above, (row.id, row.parent_id))
    change(tx, row.id, "created", None, row.limit_nusd)


def find(db: Snapshot, budget_id: str) -> BudgetRow | None:
    """The node, if there is one."""
    return rows.first(BudgetRow, db, _q_get, (budget_id,))


def get(db: Snapshot, budget_id: str) -> BudgetRow:
    """The node; raises NotFound."""
    row = find(db, budget_id)
    if row is None:
        raise errors.NotFound(
            f"there is no budget {budget_id!r}",
            hint="a budget is named project, or by the id of a swarm, an agent, a key or a task; a task has"
            " one from when budget.set gives it a limit",
            path="budget",
        )
    return row


def path(db: Snapshot, budget_id: str) -> list[BudgetRow]:
    """The node and every node above it, the root last."""
    return rows.every(BudgetRow, db, _q_path, (budget_id,))


def live_count(db: Snapshot, budget_id: str) -> int:
    """Agents at or under the node that have not ended."""
    count: int = rows.value(db, _q_live, (budget_id,))
    return count


def node(db: Snapshot, row: BudgetRow) -> rules.Node:
    """The node as the rules see it. Who shares it is counted where there is something to share: that is the
    dear part.
    """
    shared = row.limit_nusd is not None or row.limit_tokens is not None
    return rules.Node(
        id=row.id,
        limit=row.limit_nusd,
        reserve=row.reserve_nusd,
        held=row.held_nusd,
        spent=row.spent_nusd,
        live=max(1, live_count(db, row.id)) if shared else 1,
        frozen=row.frozen,
        limit_tokens=row.limit_tokens,
        held_tokens=row.held_tokens,
        spent_tokens=row.spent_tokens,
        need=row.need_nusd,
        need_tokens=row.need_tokens,
    )


def children(db: Snapshot, budget_id: str) -> list[BudgetRow]:
    """The nodes right under this one."""
    return rows.every(BudgetRow, db, _q_children, (budget_id,))


def hold(tx: Tx, budget_id: str, nusd: int, tokens: int, task_id: str | None = None) -> None:
    """Holds on the node, on every node above it and on the task's, where it has one.

    Whether it fits was decided in this same operation.
    """
    tx.execute(_q_hold, (budget_id, nusd, tokens, task_id))


def settle(
    tx: Tx,
    budget_id: str,
    *,
    held_nusd: int,
    held_tokens: int,
    cost_nusd: int,
    tokens: int,
    confirmed: bool,
    task_id: str | None = None,
) -> None:
    """Turns a hold into what was spent, on the nodes that it was held on."""
    unconfirmed = 0 if confirmed else cost_nusd
    overrun = max(0, cost_nusd - held_nusd)
    figures = (held_nusd, held_tokens, cost_nusd, tokens, unconfirmed, overrun)
    tx.execute(_q_settle, (budget_id, *figures, task_id))


def set_limits(tx: Tx, budget_id: str, limit_nusd: int | None, limit_tokens: int | None) -> None:
    """Sets the limits; None is none."""
    tx.execute(_q_limit, (budget_id, limit_nusd, limit_tokens))


def set_by_hand(tx: Tx, budget_id: str, by: str | None) -> None:
    """Remembers who set the limits by hand, and so means them to stay; None: nobody did."""
    tx.execute(_q_set_by, (budget_id, by))


def set_actions(tx: Tx, budget_id: str, at_75: str, at_90: str, at_100: str) -> None:
    """Sets what happens at each threshold."""
    tx.execute(_q_actions, (budget_id, at_75, at_90, at_100))


def set_reached(tx: Tx, budget_id: str, reached: int) -> None:
    """Remembers which threshold was told."""
    tx.execute(_q_reached, (budget_id, reached))


def set_frozen(tx: Tx, budget_id: str, why: str | None) -> None:
    """Nothing may be held on the node while it is frozen; None thaws it."""
    tx.execute(_q_frozen, (budget_id, why))


def set_need(tx: Tx, budget_id: str, nusd: int | None, tokens: int | None) -> None:
    """Remembers what a call must hold at least that the node has refused; None: one has fit since."""
    tx.execute(_q_need, (budget_id, nusd, tokens))


def set_ended(tx: Tx, budget_id: str, *, ended: bool) -> None:
    """An ended agent's node no longer shares its parent's headroom."""
    tx.execute(_q_ended, (budget_id, int(ended)))


def set_share(
    tx: Tx, budget_id: str, *, allotment: int | None, reserve: int, rule: str | None, seat: int | None
) -> None:
    """Sets what is shown as the node's share, what it keeps back, and what each seat under it gets."""
    tx.execute(_q_share, (budget_id, allotment, reserve, rule, seat))


def set_paused_by(tx: Tx, budget_id: str, by: str | None) -> None:
    """Remembers which budget has paused the node's swarm or agent; None: none has."""
    tx.execute(_q_paused_by, (budget_id, by))


def refused(db: Snapshot) -> list[BudgetRow]:
    """The nodes that have kept out a call since one has fit."""
    return rows.every(BudgetRow, db, _q_refused, ())


def paused(db: Snapshot, by: str) -> list[BudgetRow]:
    """The nodes whose swarm or agent this budget has paused."""
    return rows.every(BudgetRow, db, _q_paused, (by,))


def change(tx: Tx, budget_id: str, kind: str, before: int | None, after: int | None, why: str = "") -> None:
    """Writes a change of the limit in dollars into the node's history, or what else has happened to it."""
    changed(tx, budget_id, ChangeRow(tx.now_ms, kind, before, after, why))


def changed(tx: Tx, budget_id: str, row: ChangeRow) -> None:
    """Writes a change into the node's history."""
    tx.execute(_q_change, (budget_id, *msgspec.structs.astuple(row)))


def changes(db: Snapshot, budget_id: str, limit: int) -> list[ChangeRow]:
    """The node's history, newest first."""
    return rows.every(ChangeRow, db, _q_changes, (budget_id, limit))
