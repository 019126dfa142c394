"""Table `workspace`: where agents work on a repository, and what is to become of it.

creating ──a──▶ ready ──b──▶ saving ──c──▶ removing ──d──▶ removed ──e──▶ creating
                  ◀────────────f──┴────────────┘

a  it is there       c  its content is in the user's repository   e  its seat works again
b  it is to be saved d  it is gone                                f  it stays: only saving was asked for, or
                                                                     something would have been lost
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from dashd.domain import repository
from dashd.wire import errors

from . import rows
from .rows import Snapshot, SwarmRow, columns, placeholders
from .transaction import Tx

CHANGED_MAX = 200
"""Files that a row names; the rest is counted."""


class WorkspaceRow(msgspec.Struct, frozen=True):
    """Table `workspace`."""

    owner: str
    swarm_id: str
    state: str
    base: str
    place: str = ""
    path: str = ""
    branch: str = ""
    imported: str | None = None
    changed: str = "[]"
    changed_more: int = 0
    salvage: str | None = None
    wanted: str = ""
    due_ms: int | None = None
    why: str = ""
    problem: str = ""
    created_at_ms: int = 0
    removed_at_ms: int | None = None

    @property
    def agent(self) -> str | None:
        """Whose it is alone; None where a swarm shares it."""
        return self.owner if self.owner != self.swarm_id else None


class Changed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file of what came back; `flags` say why to look at it first."""

    path: str
    status: str
    flags: tuple[str, ...] = ()


_COLUMNS = columns(WorkspaceRow)
_q_get = f"SELECT {_COLUMNS} FROM workspace WHERE owner = ?"
_q_insert = f"INSERT INTO workspace ({_COLUMNS}) VALUES ({placeholders(WorkspaceRow)})"
_q_of_swarm = f"SELECT {_COLUMNS} FROM workspace WHERE swarm_id = ? ORDER BY length(owner), owner"
_q_page = (
    f"SELECT {_COLUMNS} FROM workspace WHERE (?1 = '' OR swarm_id = ?1) AND (?2 = '[]' OR state IN"
    f" (SELECT value FROM json_each(?2))) AND rowid > ?3 AND {rows.among('swarm_id', 5)}"
    " ORDER BY rowid LIMIT ?4"
)
_q_again = "UPDATE workspace SET state = 'creating', base = ?2, removed_at_ms = NULL WHERE owner = ?1"
_q_ready = (
    "UPDATE workspace SET state = 'ready', place = ?2, path = ?3, branch = ?4, problem = '' WHERE owner = ?1"
)
_q_state = "UPDATE workspace SET state = ?2 WHERE owner = ?1"
_q_imported = "UPDATE workspace SET imported = ?2, changed = ?3, changed_more = ?4 WHERE owner = ?1"
_q_saved = "UPDATE workspace SET salvage = ?2 WHERE owner = ?1"
_q_want = "UPDATE workspace SET wanted = ?2, why = ?3, due_ms = NULL, problem = '' WHERE owner = ?1"
_q_due = "UPDATE workspace SET due_ms = ?2, why = ?3 WHERE owner = ?1"
_q_over = "UPDATE workspace SET state = ?2, wanted = '', due_ms = NULL, problem = ?3 WHERE owner = ?1"
_q_gone = (
    "UPDATE workspace SET state = 'removed', wanted = '', due_ms = NULL, problem = ?2, removed_at_ms = ?3"
    " WHERE owner = ?1"
)
_q_first_wanted = f"SELECT {_COLUMNS} FROM workspace WHERE wanted <> '' ORDER BY owner LIMIT 1"
_q_mature = "UPDATE workspace SET wanted = 'remove', due_ms = NULL WHERE due_ms <= ? AND wanted = ''"
_q_next_due = "SELECT min(due_ms) FROM workspace WHERE due_ms IS NOT NULL AND wanted = ''"
_q_start_with = "INSERT INTO workspace_start (owner, from_owner) VALUES (?, ?)"
_q_started_with = "SELECT from_owner FROM workspace_start WHERE owner = ?"
_q_start = (
    "SELECT w.imported FROM workspace_start s JOIN workspace w ON w.owner = s.from_owner WHERE s.owner = ?"
)
_q_rowid = "SELECT rowid FROM workspace WHERE owner = ?"


def find(db: Snapshot, owner: str) -> WorkspaceRow | None:
    """The workspace, if there was ever one."""
    return rows.first(WorkspaceRow, db, _q_get, (owner,))


def get(db: Snapshot, owner: str) -> WorkspaceRow:
    """The workspace; raises NotFound."""
    row = find(db, owner)
    if row is None:
        raise errors.NotFound(
            f"{owner} has no workspace",
            hint="worktree.list shows those there are; a swarm has some where it was created with a repo",
            path="worktree",
        )
    return row


def of_swarm(db: Snapshot, swarm_id: str) -> list[WorkspaceRow]:
    """All of a swarm, by agent."""
    return rows.every(WorkspaceRow, db, _q_of_swarm, (swarm_id,))


def page(
    db: Snapshot, swarm_id: str, states: str, after: int, limit: int, among: rows.Among = None
) -> tuple[list[WorkspaceRow], int]:
    """(rows, cursor of the last) in order of creation; `states` is a JSON array, [] for all."""
    found = rows.every(WorkspaceRow, db, _q_page, (swarm_id, states, after, limit, among))
    return found, rows.value(db, _q_rowid, (found[-1].owner,)) if found else after


def start_with(tx: Tx, owner: str, from_owner: str) -> None:
    """A workspace that is not there yet begins with what has come back of another one, by then."""
    tx.execute(_q_start_with, (owner, from_owner))


