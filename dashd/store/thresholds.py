"""What follows when a share of a limit is spent: it is told once, written down, and acted upon.

75 warns · 90 is critical · 100 stops; each node says what stopping means: notify, pause, kill or none
"""

from collections.abc import Sequence
from typing import Any

from dashd.domain import budget as rules
from dashd.domain import outlook, standing
from dashd.domain import swarm as swarm_rules
from dashd.domain.prices import Price

from . import agents, budgets, lifecycle, situations, standings, stops, swarms, task_budgets, tasks
from .budgets import BudgetRow
from .rows import Snapshot
from .transaction import Tx

Models = Sequence[tuple[str, Price]]


def look(tx: Tx, budget_id: str, task_id: str | None = None, models: Models = ()) -> None:
    """After a settlement: tells what the node, those above it and the task's have newly passed.

    `models` are those that could be called instead, with what they cost.
    """
    for row in task_budgets.beside(tx.db, task_id) + budgets.path(tx.db, budget_id):
        mark = _passed(row)
        if mark > row.reached:
            _tell(tx, row, mark, models)


def stop(tx: Tx, budget_id: str, models: Models = ()) -> None:
    """The next useful call does not fit what is left: the node is at its end, whatever the exact share."""
    row = budgets.get(tx.db, budget_id)
    if row.reached < 100:
        _tell(tx, row, 100, models)
    elif row.kind == "task" and row.action_100 == "pause" and _was_told(tx, row):
        _pause(tx, row)  # another run of it, maybe in another seat


def lift(tx: Tx, row: BudgetRow) -> int:
    """After more became usable: forgets thresholds that are not passed any more; what had stopped goes on.

    Returns how many swarms and agents go on; none while the next call is still kept out.
    """
    reached = _passed(row)
    if reached >= row.reached or _keeps_out(tx.db, row):
        return 0
    budgets.set_reached(tx, row.id, reached)
    return _resume(tx, row) if reached < 100 else 0


def reconsider(tx: Tx, budget_id: str) -> None:
    """The next call costs something else by now: what only the last one's need had stopped goes on, until the
    next one does not fit either.
    """
    for row in budgets.path(tx.db, budget_id):
        budgets.set_need(tx, row.id, None, None)
        lift(tx, budgets.get(tx.db, row.id))  # with its need its row has changed


def reconsider_all(tx: Tx) -> None:
    """The same for whoever was refused a call: a price has changed."""
    for row in budgets.refused(tx.db):
        reconsider(tx, row.id)


def lower(tx: Tx, row: BudgetRow) -> None:
    """After a limit was lowered: what is passed by that alone is not told and not acted upon, ever."""
    budgets.set_reached(tx, row.id, max(row.reached, _passed(row)))


def stopped_by(db: Snapshot, budget_id: str) -> BudgetRow | None:
    """The budget that has paused this swarm or agent and still keeps its next call out."""
    by = _pauser(db, budget_id)
    return by if by is not None and _keeps_out(db, by) else None


def release(tx: Tx, budget_id: str) -> None:
    """Before a resume by hand: budgets that have paused this swarm or agent and keep nothing out any more
    forget that they had come to their end, so that it counts when they do again.
    """
    while (by := _pauser(tx.db, budget_id)) is not None and not _keeps_out(tx.db, by):
        lift(tx, by)


def _pauser(db: Snapshot, budget_id: str) -> BudgetRow | None:
    row = budgets.find(db, budget_id)
    by = None if row is None or row.paused_by is None else budgets.get(db, row.paused_by)
    return by if by is not None and by.reached == 100 else None


def _keeps_out(db: Snapshot, row: BudgetRow) -> bool:
    """Whether the next call does not go, by this node alone."""
    return row.reached == 100 and standing.blocked(budgets.node(db, row)) is not None


def _passed(row: BudgetRow) -> int:
    """By dollars or by tokens, whichever is further; what is kept back for scaling counts as not there."""
    usable = None if row.limit_nusd is None else max(0, row.limit_nusd - row.reserve_nusd)
    return max(rules.passed(row.spent_nusd, usable), rules.passed(row.spent_tokens, row.limit_tokens))


def _was_told(tx: Tx, row: BudgetRow) -> bool:
    """Whether its end is the last that happened to it; where a limit was lowered below it, that is not."""
    return budgets.changes(tx.db, row.id, 1)[0].kind == "threshold"


def _tell(tx: Tx, row: BudgetRow, mark: int, models: Models) -> None:
    budgets.set_reached(tx, row.id, mark)
    early = mark == 100 and _passed(row) < 100
    why = standings.text(tx.db, row.id) if early else f"{mark} %"
    budgets.change(tx, row.id, "threshold", row.limit_nusd, row.spent_nusd, why)
    action = {75: row.action_75, 90: row.action_90, 100: row.action_100}[mark]
    tx.emit(
        "budget.threshold",
        swarm=row.swarm_id,
        agent=row.id if row.kind == "agent" else None,
        task=row.id if row.kind == "task" else None,
        data=_told(tx, budgets.get(tx.db, row.id), mark, models, action),
    )
    if action == "pause":
        _pause(tx, row)
    elif action == "kill":
        _kill(tx, row, mark)


