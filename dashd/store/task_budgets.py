"""Budget nodes of tasks: a task has one from when somebody limits it, whoever works on it.

It stands under its swarm, but a call comes to it through the seat that works on the task: the call is held on
the seat's path and on the task's node beside it. What the task has held and spent before it had a node counts
from the first. The node's `pause` pauses that seat, for as long as it works on the task.
"""

import msgspec

from . import agents, attempts, budgets, rows, tasks
from .budgets import BudgetRow
from .rows import Snapshot
from .transaction import Tx

KIND = "task"
_q_sums = (
    "SELECT coalesce(sum(iif(state = 'open', held_nusd, 0)), 0), coalesce(sum(cost_nusd), 0),"
    " coalesce(sum(iif(confirmed = 0, cost_nusd, 0)), 0), coalesce(sum(max(0, cost_nusd - held_nusd)), 0),"
    " coalesce(sum(iif(state = 'open', held_tokens, 0)), 0), coalesce(sum(tokens), 0)"
    " FROM hold WHERE swarm_id = ? AND task_id = ?"
)


def ensure(tx: Tx, budget_id: str) -> BudgetRow:
    """The node, made now where it is of a task that has none; raises NotFound."""
    task = None if budgets.find(tx.db, budget_id) else tasks.find(tx.db, budget_id)
    if task is None or budgets.find(tx.db, task.swarm_id) is None:
        return budgets.get(tx.db, budget_id)
    held, spent, unconfirmed, overrun, held_tokens, spent_tokens = rows.table(
        tx.db, _q_sums, (task.swarm_id, task.id)
    )[0]
    fresh = budgets.new(task.id, KIND, task.swarm_id, task.swarm_id, at_ms=tx.now_ms)
    row = msgspec.structs.replace(
        fresh,
        held_nusd=held,
        spent_nusd=spent,
        unconfirmed_nusd=unconfirmed,
        overrun_nusd=overrun,
        held_tokens=held_tokens,
        spent_tokens=spent_tokens,
    )
    budgets.insert(tx, row)
    return row


def beside(db: Snapshot, task_id: str | None) -> list[BudgetRow]:
    """The task's node, which is charged beside the path of the seat; none where it has none."""
    row = None if task_id is None else budgets.find(db, task_id)
    return [] if row is None else [row]


def seat_of(db: Snapshot, row: BudgetRow) -> str | None:
    """The agent that works on the node's task now."""
    run = attempts.open_of_task(db, row.id)
    return None if run is None else run.agent_id


def left(tx: Tx, agent_id: str, task_id: str) -> None:
    """The seat works on the task no more: what the task's budget has paused of it goes on."""
    seat = budgets.find(tx.db, agent_id)
    if seat is None or seat.paused_by != task_id:
        return
    budgets.set_paused_by(tx, agent_id, None)
    spent = (each for each in budgets.path(tx.db, agent_id) if each.kind == "agent")
    other = next((each for each in spent if each.reached == 100 and each.action_100 == "pause"), None)
    if other is not None:
        budgets.set_paused_by(tx, agent_id, other.id)
    elif agents.get(tx.db, agent_id).wanted == "pause":
        agents.set_wanted(tx, agent_id, "run")