def start_of(db: Snapshot, owner: str) -> str | None:
    """Whose work a workspace begins with, where that is another one's."""
    found = rows.table(db, _q_started_with, (owner,))
    return found[0][0] if found else None


def whereabouts(row: WorkspaceRow) -> str:
    """Where that is what was done in it, beside a branch that others begin with."""
    if row.state == "removed":
        where = f"refs/dash/salvage/{row.owner}" if row.salvage else f"branch {row.branch}"
    else:
        where = f"the clone of {row.owner}, {row.path}"
    return f"what {row.owner} has done is in {where}"


def begin(tx: Tx, owner: str, swarm_id: str, base: str) -> WorkspaceRow:
    """The row of a workspace that is about to be made, or is there already."""
    row = find(tx.db, owner)
    if row is None:
        base = next((found for (found,) in rows.table(tx.db, _q_start, (owner,)) if found), base)
        made = WorkspaceRow(owner, swarm_id, "creating", base, created_at_ms=tx.now_ms)
        tx.execute(_q_insert, msgspec.structs.astuple(made))
    elif row.state == "removed":
        tx.execute(_q_again, (owner, row.imported or row.base))  # what came back before is not dropped
    return get(tx.db, owner)


def set_ready(tx: Tx, owner: str, *, place: str, path: str, branch: str) -> None:
    """It is there (a)."""
    row = get(tx.db, owner)
    if row.state == "ready":
        return
    assert row.state == "creating", f"workspace {owner} is {row.state}"
    tx.execute(_q_ready, (owner, place, path, branch.removeprefix("refs/heads/")))
    tx.emit(
        "worktree.created",
        swarm=row.swarm_id,
        agent=row.agent,
        data={"path": path, "branch": branch.removeprefix("refs/heads/"), "base": row.base},
    )
    tx.ring("workspaces")


def set_imported(tx: Tx, owner: str, commit: str, changed: Sequence[Changed]) -> None:
    """Its commits are in the user's repository."""
    shown = msgspec.json.encode(list(changed[:CHANGED_MAX])).decode()
    tx.execute(_q_imported, (owner, commit, shown, max(0, len(changed) - CHANGED_MAX)))


def changed_of(row: WorkspaceRow) -> list[Changed]:
    """The files that came back, flagged ones first."""
    found = msgspec.json.decode(row.changed, type=list[Changed])
    return sorted(found, key=lambda each: not each.flags)


def want(tx: Tx, row: WorkspaceRow, wanted: str, why: str) -> None:
    """Asks the runtime for something; `problem` will say why it did not come about."""
    tx.execute(_q_want, (row.owner, wanted, why))
    tx.ring("workspaces")


def swarm_ended(tx: Tx, swarm: SwarmRow, completed: frozenset[str], *, destroyed: bool) -> None:
    """What the terms of an ended swarm say of its workspaces; `completed` are owners that did well."""
    if swarm.repo is None:
        return
    terms = repository.from_json(swarm.repo)
    for row in of_swarm(tx.db, swarm.id):
        after_s = repository.removal_after_s(terms, succeeded=row.owner in completed, destroyed=destroyed)
        why = "its swarm was destroyed" if destroyed else f"its swarm has ended (cleanup: {terms.cleanup})"
        if after_s is not None and row.state != "removed":
            tx.execute(_q_due, (row.owner, tx.now_ms + round(after_s * 1_000), why))
            tx.ring("workspaces")


def kept_count(db: Snapshot, swarm_id: str) -> int:
    """How many of a swarm's workspaces are still there."""
    return sum(row.state != "removed" for row in of_swarm(db, swarm_id))


def next_wanted(tx: Tx) -> WorkspaceRow | None:
    """What is to be done next; what is due is wanted from now on."""
    tx.execute(_q_mature, (tx.now_ms,))
    return rows.first(WorkspaceRow, tx.db, _q_first_wanted)


def next_due_ms(db: Snapshot) -> int | None:
    """The instant at which something falls due; None where nothing will."""
    found: int | None = rows.value(db, _q_next_due)
    return found


def set_state(tx: Tx, owner: str, state: str) -> None:
    """`saving` (b) or `removing` (c)."""
    tx.execute(_q_state, (owner, state))


def set_saved(tx: Tx, owner: str, commit: str, told: dict[str, Any]) -> None:
    """Its content is in the user's repository, under a ref of Dash's; `told` is for the event."""
    row = get(tx.db, owner)
    tx.execute(_q_saved, (owner, commit))
    if row.salvage != commit:
        tx.emit("worktree.salvaged", swarm=row.swarm_id, agent=row.agent, data=told)


def set_kept(tx: Tx, owner: str, problem: str) -> None:
    """It stays (f), and nothing more is wanted of it."""
    row = get(tx.db, owner)
    state = "creating" if not row.place or row.state == "creating" else "ready"
    tx.execute(_q_over, (owner, state, problem))
    tx.ring("workspaces")


def set_idle(tx: Tx, owner: str) -> None:
    """Nothing is wanted of it any more."""
    tx.execute(_q_want, (owner, "", ""))
    tx.ring("workspaces")


def set_removed(tx: Tx, owner: str, problem: str = "", told: Mapping[str, Any] | None = None) -> None:
    """It is gone (d); `told` is more for the event."""
    row = get(tx.db, owner)
    if row.state == "removed":
        return
    tx.execute(_q_gone, (owner, problem, tx.now_ms))
    data = {"why": row.why, "salvage": row.salvage, "imported": row.imported, **(told or {})}
    tx.emit("worktree.removed", swarm=row.swarm_id, agent=row.agent, data=data)
    tx.ring("workspaces")
