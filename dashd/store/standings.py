"""How budgets stand to the next call, by the rows: what keeps it out, and who is over."""

from dashd.domain import standing
from dashd.domain import swarm as swarm_rules

from . import budgets, rows, swarms
from .budgets import BudgetRow
from .rows import Snapshot

_q_at_work = (
    "SELECT a.id FROM budget_above b JOIN agent a ON a.id = b.id JOIN swarm s ON s.id = a.swarm_id"
    " WHERE b.above_id = ? AND a.state IN ('spawning', 'running') AND a.wanted = 'run' AND s.state = 'active'"
)


def blocked(db: Snapshot, budget_id: str) -> tuple[BudgetRow, standing.Blocked] | None:
    """What keeps the next call of this budget out: its own limits first, then those above it."""
    for row in budgets.path(db, budget_id):
        if found := standing.blocked(budgets.node(db, row)):
            return row, found
    return None


def text(db: Snapshot, budget_id: str) -> str:
    """The same as a sentence; a budget above is named. Empty where the next call may go."""
    found = blocked(db, budget_id)
    if found is None:
        return ""
    return found[1].text if found[0].id == budget_id else f"budget {found[0].id}: {found[1].text}"


def at_work(db: Snapshot, budget_id: str) -> list[str]:
    """The agents at or under the node that work on something and that nobody has paused."""
    return [agent_id for (agent_id,) in rows.table(db, _q_at_work, (budget_id,))]


def is_over(db: Snapshot, row: BudgetRow) -> bool:
    """Nobody will spend from it any more: its swarm or its agent has ended."""
    swarm = swarms.find(db, row.swarm_id) if row.swarm_id else None
    return bool(row.ended) or (swarm is not None and swarm.state in swarm_rules.ENDED)
