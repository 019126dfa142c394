"""On which files an agent works that goes on with another one's conversation.

On a repository its clone begins with what that agent has brought back; where it cannot, that is said, to who
asks and to the agent itself.
"""

from typing import NamedTuple

from dashd.domain import attempt as attempt_rules
from dashd.domain import brief, repository
from dashd.store import attempts, swarms, workspaces
from dashd.store.rows import Snapshot, SwarmRow
from dashd.store.sessions import SessionRow
from dashd.store.transaction import Tx


class Files(NamedTuple):
    """What the new agent finds in its folder; `from_owner`: what its clone begins with, of that workspace."""

    from_owner: str = ""
    notes: tuple[str, ...] = ()
    """For who asks."""
    lost: bool = False
    """The files are others than those that were spoken of."""

    def told(self, task: str) -> str:
        """The task as the agent is told it."""
        return brief.on_other_files(task, self.notes[0]) if self.lost else task

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
