"""Seats coming and going: what follows for agents from their tasks and from the size of the swarm."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from dashd.domain import agent as rules
from dashd.domain import ids

from . import agents, allotments, swarms, tasks
from .rows import AgentRow, SwarmRow
from .transaction import Tx

AGENTS_MAX: Final = 100
"""Seats of one swarm that have not ended, children too."""


def add(
    tx: Tx,
    swarm_id: str,
    count: int,
    *,
    name: str = "",
    names: Sequence[str] = (),
    caps: Mapping[int, int] | None = None,
) -> list[str]:
    """Adds idle seats to a swarm, each with its budget; returns their ids.

    An unnamed seat is called by its number. `names` are of the first seats, "" for unnamed; `caps` are limits
    of their own in nano-dollars, by seat number.
    """
    first, _ = swarms.take_numbers(tx, swarm_id, agents=count)
    added = []
    for number in range(first, first + count):
        called = name or "".join(names[number - first : number - first + 1])
        row = _new(tx, ids.agent_id(swarm_id, number), swarm_id, number, called)
        _insert(tx, row, (caps or {}).get(number))
        added.append(row.id)
    return added


def add_child(tx: Tx, parent: AgentRow, *, name: str, scope: str, cap: int | None) -> str:
    """Adds an idle seat below another one, which calls the model that its parent was given; without a cap it
    gets a part of what its parent has left.
    """
    number, _ = swarms.take_numbers(tx, parent.swarm_id, agents=1)
    seat_id = ids.child_id(parent.id, len(agents.children(tx.db, parent.id)) + 1)
    row = _new(tx, seat_id, parent.swarm_id, number, name)
    row = msgspec.structs.replace(row, parent_id=parent.id, scope=scope, model=parent.model)
    _insert(tx, row, cap)
    return seat_id


def _new(tx: Tx, seat_id: str, swarm_id: str, number: int, name: str) -> AgentRow:
    return AgentRow(
        id=seat_id,
        swarm_id=swarm_id,
        parent_id=None,
        number=number,
        name=name or f"agent-{number}",
        state="idle",
        liveness="dead",
        wanted="run",
        task_id=None,
        created_at_ms=tx.now_ms,
        ended_at_ms=None,
    )


def _insert(tx: Tx, row: AgentRow, cap: int | None) -> None:
    agents.insert(tx, row)
    allotments.open_seat(tx, row, cap)
    parent = {"parent": row.parent_id} if row.parent_id else {}
    tx.emit("agent.spawned", swarm=row.swarm_id, agent=row.id, data={"name": row.name, **parent})
    tx.ring("queue")


def free(tx: Tx, agent_id: str) -> None:
    """A seat's attempt is over: it is idle, or ended where it was killed or nothing is left for it."""
    seat = agents.get(tx.db, agent_id)
    swarm = swarms.get(tx.db, seat.swarm_id)
    tx.ring("queue")  # the daemon has a slot more, whoever may use it
    tx.ring("agents")  # and whoever shares its budget may be the last who works on it
    if seat.wanted == "kill" or swarm.wanted == "destroy":
        end(tx, seat, killed=True)
        return
    if not _is_needed(tx, seat, swarm):
        end(tx, seat)
        return
    agents.set_state(tx, seat, "idle")
    tx.emit("agent.status", swarm=seat.swarm_id, agent=seat.id, data={"state": "idle"})


def end(tx: Tx, seat: AgentRow, *, killed: bool = False) -> None:
    """Ends a seat that runs nothing; what only it might have taken, any seat may take now.

    A child's tasks are cancelled instead: another seat would do them with more rights than they were meant
    to be done with.
    """
    last = tasks.find(tx.db, seat.task_id) if seat.task_id else None
    state = "killed" if killed else rules.end_state(last.state if last else None)
    agents.set_state(tx, seat, state)
    if seat.parent_id is None:
        tasks.unpin(tx, seat.id)
    else:
        _cancel_own(tx, seat)
    allotments.end_seat(tx, seat.id)
    cause = agents.get(tx.db, seat.id).cause if killed else None
    data = {"cause": cause} if cause else {}
    tx.emit(f"agent.{state}", swarm=seat.swarm_id, agent=seat.id, task=seat.task_id, data=data)


def _is_needed(tx: Tx, seat: AgentRow, swarm: SwarmRow) -> bool:
    """Whether there may be more for an open seat to do."""
    if seat.parent_id is not None:
        return bool(tasks.pinned(tx.db, seat.id))
    return tasks.any_unclaimed(tx.db, swarm.id) and agents.open_tops(tx.db, swarm.id) <= swarm.agents_max


def _cancel_own(tx: Tx, seat: AgentRow) -> None:
    cause = f"agent {seat.id}, for which it was made, has ended"
    for task in tasks.pinned(tx.db, seat.id):  # no other task waits for one that was made for a child
        tasks.set_state(tx, task, "cancelled", cause=cause)
        tx.emit("task.cancelled", swarm=seat.swarm_id, agent=seat.id, task=task.id, data={"cause": cause})


def reopen(tx: Tx, seat: AgentRow) -> None:
    """An ended seat takes tasks again."""
    agents.set_state(tx, seat, "idle")
    agents.set_wanted(tx, seat.id, "run")
    agents.set_cause(tx, seat.id, None)
    allotments.reopen_seat(tx, seat.id)
    tx.emit("agent.status", swarm=seat.swarm_id, agent=seat.id, data={"state": "idle"})
    tx.ring("queue")


def refill(tx: Tx, swarm: SwarmRow) -> None:
    """Tasks were given back by hand: seats that had ended as nothing was left for them take tasks again, as
    many as there is to do for and as the swarm is large.

    Not those that somebody, or a budget, killed or paused, and not those that have nothing left to spend.
    """
    wanted = min(swarm.agents_max, tasks.open_tops(tx.db, swarm.id)) - agents.open_tops(tx.db, swarm.id)
    wanted = min(wanted, AGENTS_MAX - agents.open_count(tx.db, swarm.id))
    for seat in agents.retired(tx.db, swarm.id) if wanted > 0 else ():
        if wanted > 0 and allotments.may_spend(tx.db, seat.id):
            reopen(tx, seat)
            wanted -= 1


def ensure_one(tx: Tx, swarm: SwarmRow) -> None:
    """A swarm with open tasks and no seat left for them gets one, so that none given back is stranded.

    It may spend what the last seat might: who replaces a seat does not get past its cap. Where a budget has
    ended that one, it is opened again instead, with all that it has spent.
    """
    if agents.open_tops(tx.db, swarm.id) or not tasks.any_unclaimed(tx.db, swarm.id):
        return
    last = agents.last_ended(tx.db, swarm.id)
    if last is not None and last.cause is not None:
        reopen(tx, last)
        return
    (made,) = add(tx, swarm.id, 1)
    if last is not None:
        allotments.succeed(tx, last.id, made)


def ended_by_budget(tx: Tx, swarm_id: str) -> str | None:
    """Why no seat is left, where a budget has ended the last one; None where one is, or somebody else did."""
    if agents.open_tops(tx.db, swarm_id):
        return None
    last = agents.last_ended(tx.db, swarm_id)
    return None if last is None or last.cause is None else f"agent {last.id} was the last: {last.cause}"
