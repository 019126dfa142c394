"""Settles a hold, once, inside an operation of the store: what it costs, what is told of it, and a freeze
where the provider billed more than the worst case.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from dashd.domain import budget as rules
from dashd.domain.prices import Price
from dashd.store import budgets, holds, situations, task_budgets, thresholds
from dashd.store.holds import HoldRow, Settlement
from dashd.store.transaction import Tx

Models = Sequence[tuple[str, Price]]
"""Those that could be called instead."""


class Happened(msgspec.Struct, frozen=True):
    """An event that is written together with a settlement; whose it is, the hold says."""

    kind: str
    data: dict[str, Any]


def settle(
    tx: Tx, hold_id: int, settlement: Settlement, happened: Sequence[Happened] = (), models: Models = ()
) -> bool:
    """False where it was settled before."""
    row = holds.settle(tx, hold_id, settlement)
    if row is None:
        return False
    if settlement.cost_nusd > row.held_nusd or _over_in_tokens(tx, row, settlement):
        _overrun(tx, row, settlement)
    thresholds.look(tx, row.budget_id, row.task_id, models)
    for event in happened:
        tx.emit(event.kind, swarm=row.swarm_id, agent=row.agent_id, task=row.task_id, data=event.data)
    return True


def _over_in_tokens(tx: Tx, row: HoldRow, settlement: Settlement) -> bool:
    """Cheap tokens (cached ones) may be more than the worst case and cost less; it counts where a budget
    limits tokens, since only there could a limit be passed by it.
    """
    if settlement.tokens <= row.held_tokens:
        return False
    path = task_budgets.beside(tx.db, row.task_id) + budgets.path(tx.db, row.budget_id)
    return any(each.limit_tokens is not None for each in path)


def _overrun(tx: Tx, row: HoldRow, settlement: Settlement) -> None:
    """The provider billed more than the worst case: the node is frozen until a person has looked."""
    over, tokens = settlement.cost_nusd - row.held_nusd, settlement.tokens - row.held_tokens
    why = f"{row.model} cost ${over / rules.NUSD:.6f} more than its worst case; its price is wrong"
    if over <= 0:
        why = f"{row.model} used {tokens:,} tokens more than its worst case, by what its provider says"
    budgets.set_frozen(tx, row.budget_id, why)
    budgets.change(tx, row.budget_id, "overrun", row.held_nusd, settlement.cost_nusd, why)
    tx.emit(
        "budget.overrun",
        swarm=row.swarm_id,
        agent=row.agent_id,
        task=row.task_id,
        data={
            "budget": row.budget_id,
            "held": row.held_nusd / rules.NUSD,
            "cost": settlement.cost_nusd / rules.NUSD,
            "text": f"budget {row.budget_id} is frozen: {why}",
            "options": situations.options(tx.db, budgets.get(tx.db, row.budget_id), tx.now_ms),
        },
    )
