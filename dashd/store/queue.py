"""The queue: which ready task starts next, and the claim that starts it.

Strict order: level, then age, over all swarms. A task is startable where its swarm is active, has a seat free
that may take it, and the daemon has a slot; among startable tasks there is never an inversion (invariant 5).
A child takes the tasks that were made for it and no other, and nobody else takes those: its rights are not
those of its swarm's agents.
A task that goes on with a session is startable once what ran in that has ended.
Only the head of each open swarm is looked at, so a claim costs the same whatever the queue's length. Where
as many agents of a program work as may at once, none of its tasks is startable. Nor is a task that needs one
place among several and finds none: its swarm is left out of that round, and all others go on.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

import apsw
import msgspec

from dashd.domain import ids
from dashd.domain.placement import Placed, Unplaced

from . import agents, attempts, lifecycle, swarms, tasks
from .rows import AttemptRow, SwarmRow, TaskRow, columns
from .transaction import Tx

# The list of open states repeats the condition of the index swarm_open, which SQLite would not use otherwise.
_q_head = f"""
SELECT {columns(TaskRow, "t.")}, coalesce(
    (SELECT id FROM agent WHERE id = t.agent_id AND state = 'idle' AND wanted = 'run'),
    (SELECT id FROM agent WHERE swarm_id = t.swarm_id AND state = 'idle' AND wanted = 'run'
     AND parent_id IS NULL ORDER BY number LIMIT 1))
FROM swarm s JOIN task t ON t.id = (
    SELECT q.id FROM task q WHERE q.swarm_id = s.id AND q.state = 'ready'
    AND q.id NOT IN (SELECT task_id FROM session_move WHERE copied = 0)
    AND iif(q.pinned_to IS NULL, EXISTS
        (SELECT 1 FROM agent f WHERE f.swarm_id = s.id AND f.state = 'idle' AND f.wanted = 'run'
         AND f.parent_id IS NULL), EXISTS
        (SELECT 1 FROM agent p WHERE p.id = q.pinned_to AND p.state = 'idle' AND p.wanted = 'run'))
    ORDER BY q.level, q.number LIMIT 1)
WHERE s.state IN ('creating', 'active', 'paused') AND s.state = 'active' AND s.wanted = 'run'
AND (s.mode <> '' OR s.driver NOT IN (SELECT value FROM json_each(?1)))
AND s.id NOT IN (SELECT value FROM json_each(?2))
AND (?3 = '' OR s.driver = ?3)
AND EXISTS (SELECT 1 FROM agent i WHERE i.swarm_id = s.id AND i.state = 'idle' AND i.wanted = 'run')
ORDER BY t.level, t.created_at_ms, t.rowid
"""


class Claim(msgspec.Struct, frozen=True):
    """A task that was given to a seat; whoever holds it starts the attempt."""

    attempt_id: str
    agent_id: str
    task_id: str
    swarm_id: str
    place: str | None = None
    """Which of several places it runs on; None where there is nothing to choose from."""
    turn: str = ""
    """Whose turn that was (`Placed.turn`)."""


class Claimed(msgspec.Struct, frozen=True):
    """What a round of claiming gave, and when the next retry is due."""

    claims: list[Claim]
    next_due_ms: int | None


class Placing(Protocol):
    """Where work can go, as it stood when a round began; used on the writer's thread, for one round."""

    def full(self, db: apsw.Connection) -> Collection[str]:
        """Drivers that start nothing now: as many of their agents run as may."""

    def choose(
        self, db: apsw.Connection, task: TaskRow, seat: str, swarm: SwarmRow
    ) -> Placed | Unplaced | None:
        """Where the task starts now, or why it cannot; None where it needs no place. A choice is followed."""


def full(db: apsw.Connection, at_once: Mapping[str, int]) -> Collection[str]:
    """The drivers of which as many agents run as may at once."""
    if not at_once:
        return ()
    taken = attempts.open_by_driver(db)
    return [driver for driver, count in at_once.items() if taken.get(driver, 0) >= count]


def claim(tx: Tx, agents_max: int, placing: Placing) -> Claimed:
    """Wakes the retries that are due, then claims as many tasks as the daemon has free slots."""
    for task in tasks.due(tx):
        lifecycle.make_ready(tx, task, cause=task.cause)
    claims: list[Claim] = []
    left: list[str] = []
    free = agents_max - attempts.open_count(tx.db)
    while len(claims) < free and (found := _startable(tx.db, placing, left)):
        claims.append(_claim_one(tx, *found))
    return Claimed(claims, tasks.next_due_ms(tx.db))


def _startable(
    db: apsw.Connection, placing: Placing, left: list[str]
) -> tuple[TaskRow, str, Placed | None] | None:
    """The first in order that finds a place; swarms before it that find none are added to `left`."""
    for task, seat in heads(db, placing.full(db), left):
        found = placing.choose(db, task, seat, swarms.get(db, task.swarm_id))
        if not isinstance(found, Unplaced):
            return task, seat, found
        left.append(task.swarm_id)
    return None


def heads(
    db: apsw.Connection, full: Collection[str] = (), left: Collection[str] = (), driver: str = ""
) -> Iterator[tuple[TaskRow, str]]:
    """What could start next of each swarm, and the seat that would take it, in the order of the queue; of one
    agent program alone, if one is named. Drivers that are `full` start nothing, and swarms that are `left`
    out nothing either.
    """
    told = (json.dumps(list(full)), json.dumps(list(left)), driver)
    for *fields, seat in db.execute(_q_head, told):
        task = TaskRow(*fields)
        yield task, task.pinned_to or seat


def _claim_one(tx: Tx, task: TaskRow, seat: str, placed: Placed | None) -> Claim:
    place = placed.place if placed else None
    number = attempts.next_number(tx.db, task.id)
    attempt_id = ids.attempt_id(task.id, number)
    tasks.claim(tx, task, seat)
    agents.take_seat(tx, seat, task.id)
    attempts.insert(
        tx,
        AttemptRow(
            id=attempt_id,
            task_id=task.id,
            agent_id=seat,
            launch_id=attempt_id,
            number=number,
            state="claimed",
            stop=None,
            reason=None,
            exit_code=None,
            exit_signal=None,
            late=0,
            active_ms=0,
            active_since_ms=None,
            cpu_ms=None,
            rss_max_kib=None,
            output_dropped=0,
            created_at_ms=tx.now_ms,
            started_at_ms=None,
            ended_at_ms=None,
        ),
        place,
    )
    if place is not None:
        tx.ring("placed")
    data = {"attempt": number} | ({"place": place} if place is not None else {})
    tx.emit("task.assigned", swarm=task.swarm_id, agent=seat, task=task.id, data=data)
    return Claim(attempt_id, seat, task.id, task.swarm_id, place, placed.turn if placed else "")