def _told(tx: Tx, row: BudgetRow, mark: int, models: Models, action: str) -> dict[str, Any]:
    """What a reader of the event needs to decide: figures, where it is going, and what can be done.

    Nothing of it lets go on what is killed in this same operation, so nothing of that kind is offered then.
    """
    projected = situations.projected(tx.db, row, tx.now_ms)
    told: dict[str, Any] = {
        "budget": row.id,
        "threshold": mark,
        "spent": row.spent_nusd / rules.NUSD,
        "allocated": None if row.limit_nusd is None else row.limit_nusd / rules.NUSD,
        "projected": None if projected is None else projected / rules.NUSD,
        "action": action,
    }
    if row.kind == "swarm":
        found = outlook.look(situations.of_swarm(tx.db, row.id, tx.now_ms), models)
        told |= {"text": found.text, "suggestions": [] if action == "kill" else found.suggestions}
    elif text := standings.text(tx.db, row.id):
        told["text"] = text
    if row.limit_tokens is not None:
        told |= {"spent_tokens": row.spent_tokens, "allocated_tokens": row.limit_tokens}
    if mark == 100:
        told["options"] = situations.options(tx.db, row, tx.now_ms) if action != "kill" else _review(row)
    return told


def _review(row: BudgetRow) -> list[str]:
    return [f"swarm.report {row.swarm_id}: review what there is"] if row.swarm_id else []


def _swarms_of(tx: Tx, row: BudgetRow) -> list[str]:
    if row.kind == "project":
        return [child.id for child in budgets.children(tx.db, row.id) if child.kind == "swarm"]
    return [row.id] if row.kind == "swarm" else []


def _pause(tx: Tx, row: BudgetRow) -> None:
    for swarm_id in _swarms_of(tx, row):
        swarm = swarms.get(tx.db, swarm_id)
        if swarm.state == "active":
            swarms.set_state(tx, swarm, "paused")
            budgets.set_paused_by(tx, swarm_id, row.id)
            tx.emit("swarm.paused", swarm=swarm_id, data={"by": "budget", "budget": row.id})
    seat = row.id if row.kind == "agent" else task_budgets.seat_of(tx.db, row) if row.kind == "task" else None
    if seat is not None and agents.get(tx.db, seat).wanted == "run":
        agents.set_wanted(tx, seat, "pause")
        budgets.set_paused_by(tx, seat, row.id)
    tx.ring("agents")


def _resume(tx: Tx, row: BudgetRow) -> int:
    """What this budget has paused, and nothing that somebody else has."""
    resumed = 0
    for held in budgets.paused(tx.db, row.id):
        above = budgets.path(tx.db, held.id)
        other = next((each for each in above if each.reached == 100 and each.action_100 == "pause"), None)
        budgets.set_paused_by(tx, held.id, other.id if other else None)
        if other is None:
            resumed += _go_on(tx, held, row.id)
    tx.ring("agents")
    tx.ring("queue")
    return resumed


def _go_on(tx: Tx, held: BudgetRow, by: str) -> int:
    if held.kind == "agent":
        paused = agents.get(tx.db, held.id).wanted == "pause"
        if paused:
            agents.set_wanted(tx, held.id, "run")
        return int(paused)
    swarm = swarms.get(tx.db, held.id)
    if swarm.state != "paused":
        return 0
    swarms.set_state(tx, swarm, "active")
    tx.emit("swarm.resumed", swarm=held.id, data={"by": "budget", "budget": by})
    return 1


def _kill(tx: Tx, row: BudgetRow, mark: int) -> None:
    """Ends what the budget belongs to; its tasks and agents keep the cause."""
    cause = f"ended by budget {row.id}: {standings.text(tx.db, row.id) or f'{mark} % is spent'}"
    for swarm_id in _swarms_of(tx, row):
        swarm = swarms.get(tx.db, swarm_id)
        if swarm.state in swarm_rules.OPEN:
            for task in tasks.open_tasks(tx.db, swarm_id):
                stops.cancel(tx, task, cause)
            for seat in agents.open_seats(tx.db, swarm_id):
                stops.kill(tx, seat, requeue=False, cause=cause)
            lifecycle.settle_swarm(tx, swarm_id)
    if row.kind == "task":
        task = tasks.get(tx.db, row.id)
        stops.cancel(tx, task, cause)
        lifecycle.settle_swarm(tx, task.swarm_id)
    if row.kind == "agent":
        seat = agents.get(tx.db, row.id)
        if seat.state not in ("completed", "failed", "killed") and seat.wanted != "kill":
            stops.kill(tx, seat, requeue=False, cause=cause)
            lifecycle.settle_swarm(tx, seat.swarm_id)
