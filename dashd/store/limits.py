"""A limit that changes, and what follows from it: thresholds, shares that follow, and who goes on."""

from dashd.domain import dollars

from . import allotments, budgets, thresholds
from .budgets import BudgetRow
from .transaction import Tx


def extend(tx: Tx, before: BudgetRow, nusd: int, why: str) -> int:
    """Adds to a limit in dollars; gives how many that had stopped go on."""
    assert before.limit_nusd is not None, f"budget {before.id} has no limit"
    limit = before.limit_nusd + nusd
    budgets.set_limits(tx, before.id, limit, before.limit_tokens)
    budgets.change(tx, before.id, "extended", before.limit_nusd, limit, why)
    tx.emit(
        "budget.extended",
        swarm=before.swarm_id,
        agent=before.id if before.kind == "agent" else None,
        data={
            "budget": before.id,
            "from": dollars.usd(before.limit_nusd),
            "to": dollars.usd(limit),
            "why": why,
        },
    )
    return follow(tx, before)


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
