"""Asking for an end: what does not run ends at once, what runs is asked to stop and ends with its process."""

from dashd.domain import agent as agent_rules
from dashd.domain import task as task_rules

from . import agents, attempts, lifecycle, seats, tasks
from .rows import AgentRow, TaskRow
from .transaction import Tx


def cancel(tx: Tx, task: TaskRow, cause: str) -> None:
    """Cancels a task. One that a dependency has ended meanwhile is left as it is."""
    current = tasks.get(tx.db, task.id)
    if current.state in task_rules.ENDED:
        return
    run = attempts.open_of_task(tx.db, task.id)
    if run is None:
        lifecycle.cancel_task(tx, current, cause)
        return
    attempts.ask_stop(tx, run.id, "cancel", cause)
    tx.ring("agents")


def kill(tx: Tx, seat: AgentRow, *, requeue: bool, cause: str | None = None) -> None:
    """Ends a seat and its children: its task, and tasks only it may take, are cancelled, or given back with
    `requeue`; those of a child never are.

    Its task is also one that it ran last and that waits to be tried again. `cause` is kept with the seat, and
    told as the tasks' own.
    """
    seat = agents.get(tx.db, seat.id)  # one call that ends several may have ended it with its parent
    if seat.state in agent_rules.MACHINE.ended:
        return
    for child in agents.children(tx.db, seat.id):
        if child.state not in agent_rules.MACHINE.ended and child.wanted != "kill":
            kill(tx, child, requeue=False, cause=f"its parent {seat.id} was killed")
    agents.set_wanted(tx, seat.id, "kill")
    agents.set_cause(tx, seat.id, cause)
    told = cause or f"agent {seat.id} was killed"
    if not requeue:
        last = tasks.find(tx.db, seat.task_id) if seat.task_id else None
        if last is not None and last.state in ("ready", "retrying") and last.agent_id == seat.id:
            lifecycle.cancel_task(tx, last, told)
        for task in tasks.pinned(tx.db, seat.id):
            lifecycle.cancel_task(tx, task, told)
    run = attempts.open_of_agent(tx.db, seat.id)
    if run is not None:
        attempts.ask_stop(tx, run.id, "requeue" if requeue else "kill", cause)
        tx.ring("agents")
        return
    assert seat.state not in agent_rules.WORKING, f"seat {seat.id} is {seat.state} without an attempt"
    seats.end(tx, seat, killed=True)
    tx.ring("queue")


def leave(tx: Tx, task_id: str, seat_id: str, cause: str) -> None:
    """Cancels a task that nothing runs, and ends the seat that had it, unless that has had another one since.

    The seat has no cause of its own: to the swarm that would mean that nobody is to do what else is left.
    """
    cancel(tx, tasks.get(tx.db, task_id), cause)
    seat = agents.get(tx.db, seat_id)
    if seat.task_id == task_id:
        kill(tx, seat, requeue=False)


def requeue_all(tx: Tx) -> int:
    """Asks every run to stop and gives its task back, so that nothing is left running; returns how many."""
    runs = attempts.open_attempts(tx.db)
    for run in runs:
        attempts.ask_stop(tx, run.id, "requeue")
    tx.ring("agents")
    return len(runs)
