"""An agent's children: seats whose rights are a part of their parent's, made for one task each.

What a child may reach is the meet of its parent's scope and what was asked for, written into its row when it
is made; nothing that happens to it later is looked up anywhere else. Its money is a node below its parent's.
"""

from typing import Any

import msgspec

from dashd.domain import agent as rules
from dashd.domain import dollars, ids
from dashd.domain import scope as scopes
from dashd.domain import swarm as swarm_rules
from dashd.domain.scope import Scope
from dashd.wire import errors

from . import agents, allotments, seats, sessions, swarms, tasks
from .rows import AgentRow, Snapshot
from .transaction import Tx


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A child as it was asked for; also what a gate's request keeps of it."""

    parent: str
    task: str
    item: str = ""
    name: str = ""
    level: int | None = None
    scope: str
    """JSON."""
    begin_from: str | None = None
    """A checkpoint of a session."""
    nusd: int | None = None
    """A cap of its own; by default a part of what its parent has left."""


class Child(msgspec.Struct, frozen=True):
    """The child and its task."""

    agent: str
    task: str


def granted(db: Snapshot, parent: AgentRow, asked: Scope) -> Scope:
    """What a child of that agent gets: both, in every dimension.

    Raises Forbidden where it may have none, or where something was asked for by name that it has not itself.
    """
    own = agents.scope_of(parent, swarms.get(db, parent.swarm_id))
    if own.depth is None:
        own = msgspec.structs.replace(own, depth=scopes.DEPTH_DEFAULT)
    most = scopes.for_child(own)
    lacks = scopes.missing(most, asked)
    if lacks:
        raise errors.Forbidden(
            f"a child of {parent.id} may not have it: {'; '.join(map(str, lacks[:3]))}",
            hint="a child has a part of its parent's rights: leave it out, or name no parent",
        )
    return scopes.intersect(most, asked)


def refuse_poor(db: Snapshot, parent: AgentRow, nusd: int | None) -> None:
    """Raises Forbidden for a cap above what the parent has left."""
    left = allotments.least_left(db, parent.id) if nusd is not None else None
    if nusd is not None and left is not None and nusd > left:
        raise errors.Forbidden(
            f"a child of {parent.id} may not have {dollars.text(nusd)}:"
            f" its parent has {dollars.text(left)} left",
            hint=f"leave it out, for 30 % of that; budget.extend {parent.id} gives the parent more",
        )


def obstacle(db: Snapshot, parent: AgentRow) -> str:
    """Why that agent can have no child now; empty where it can."""
    swarm = swarms.get(db, parent.swarm_id)
    if swarm.state in swarm_rules.ENDED or swarm.wanted == "destroy":
        return f"its swarm {swarm.id} has ended"
    if parent.state in rules.MACHINE.ended or parent.wanted == "kill":
        return f"agent {parent.id} has ended"
    return ""


def refuse_full(db: Snapshot, swarm_id: str) -> None:
    """Raises Conflict where the swarm has as many agents as it may have."""
    if agents.open_count(db, swarm_id) >= seats.AGENTS_MAX:
        raise errors.Conflict(
            f"swarm {swarm_id} has {seats.AGENTS_MAX} agents, the most a swarm may have",
            hint="wait until some have ended, or create another swarm",
        )


def check(db: Snapshot, wish: Wish) -> Scope:
    """What the child would get. Raises Forbidden, Conflict, IllegalTransition, NotFound, Unsupported."""
    parent = agents.get(db, wish.parent)
    if why := obstacle(db, parent):
        raise errors.IllegalTransition(why, hint=f"agent.get {parent.id} says how it ended", path="parent")
    refuse_full(db, parent.swarm_id)
    refuse_poor(db, parent, wish.nusd)
    if wish.begin_from is not None:
        sessions.refuse_unfit(db, wish.begin_from, swarms.get(db, parent.swarm_id))
    return granted(db, parent, scopes.from_json(wish.scope))


def add(tx: Tx, wish: Wish) -> Child:
    """Makes the child and its task, or raises as `check` does and changes nothing."""
    scope, parent = check(tx.db, wish), agents.get(tx.db, wish.parent)
    seat_id = seats.add_child(tx, parent, name=wish.name, scope=scopes.to_json(scope), cap=wish.nusd)
    swarm = swarms.get(tx.db, parent.swarm_id)
    _, number = swarms.take_numbers(tx, swarm.id, tasks=1)
    task = tasks.new(
        swarm, number, wish.item, at_ms=tx.now_ms, text=wish.task, level=wish.level, pinned_to=seat_id
    )
    tasks.insert(tx, task)
    sessions.begin_from(tx, task.id, wish.begin_from, swarm.driver)
    tx.emit("task.created", swarm=swarm.id, task=task.id)
    return Child(seat_id, task.id)


def question(parent: AgentRow, wish: Wish, asked_by: str) -> dict[str, Any]:
    """What a gate of kind depth is asked, as `decisions.Question` takes it."""
    level = ids.level(parent.id) + 1
    return {
        "kind": "depth",
        "what": f"spawn a child of agent {parent.id}, {level} level{'s' if level > 1 else ''} down",
        "asked_by": asked_by,
        "amount": level,
        "swarm": parent.swarm_id,
        "agent": parent.id,
        "context": {"task": wish.task[:300]},
        "act": "agent.spawn",
        "args": msgspec.to_builtins(wish),
    }


def allowed(tx: Tx, args: dict[str, Any]) -> None:
    """Somebody said yes: the child is made, or it is told why that came too late."""
    wish = msgspec.convert(args, Wish)
    try:
        add(tx, wish)
    except errors.DashError as error:  # nothing was changed: all of its checks come first
        parent = agents.get(tx.db, wish.parent)
        data = {
            "what": f"the child that agent {parent.id} was allowed was not made",
            "why": error.message,
            "suggestion": f"agent.spawn it again, or without a parent: {wish.task[:300]}",
        }
        tx.emit("escalation.raised", swarm=parent.swarm_id, agent=parent.id, data=data)
