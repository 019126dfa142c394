"""`agent.spawn` with a parent: what a child is given is a part of what its parent has, in every dimension.

Decided in the store (`store.children`), in the transaction that makes it; here is read what was asked for,
and refused what the walls of the parent's swarm could not keep.
"""

import msgspec

from dashd.domain import dollars, folders, repository
from dashd.domain import scope as scopes
from dashd.domain.scope import Scope
from dashd.store import agents, children, decisions, gateways, swarms
from dashd.store.rows import AgentRow, Snapshot, SwarmRow
from dashd.store.transaction import Tx
from dashd.wire import errors
from dashd.wire.methods import agent as wire
from dashd.wire.methods.table import PRIORITIES

from .core import Caller, Core

REACH = ("scope", "read", "hosts", "allow_commands", "deny_commands", "depth")
"""The parameters that narrow what a child reaches."""
ALONE = (*REACH, "budget")


def refuse_without_parent(params: wire.SpawnAgent) -> None:
    """Raises InvalidParams: what narrows a child narrows nobody else."""
    given = [name for name in ALONE if getattr(params, name) is not msgspec.UNSET]
    if given:
        raise errors.InvalidParams(
            f"{given[0]} is a child's: it is given with a parent",
            hint="name the parent; or swarm.create {scope, read, hosts, budget} for agents of their own",
            path=given[0],
        )


async def prepare(core: Core, params: wire.SpawnAgent) -> children.Wish:
    """What was asked for; raises where the parent could not give it. The operation decides anew."""

    def query(db: Snapshot) -> tuple[AgentRow, SwarmRow]:
        parent = agents.get(db, str(params.parent))
        return parent, swarms.get(db, parent.swarm_id)

    parent, swarm = await core.store.reader.read(query)
    if params.swarm and params.swarm != swarm.id:
        raise errors.InvalidParams(
            f"agent {parent.id} is one of swarm {swarm.id}, not of {params.swarm}",
            hint="leave out swarm: a child is in its parent's",
            path="swarm",
        )
    terms = repository.from_json(swarm.repo) if swarm.repo else None
    root = terms.path if terms else swarm.cwd
    asked = _asked(params, root)
    if swarm.walls != "required":
        _refuse_idle(params, swarm)
    if swarm.mode == gateways.MODE:
        _refuse_in_gateway(params, swarm)
    if terms is not None and terms.workspace == "swarm" and params.scope is not msgspec.UNSET:
        raise errors.Unsupported(
            f"all agents of swarm {swarm.id} commit in one clone, where a narrower scope would not hold",
            hint="leave out scope; or make the swarm with workspace: agent",
            path="scope",
        )
    nusd = None if isinstance(params.budget, msgspec.UnsetType) else dollars.nusd(params.budget)
    await core.store.reader.read(lambda db: _refuse(db, parent, asked, nusd))
    if terms is None and swarm.walls == "required":
        await core.walls.check(
            [folders.absolute(each, root) for each in asked.write or ()],
            [folders.absolute(each, root) for each in asked.read or ()],
        )
    return children.Wish(
        parent=parent.id,
        task=params.task,
        item=params.item,
        name=params.name or "",
        level=PRIORITIES.index(params.priority) if params.priority else None,
        scope=scopes.to_json(asked),
        begin_from=params.begin_from or None,
        nusd=nusd,
    )


def spawn(tx: Tx, caller: Caller, wish: children.Wish) -> wire.AgentSpawned:
    """Makes the child, or asks whoever a gate says for it."""
    parent = agents.get(tx.db, wish.parent)
    question = decisions.Question(**children.question(parent, wish, caller.who))
    gate = decisions.judge(tx.db, question)
    if gate is not None and gate.verdict == "deny":
        raise decisions.refusal(decisions.Asked("deny", gate.name), question.what)
    if gate is not None and gate.verdict == "ask":
        children.check(tx.db, wish)
        row = decisions.request(tx, gate, question)
        return wire.AgentSpawned(
            id="", swarm=parent.swarm_id, task="", state="idle", cursor=tx.seq, approval=row.id
        )
    made = children.add(tx, wish)
    return wire.AgentSpawned(
        id=made.agent, swarm=parent.swarm_id, task=made.task, state="idle", cursor=tx.seq
    )


def _asked(params: wire.SpawnAgent, root: str) -> Scope:
    """What is left out is None: as much as the parent has."""
    given = {name: value for name in REACH if (value := getattr(params, name)) is not msgspec.UNSET}
    write, read = given.get("scope"), given.get("read")
    if read is not None and write is None:
        raise errors.InvalidParams(
            "read is narrowed, but scope is not: what may be written can be read",
            hint="name what may be written as well: scope, which may be empty",
            path="scope",
        )
    return scopes.parse(
        write=write,
        read=read,
        hosts=given.get("hosts"),
        allow=given.get("allow_commands"),
        deny=given.get("deny_commands", ()),
        depth=given.get("depth"),
        root=root,
    )


def _refuse(db: Snapshot, parent: AgentRow, asked: Scope, nusd: int | None) -> None:
    children.granted(db, parent, asked)
    children.refuse_poor(db, parent, nusd)


def _refuse_in_gateway(params: wire.SpawnAgent, swarm: SwarmRow) -> None:
    """One jail is around all agents of a gateway, and nobody in it is asked before it acts."""
    for name in ("scope", "read", "hosts", "allow_commands", "deny_commands"):
        if getattr(params, name) is not msgspec.UNSET:
            raise errors.Unsupported(
                f"{name} would limit nothing: all agents of swarm {swarm.id} share the walls of its gateway",
                hint=f"leave out {name}; or make the swarm with mode: jailed",
                path=name,
            )


def _refuse_idle(params: wire.SpawnAgent, swarm: SwarmRow) -> None:
    """A scope that nothing would keep is worse than none."""
    for name in ("scope", "read", "hosts"):
        if getattr(params, name) is not msgspec.UNSET:
            raise errors.InvalidParams(
                f"{name} limits nothing without walls, and swarm {swarm.id} has none",
                hint=f"leave out {name}, or use a swarm with walls",
                path=name,
            )
