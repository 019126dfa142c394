"""Seats coming and going: what follows for agents from their tasks and from the size of the swarm."""

from collections.abc import Mapping, Sequence

from dashd.domain import agent as rules
from dashd.domain import ids

from . import agents, allotments, swarms, tasks
from .rows import AgentRow, SwarmRow
from .transaction import Tx


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
        row = AgentRow(
            id=ids.agent_id(swarm_id, number),
            swarm_id=swarm_id,
            parent_id=None,
            number=number,
            name=name or "".join(names[number - first : number - first + 1]) or f"agent-{number}",
            state="idle",
            liveness="dead",
            wanted="run",
            task_id=None,
            created_at_ms=tx.now_ms,
            ended_at_ms=None,
        )
        agents.insert(tx, row)
        allotments.open_seat(tx, row, (caps or {}).get(number))
        tx.emit("agent.spawned", swarm=swarm_id, agent=row.id, data={"name": row.name})
        added.append(row.id)
    tx.ring("queue")
    return added


def free(tx: Tx, agent_id: str) -> None:
    """A seat's attempt is over: it is idle, or ended where it was killed or nothing is left for it."""
    seat = agents.get(tx.db, agent_id)
    swarm = swarms.get(tx.db, seat.swarm_id)
    tx.ring("queue")  # the daemon has a slot more, whoever may use it
    if seat.wanted == "kill" or swarm.wanted == "destroy":
        end(tx, seat, killed=True)
        return
    if not tasks.any_unclaimed(tx.db, swarm.id) or agents.open_count(tx.db, swarm.id) > swarm.agents_max:
        end(tx, seat)
        return
    agents.set_state(tx, seat, "idle")
    tx.emit("agent.status", swarm=seat.swarm_id, agent=seat.id, data={"state": "idle"})


def end(tx: Tx, seat: AgentRow, *, killed: bool = False) -> None:
    """Ends a seat that runs nothing; what only it might have taken, any seat may take now."""
    last = tasks.find(tx.db, seat.task_id) if seat.task_id else None
    state = "killed" if killed else rules.end_state(last.state if last else None)
    agents.set_state(tx, seat, state)
    tasks.unpin(tx, seat.id)
    allotments.end_seat(tx, seat.id)
    cause = agents.get(tx.db, seat.id).cause if killed else None
    data = {"cause": cause} if cause else {}
    tx.emit(f"agent.{state}", swarm=seat.swarm_id, agent=seat.id, task=seat.task_id, data=data)


def reopen(tx: Tx, seat: AgentRow) -> None:
    """An ended seat takes tasks again."""
    agents.set_state(tx, seat, "idle")
    agents.set_wanted(tx, seat.id, "run")
    agents.set_cause(tx, seat.id, None)
    allotments.reopen_seat(tx, seat.id)
    tx.emit("agent.status", swarm=seat.swarm_id, agent=seat.id, data={"state": "idle"})
    tx.ring("queue")


def ensure_one(tx: Tx, swarm: SwarmRow) -> None:
    """A swarm with open tasks and no seat left gets one, so that a task given back is never stranded."""
    if agents.open_count(tx.db, swarm.id) == 0:
        add(tx, swarm.id, 1)
