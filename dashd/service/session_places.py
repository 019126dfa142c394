"""Where an agent works that goes on with another one's conversation: on which terms, and on which files.

A new swarm of one has the terms of the agent that it follows, never more. On a repository its clone begins
with what that agent has brought back; where it cannot, that is said, to who asks and to the agent itself.
"""

from typing import NamedTuple

import msgspec

from dashd.domain import attempt as attempt_rules
from dashd.domain import dollars, folders, ids, repository
from dashd.domain.budget import DEFAULT_CEILING_NUSD
from dashd.store import agents, allotments, attempts, budgets, session_moves, swarms, workspaces
from dashd.store.rows import AgentRow, Snapshot, SwarmRow
from dashd.store.sessions import SessionRow
from dashd.store.transaction import Tx
from dashd.wire.methods.swarm import CreateSwarm
from dashd.wire.methods.table import PRIORITIES, Placement

from .session_seats import WHY
from .walls import limits_of


class Files(NamedTuple):
    """What the new agent finds in its folder; `from_owner`: what its clone begins with, of that workspace."""

    from_owner: str = ""
    notes: tuple[str, ...] = ()
    """For who asks."""
    lost: bool = False
    """The files are others than those that were spoken of."""

    def told(self, task: str) -> str:
        """The task as the agent is told it."""
        return session_moves.told(task, self.notes[0]) if self.lost else task

    def begin(self, tx: Tx, agent_id: str) -> None:
        """To be called where the agent is made."""
        if self.from_owner:
            workspaces.start_with(tx, agent_id, self.from_owner)


def files(db: Snapshot, row: SessionRow, swarm_id: str, *, stops: bool) -> Files:
    """For a new agent in that swarm, "" for one like the session's; `stops`: what runs is stopped for it."""
    old = swarms.get(db, row.swarm_id)
    new = swarms.get(db, swarm_id) if swarm_id else old
    if not old.repo or not new.repo:
        if (old.repo, old.cwd) == (new.repo, new.cwd):
            return Files()
        return Files(notes=(f"it works in {new.cwd}, and the other one in {_of(old)}",), lost=True)
    before, after = repository.from_json(old.repo), repository.from_json(new.repo)
    if before.path != after.path:
        return Files(notes=(f"its clone is of {after.path}, not of {before.path}",), lost=True)
    owner = before.owner(old.id, row.agent_id)
    if swarm_id and owner == new.id:  # they share it
        return Files()
    tree = workspaces.find(db, owner)
    if tree is None:
        return Files()
    if swarm_id and after.workspace != "agent":  # a new one's agent has a clone of its own
        return Files(
            notes=(f"it works in the clone of swarm {new.id}; {workspaces.whereabouts(tree)}",), lost=True
        )
    if stops:
        # When it has ended; where that fails, `session_moves.files_left` says so to both.
        return Files(owner, (f"its clone begins with what {owner} has done, once brought back as a branch",))
    attempt = attempts.get(db, row.attempt_id).state
    if tree.imported and attempt == "succeeded":
        return Files(owner, (f"its clone begins with branch {tree.branch}, what {owner} has done",))
    base = (tree.imported or after.base)[:12]
    runs = ", and comes back when that has ended" if attempt in attempt_rules.OPEN else ""
    note = f"its clone begins at {base}; {workspaces.whereabouts(tree)}{runs}"
    return Files(owner if tree.imported else "", (note,), lost=True)


def _of(swarm: SwarmRow) -> str:
    return f"a clone of {repository.from_json(swarm.repo).path}" if swarm.repo else swarm.cwd


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
