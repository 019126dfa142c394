"""Budget nodes of swarms and seats: made with them, shared among them, ended with them.

A swarm's node stands under the project, a seat's under its swarm or its parent. What a seat gets is its
swarm's rule: an allotment (shown, not a cap), a cap, or an even cap that follows the swarm's limit.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from dashd.domain import budget as rules
from dashd.domain import standing

from . import budgets
from .budgets import BudgetRow
from .rows import AgentRow, Snapshot
from .transaction import Tx

SeatRule = Literal["allotment", "cap", "even"]


class Terms(msgspec.Struct, frozen=True):
    """What a new swarm may spend, in nano-dollars."""

    limit: int = rules.DEFAULT_CEILING_NUSD
    reserve: int = 0
    seat_rule: SeatRule | None = None
    seat_nusd: int | None = None
    names: Sequence[str] = ()
    """Of the first seats; empty ones are called by their number."""
    own: Mapping[int, int] = msgspec.field(default_factory=dict)
    """Seats, by number from 1, with a cap of their own."""


def open_swarm(tx: Tx, swarm_id: str, terms: Terms) -> None:
    """Makes the node of a new swarm; its seats' nodes are made with the seats."""
    row = budgets.new(swarm_id, "swarm", budgets.PROJECT, swarm_id, at_ms=tx.now_ms, limit=terms.limit)
    row = msgspec.structs.replace(
        row, reserve_nusd=terms.reserve, seat_rule=terms.seat_rule, seat_nusd=terms.seat_nusd
    )
    budgets.insert(tx, row)


def open_seat(tx: Tx, seat: AgentRow, cap: int | None = None) -> None:
    """Makes the node of a new seat; `cap` is its own, instead of its swarm's rule or its parent's share."""
    if budgets.find(tx.db, seat.swarm_id) is None:  # a swarm from before there were budgets
        open_swarm(tx, seat.swarm_id, Terms())
    swarm = budgets.get(tx.db, seat.swarm_id)
    row = budgets.new(seat.id, "agent", seat.parent_id or swarm.id, swarm.id, at_ms=tx.now_ms)
    if cap is not None:
        row = msgspec.structs.replace(row, limit_nusd=cap)
    elif seat.parent_id:
        row = msgspec.structs.replace(row, limit_nusd=rules.child_limit(least_left(tx.db, seat.parent_id)))
    elif swarm.seat_rule == "allotment":
        row = msgspec.structs.replace(row, allotment_nusd=swarm.seat_nusd)
    elif swarm.seat_rule is not None:
        row = msgspec.structs.replace(row, limit_nusd=swarm.seat_nusd)
    budgets.insert(tx, row)


def end_seat(tx: Tx, agent_id: str) -> None:
    """An ended seat no longer shares its swarm's headroom."""
    budgets.set_ended(tx, agent_id, ended=True)


def reopen_seat(tx: Tx, agent_id: str) -> None:
    """A seat that takes tasks again shares again."""
    budgets.set_ended(tx, agent_id, ended=False)


def may_spend(db: Snapshot, agent_id: str) -> bool:
    """Whether the seat's own node lets calls go; those above it are all seats' alike."""
    row = budgets.find(db, agent_id)
    return row is None or standing.blocked(budgets.node(db, row)) is None


def succeed(
    tx: Tx, before_id: str, after_id: str, *, why: str = "it replaces", only_left: bool = False
) -> None:
    """A seat replaces an ended one, or goes on with its work: it gets that one's limits where they are
    tighter (`only_left`: what is left of them), who set them, and its actions.
    """
    before, after = budgets.find(tx.db, before_id), budgets.get(tx.db, after_id)
    if before is None:
        return
    nusd, tokens = own_left(before) if only_left else (before.limit_nusd, before.limit_tokens)
    limit = _tighter(nusd, after.limit_nusd)
    budgets.set_limits(tx, after.id, limit, _tighter(tokens, after.limit_tokens))
    budgets.set_by_hand(tx, after.id, before.set_by)
    budgets.set_actions(tx, after.id, before.action_75, before.action_90, before.action_100)
    if limit != after.limit_nusd:
        budgets.change(tx, after.id, "set", after.limit_nusd, limit, f"{why} {before.id}")


def own_left(row: BudgetRow) -> tuple[int | None, int | None]:
    """(nano-dollars, tokens) of a node's own limits that are not spent, held or kept back; None: no limit."""
    gone = row.spent_nusd + row.held_nusd + row.reserve_nusd
    nusd = None if row.limit_nusd is None else max(0, row.limit_nusd - gone)
    spent = row.spent_tokens + row.held_tokens
    return nusd, None if row.limit_tokens is None else max(0, row.limit_tokens - spent)


def _tighter(one: int | None, other: int | None) -> int | None:
    return min((each for each in (one, other) if each is not None), default=None)


def grow(tx: Tx, swarm_id: str, seats_added: int) -> int:
    """Seats were added to a swarm: frees their shares from what was kept back for them; returns how much."""
    row = budgets.find(tx.db, swarm_id)
    if row is None or not row.reserve_nusd or row.seat_nusd is None:
        return 0
    freed = min(row.reserve_nusd, seats_added * row.seat_nusd)
    budgets.set_share(
        tx,
        row.id,
        allotment=row.allotment_nusd,
        reserve=row.reserve_nusd - freed,
        rule=row.seat_rule,
        seat=row.seat_nusd,
    )
    return freed


def follow(tx: Tx, before: BudgetRow, after: BudgetRow) -> list[str]:
    """A swarm's limit was raised: its open seats' even caps and allotments rise; gives the raised caps."""
    if before.seat_rule not in ("even", "allotment") or before.seat_nusd is None:
        return []
    if before.limit_nusd is None or after.limit_nusd is None or after.limit_nusd <= before.limit_nusd:
        return []
    seats = [row for row in budgets.children(tx.db, before.id) if row.kind == "agent" and not row.ended]
    each = (after.limit_nusd - before.limit_nusd) // max(1, len(seats))
    budgets.set_share(
        tx,
        before.id,
        allotment=after.allotment_nusd,
        reserve=after.reserve_nusd,
        rule=after.seat_rule,
        seat=before.seat_nusd + each,
    )
    for row in seats:
        if before.seat_rule == "allotment" and row.allotment_nusd is not None:
            share = row.allotment_nusd + each
            budgets.set_share(tx, row.id, allotment=share, reserve=row.reserve_nusd, rule=None, seat=None)
        elif before.seat_rule == "even" and row.limit_nusd is not None:
            budgets.set_limits(tx, row.id, row.limit_nusd + each, row.limit_tokens)
            budgets.change(tx, row.id, "extended", row.limit_nusd, row.limit_nusd + each, "with its swarm")
    return [row.id for row in seats if before.seat_rule == "even" and row.limit_nusd is not None]


def tightest(db: Snapshot, budget_id: str) -> tuple[BudgetRow, int] | None:
    """(the node on the path that has the least left, how much that is); None where nothing is limited."""
    left = [
        (headroom, index, row)
        for index, row in enumerate(budgets.path(db, budget_id))
        if (headroom := budgets.node(db, row).headroom) is not None
    ]
    if not left:
        return None
    headroom, _, row = min(left, key=lambda each: each[:2])
    return row, headroom


def least_left(db: Snapshot, budget_id: str) -> int | None:
    """What is left to spend at the node, whatever is held; None where nothing is limited."""
    found = tightest(db, budget_id)
    return None if found is None else found[1]
