"""A limit that changes, and what follows from it: thresholds, shares that follow, and who goes on.

Whoever changes it, and however often: no limit comes to more than LIMIT_NUSD_MAX or TOKENS_MAX.
"""

import msgspec

from dashd.domain import budget as rules
from dashd.domain import dollars
from dashd.wire import errors

from . import allotments, budgets, thresholds
from .budgets import BudgetRow
from .transaction import Tx


class More(msgspec.Struct, frozen=True):
    """What is added to a budget's limits; 0 is nothing."""

    nusd: int = 0
    tokens: int = 0

    @property
    def text(self) -> str:
        """`$0.50`, `$0.50 and 5,000 tokens`."""
        return _text(self.nusd, self.tokens)


def text(row: BudgetRow, more: More) -> str:
    """What the limits would come to that are added to."""
    dollars_then = (row.limit_nusd or 0) + more.nusd if more.nusd else 0
    return _text(dollars_then, (row.limit_tokens or 0) + more.tokens if more.tokens else 0)


def check(row: BudgetRow, more: More) -> None:
    """Raises where so much cannot be added: Conflict without such a limit, InvalidParams past what may be."""
    for added, limit, most, unit, name in (
        (more.nusd, row.limit_nusd, rules.LIMIT_NUSD_MAX, "dollars", "usd"),
        (more.tokens, row.limit_tokens, rules.TOKENS_MAX, "tokens", "tokens"),
    ):
        if added and limit is None:
            raise errors.Conflict(
                f"budget {row.id} has no limit in {unit}, so there is nothing to add to",
                hint=f"budget.set {row.id} with limit_{name} gives it one",
                path="budget",
            )
        if added and (limit or 0) + added > most:
            shown = dollars.text if unit == "dollars" else "{:,} tokens".format
            raise errors.InvalidParams(
                f"budget {row.id} would come to {shown((limit or 0) + added)}; {shown(most)} is the most",
                hint=f"at most {shown(max(0, most - (limit or 0)))} can be added",
                path=name,
            )


def fitting(row: BudgetRow, more: More) -> More:
    """As much of it as can be added to the budget as it is now."""
    nusd = 0 if row.limit_nusd is None else min(more.nusd, rules.LIMIT_NUSD_MAX - row.limit_nusd)
    tokens = 0 if row.limit_tokens is None else min(more.tokens, rules.TOKENS_MAX - row.limit_tokens)
    return More(max(0, nusd), max(0, tokens))


def extend(tx: Tx, before: BudgetRow, more: More, why: str) -> int:
    """Adds to the limits; gives how many that had stopped go on. Raises what `check` does."""
    check(before, more)
    nusd = None if before.limit_nusd is None else before.limit_nusd + more.nusd
    tokens = None if before.limit_tokens is None else before.limit_tokens + more.tokens
    budgets.set_limits(tx, before.id, nusd, tokens)
    budgets.changed(
        tx,
        before.id,
        budgets.ChangeRow(tx.now_ms, "extended", before.limit_nusd, nusd, why, before.limit_tokens, tokens),
    )
    of_tokens = {"from_tokens": before.limit_tokens, "to_tokens": tokens} if more.tokens else {}
    tx.emit(
        "budget.extended",
        swarm=before.swarm_id,
        agent=before.id if before.kind == "agent" else None,
        task=before.id if before.kind == "task" else None,
        data={
            "budget": before.id,
            "from": dollars.usd_or_none(before.limit_nusd),
            "to": dollars.usd_or_none(nusd),
            "why": why,
            **of_tokens,
        },
    )
    return follow(tx, before)


def thaw(tx: Tx, before: BudgetRow, why: str) -> None:
    """Lets calls go again after an overrun, also those that wait for it; nothing where it is not frozen."""
    if before.frozen is None:
        return
    budgets.set_frozen(tx, before.id, None)
    budgets.change(tx, before.id, "thawed", before.limit_nusd, before.limit_nusd, why or before.frozen)
    tx.emit(
        "budget.thawed",
        swarm=before.swarm_id,
        agent=before.id if before.kind == "agent" else None,
        data={"budget": before.id, "was": before.frozen, "why": why},
    )
    tx.ring("agents")


def follow(tx: Tx, before: BudgetRow) -> int:
    """After a limit was set: thresholds lifted or silently passed, shares that follow, bells."""
    row = budgets.get(tx.db, before.id)
    raised = allotments.follow(tx, before, row) if row.kind == "swarm" else []
    lifted = [row, *(budgets.get(tx.db, each) for each in raised)]
    resumed = sum(thresholds.lift(tx, each) for each in lifted)
    thresholds.lower(tx, budgets.get(tx.db, before.id))
    tx.ring("agents")
    tx.ring("queue")
    return resumed


def grow(tx: Tx, swarm_id: str, seats_added: int) -> int:
    """Seats were added: their shares are freed from what was kept back for them; gives how many go on."""
    if not allotments.grow(tx, swarm_id, seats_added):
        return 0
    return follow(tx, budgets.get(tx.db, swarm_id))


def _text(nusd: int, tokens: int) -> str:
    parts = [dollars.text(nusd)] if nusd else []
    return " and ".join([*parts, f"{tokens:,} tokens"] if tokens else parts)
