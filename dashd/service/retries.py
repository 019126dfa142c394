"""Making an ended task ready again by hand; shared by `agent.retry` and `task.retry`."""

from dashd.domain import agent as agent_rules
from dashd.domain import task as rules
from dashd.store import agents, lifecycle, seats, swarms, tasks
from dashd.store.rows import TaskRow
from dashd.store.transaction import Tx
from dashd.wire import errors

from .swarms import refuse_ended

_NAMED_MAX = 5
"""Tasks that a message names."""


def retry(tx: Tx, task: TaskRow, seat_id: str | None = None) -> None:
    """The task gets all its retries again; the seat, by default the one that ran it, takes tasks again.

    In a swarm that is full the seat stays ended, and any other takes the task. In one that is not, seats that
    had ended as nothing was left for them do so too: several that are retried run at once, as at its start.
    Raises SwarmEnded in an ended swarm, IllegalTransition where the task is open or completed.
    """
    swarm = swarms.get(tx.db, task.swarm_id)
    refuse_ended(swarm)
    if task.state in ("dead", "cancelled"):
        _refuse_blocked(tx, task)
    elif task.state != "retrying":
        raise errors.IllegalTransition(
            f"task {task.id} is {task.state}; only a dead, cancelled or retrying one can be retried",
            hint=f"task.get {task.id} says how it stands"
            if task.state in rules.OPEN
            else "spawn an agent for new work",
        )
    tx.emit("task.retrying", swarm=swarm.id, agent=task.agent_id, task=task.id, data={"by": "hand"})
    if task.state == "retrying":
        lifecycle.make_ready(tx, task, cause=task.cause)
    else:
        lifecycle.make_ready(tx, task)
        tasks.forget_attempts(tx, task.id)
    seat_id = seat_id or task.agent_id or task.pinned_to
    seat = agents.find(tx.db, seat_id) if seat_id else None
    is_child = seat is not None and seat.parent_id is not None  # nobody else may take its task
    has_room = is_child or agents.open_tops(tx.db, swarm.id) < swarm.agents_max
    if seat is not None and seat.state in agent_rules.MACHINE.ended and has_room:
        seats.reopen(tx, seat)
    seats.refill(tx, swarm)
    seats.ensure_one(tx, swarm)
    tx.ring("queue")


def _refuse_blocked(tx: Tx, task: TaskRow) -> None:
    unmet = tasks.unmet(tx.db, task.id, _NAMED_MAX + 1)
    if unmet:
        more = " and others" if len(unmet) > _NAMED_MAX else ""
        raise errors.Conflict(
            f"task {task.id} needs {', '.join(unmet[:_NAMED_MAX])}{more} to complete first",
            hint=f"task.get {unmet[0]} says how that one stands; task.retry it where it has ended",
        )
