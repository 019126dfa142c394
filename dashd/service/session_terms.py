"""On which terms an agent works that goes on with another one's conversation in a new swarm of one: those of
the agent that it follows, never more.
"""

import msgspec

from dashd.domain import dollars, folders, ids, repository
from dashd.domain.budget import DEFAULT_CEILING_NUSD
from dashd.store import agents, allotments, budgets, swarms
from dashd.store.rows import AgentRow, Snapshot, SwarmRow
from dashd.store.sessions import SessionRow
from dashd.store.transaction import Tx
from dashd.wire.methods.swarm import CreateSwarm
from dashd.wire.methods.table import PRIORITIES, Placement

from .session_seats import WHY
from .walls import limits_of


def terms(db: Snapshot, row: SessionRow, name: str) -> CreateSwarm:
    """A swarm of one for an agent like the session's: walls, rules about commands, where it runs, limits and
    budget are that one's, never more.
    """
    swarm, seat = swarms.get(db, row.swarm_id), agents.get(db, row.agent_id)
    scope = agents.scope_of(seat, swarm)
    found = CreateSwarm(
        task="",  # told when it is made
        name=name or swarm.name,
        driver=swarm.driver,
        cwd=swarm.cwd,
        priority=PRIORITIES[swarm.priority],
        limits=limits_of(
            swarm.bounds, timeout_s=swarm.timeout_s, retries=swarm.retries, grace_s=swarm.grace_s
        ),
        lease_s=swarm.lease_s,
        model=seat.model or swarm.model or msgspec.UNSET,
        budget=_budget(db, seat),
        label=swarm.label or msgspec.UNSET,
        placement=_placement(swarm),
        allow_commands=msgspec.UNSET if scope.commands.allow is None else list(scope.commands.allow),
        deny_commands=list(scope.commands.deny) or msgspec.UNSET,
        unsafe_no_jail=swarm.walls != "required",
    )
    if swarm.walls == "required":
        found = msgspec.structs.replace(
            found,
            scope=list(scope.write) if scope.write is not None else msgspec.UNSET,
            read=[each for each in scope.read or () if each != folders.ROOT],
            hosts=list(scope.hosts or ()) or msgspec.UNSET,
        )
    if swarm.repo:
        repo = repository.from_json(swarm.repo)
        found = msgspec.structs.replace(
            found,
            repo=repo.path,
            base=repo.base,
            cleanup=repo.cleanup,
            shared=list(repo.shared),
            isolated=list(repo.isolated),
            read=sorted({*(found.read or ()), *repo.granted}),
        )
    return found


def narrow(tx: Tx, row: SessionRow, swarm_id: str) -> None:
    """To be called where a swarm was made on these terms: of a child it has the very scope, which says more
    than a swarm can be asked for (how deep it goes, that less than its folder is read). Limits in tokens, who
    set limits and what happens at them go along, as in `session_seats`.
    """
    seat = agents.get(tx.db, row.agent_id)
    if seat.parent_id is not None and seat.scope:
        swarms.set_scope(tx, swarm_id, seat.scope)
    only_left = seat.parent_id is not None
    allotments.succeed(tx, seat.swarm_id, swarm_id, why=WHY, only_left=only_left)
    for node in reversed(budgets.path(tx.db, seat.id)):  # parents bound it too; its own word is last
        if node.kind == "agent":
            allotments.succeed(tx, node.id, ids.agent_id(swarm_id, 1), why=WHY, only_left=only_left)


def without_walls(asked: CreateSwarm) -> CreateSwarm:
    """The same where this daemon gives nobody walls, and so none can be given up."""
    none = msgspec.UNSET
    return msgspec.structs.replace(asked, unsafe_no_jail=False, scope=none, read=none, hosts=none)


def _placement(swarm: SwarmRow) -> Placement | msgspec.UnsetType:
    """As it was asked for."""
    if not swarm.placement:
        return msgspec.UNSET
    asked = swarms.terms(swarm)
    return Placement(
        policy=asked.policy,
        capabilities=list(asked.capabilities),
        region=asked.region,
        version=asked.version,
    )


def _budget(db: Snapshot, seat: AgentRow) -> float | msgspec.UnsetType:
    """The tightest limit of the agent and its swarm, for a child what is left of them and of its parents';
    unset where they had none but the highest there is.
    """
    nodes = [node for node in budgets.path(db, seat.id) if node.id != budgets.PROJECT]
    limits = [allotments.own_left(node)[0] if seat.parent_id else node.limit_nusd for node in nodes]
    least = min((each for each in limits if each is not None), default=DEFAULT_CEILING_NUSD)
    return dollars.usd(least) if least < DEFAULT_CEILING_NUSD else msgspec.UNSET
