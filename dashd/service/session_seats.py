"""Which seat goes on with a session in an open swarm: one that may do and spend no more than that before it.

A child's session goes on in another child of the same parent, whose scope is that child's own and whose cap
is what that one has left (where it has ended, for each of several forks), and only where `agent.spawn` would
make one. Any other agent's goes on in a seat with its swarm's rights, which keeps the limits of the one
before it.
"""

from typing import Final

from dashd.domain import agent as rules
from dashd.domain import dollars
from dashd.domain import scope as scopes
from dashd.store import agents, allotments, budgets, children, decisions, swarms
from dashd.store.rows import AgentRow, Snapshot
from dashd.store.sessions import SessionRow
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.methods.agent import AgentSpawned, SpawnAgent

from . import agents as agent_service
from . import swarms as swarm_service
from .core import Caller

WHY: Final = "it goes on with the work of"


def closed(db: Snapshot, row: SessionRow) -> str:
    """Why nobody can go on with it where it was: its swarm has ended, or the parent of its agent has."""
    swarm, parent_id = swarms.get(db, row.swarm_id), agents.get(db, row.agent_id).parent_id
    if swarm.ended_at_ms is not None or swarm.wanted == "destroy":
        return f"swarm {swarm.id} has ended"
    return children.obstacle(db, agents.get(db, parent_id)) if parent_id else ""


def children_at_work(db: Snapshot, agent_id: str) -> list[str]:
    """The children of an agent that have not ended, and that nobody has ended."""
    found = agents.children(db, agent_id)
    return [each.id for each in found if each.state not in rules.MACHINE.ended and each.wanted != "kill"]


def check(db: Snapshot, caller: Caller, row: SessionRow, swarm_id: str) -> None:
    """Raises Forbidden and Conflict where nobody may go on with the session in that swarm."""
    before = agents.get(db, row.agent_id)
    if before.parent_id is not None:
        _check_child(db, caller, row, before, before.parent_id, swarm_id)


def spawn(tx: Tx, caller: Caller, row: SessionRow, wanted: SpawnAgent) -> AgentSpawned:
    """Makes the seat and its task, or raises as `check` does."""
    check(tx.db, caller, row, str(wanted.swarm))
    before = agents.get(tx.db, row.agent_id)
    if before.parent_id is None:
        made = agent_service.spawn_in(tx, wanted)
        allotments.succeed(tx, before.id, made.id, why=WHY)
        return made
    swarm_service.refuse_nul("task", wanted.task)
    child = children.add(tx, _wish(tx.db, before, before.parent_id, wanted.task, wanted.name or ""))
    allotments.succeed(tx, before.id, child.agent, why=WHY, only_left=True)
    return AgentSpawned(id=child.agent, swarm=before.swarm_id, task=child.task, state="idle", cursor=tx.seq)


def _check_child(
    db: Snapshot, caller: Caller, row: SessionRow, before: AgentRow, parent_id: str, swarm_id: str
) -> None:
    if swarm_id != before.swarm_id:
        raise errors.Forbidden(
            f"session {row.id} is of agent {before.id}, a child of {parent_id}, and goes on below that alone:"
            f" agents of swarm {swarm_id} may do what a child may not",
            hint=f"name swarm {before.swarm_id}; or session.prime {row.id} gives in words what it knew, for"
            f" agent.spawn {{swarm: {swarm_id}}}",
            path="swarm",
        )
    parent = agents.get(db, parent_id)
    if why := children.obstacle(db, parent):
        raise errors.IllegalTransition(
            f"session {row.id} is of agent {before.id}, a child, and {why}",
            hint=f"session.fork {row.id} without a swarm makes a new swarm of one, on {before.id}'s terms",
            path="swarm",
        )
    wish = _wish(db, before, parent_id, "", "")
    children.check(db, wish)
    question = decisions.Question(**children.question(parent, wish, caller.who))
    gate = decisions.judge(db, question)
    if gate is not None and gate.verdict == "deny":
        raise decisions.refusal(decisions.Asked("deny", gate.name), question.what)
    if gate is not None and gate.verdict == "ask":
        budget = "" if wish.nusd is None else f", budget: {dollars.typed(wish.nusd, wish.nusd)}"
        raise errors.Forbidden(
            f"gate {gate.name} wants a yes first: {question.what}",
            hint=f"session.checkpoint {row.id}, then agent.spawn {{parent: {parent_id}, begin_from: its id,"
            f" scope, read, hosts{budget}}} asks for it: agent.get {before.id} shows what it has, and"
            " what is left out is the parent's",
        )


def _wish(db: Snapshot, before: AgentRow, parent_id: str, task: str, name: str) -> children.Wish:
    """A child like that one, for what is left of its money and of its parent's."""
    node, above = budgets.find(db, before.id), allotments.least_left(db, parent_id)
    nusd = allotments.own_left(node)[0] if node is not None else None
    if nusd is not None and above is not None:
        nusd = min(nusd, above)
    scope = before.scope or scopes.to_json(scopes.EVERYTHING)  # as much as its parent has
    return children.Wish(parent=parent_id, task=task, name=name, scope=scope, nusd=nusd)
