"""Table `merge`: the queue, in order of its numbers.

queued ──a──▶ running ──b──▶ merged    a  its turn has come; after a death it is taken up again
   └────────────┴──────c──▶ conflict, failed, cancelled    b  the target was seen to be there

While it runs `result` is where the target is about to be moved; a target that is just there was moved by it.
"""

import shlex
from collections.abc import Sequence
from typing import Any

import msgspec

from dashd.domain import repository
from dashd.wire import errors

from . import rows, swarms
from .rows import Snapshot, columns, placeholders
from .transaction import Tx

OPEN = ("queued", "running")
PATHS_MAX = 200
_BRANCHES = "refs/heads/"


class MergeRow(msgspec.Struct, frozen=True):
    """Table `merge`."""

    number: int | None
    swarm_id: str
    owner: str
    target: str
    commit_id: str
    gates: str
    state: str
    cancel: int
    before: str | None
    result: str | None
    problem: str
    paths: str
    asked_by: str
    queued_at_ms: int
    ended_at_ms: int | None

    @property
    def id(self) -> str:
        """As people and models say it."""
        return f"m{self.number}"

    @property
    def agent(self) -> str | None:
        """Whose work it is; None where a swarm shares a clone, and where it is the user's."""
        return None if self.onto or self.owner == self.swarm_id else self.owner

    @property
    def onto(self) -> str:
        """The branch of the user's on top of whose commit the target is put; empty where it is no rebase."""
        return self.owner.removeprefix(_BRANCHES) if self.owner.startswith(_BRANCHES) else ""


_COLUMNS = columns(MergeRow)
_q_insert = f"INSERT INTO merge ({_COLUMNS}) VALUES ({placeholders(MergeRow)}) RETURNING {_COLUMNS}"
_q_get = f"SELECT {_COLUMNS} FROM merge WHERE number = ?"
_q_next = f"SELECT {_COLUMNS} FROM merge WHERE state IN ('queued', 'running') ORDER BY number LIMIT 1"
_q_running = "UPDATE merge SET state = 'running', before = ?2, result = NULL WHERE number = ?1"
_q_intended = "UPDATE merge SET result = ?2 WHERE number = ?1 AND state = 'running'"
_q_end = (
    "UPDATE merge SET state = ?2, result = ?3, problem = ?4, paths = ?5, ended_at_ms = ?6 WHERE number = ?1"
)
_q_cancel = "UPDATE merge SET cancel = 1 WHERE number = ?"
_q_ahead = "SELECT count(*) FROM merge WHERE state IN ('queued', 'running') AND target = ? AND number < ?"
_q_page = (
    f"SELECT {_COLUMNS} FROM merge WHERE number < ?1 AND (?2 = '' OR swarm_id = ?2)"
    f" AND (?3 = '[]' OR state IN (SELECT value FROM json_each(?3))) AND {rows.among('swarm_id', 5)}"
    " ORDER BY number DESC LIMIT ?4"
)
_q_known = (
    f"SELECT {_COLUMNS} FROM merge WHERE owner = ? AND target = ? AND commit_id = ? AND state IN"
    " ('queued', 'running', 'merged') ORDER BY number DESC LIMIT 1"
)
_q_open = (
    f"SELECT {_COLUMNS} FROM merge WHERE owner = ? AND target = ? AND commit_id = ? AND NOT cancel"
    " AND state IN ('queued', 'running') ORDER BY number LIMIT 1"
)
_q_gates = "SELECT gates FROM merge WHERE swarm_id = ? AND target = ? AND state = 'merged' ORDER BY number"


def enqueue(
    tx: Tx, *, swarm: str, owner: str, target: str, commit: str, gates: Sequence[Sequence[str]], asked_by: str
) -> MergeRow:
    """Adds a merge at the end of the queue."""
    made = MergeRow(
        None, swarm, owner, target, commit, msgspec.json.encode(gates).decode(), "queued", 0, None, None, "",
        "[]", asked_by, tx.now_ms, None,
    )  # fmt: skip
    row = rows.every(MergeRow, tx.db, _q_insert, msgspec.structs.astuple(made))[0]
    tx.emit(
        "merge.queued",
        swarm=swarm,
        agent=row.agent,
        data={"merge": row.id, "target": target, "commit": commit},
    )
    tx.ring("merges")
    return row


def enqueue_rebase(tx: Tx, *, swarm: str, target: str, onto: str, commit: str, asked_by: str) -> MergeRow:
    """Has the target put on top of a commit of the user's branch, behind the gates of its merges so far.

    The row of one that is in the queue already, where there is one.
    """
    owner = _BRANCHES + onto
    if (queued := rows.first(MergeRow, tx.db, _q_open, (owner, target, commit))) is not None:
        return queued
    so_far = [msgspec.json.decode(found) for (found,) in rows.table(tx.db, _q_gates, (swarm, target))]
    gates = list(dict.fromkeys(tuple(argv) for found in so_far for argv in found))
    return enqueue(tx, swarm=swarm, owner=owner, target=target, commit=commit, gates=gates, asked_by=asked_by)


def get(db: Snapshot, merge_id: str) -> MergeRow:
    """By its id; raises NotFound."""
    digits = merge_id.removeprefix("m")
    number = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 16 else 0
    row = rows.first(MergeRow, db, _q_get, (number,))
    if row is None:
        raise errors.NotFound(
            f"there is no merge {merge_id!r}", hint="merge.list shows the queue", path="merge"
        )
    return row


def known(db: Snapshot, owner: str, target: str, commit: str) -> MergeRow | None:
    """The merge by which just that is merged already, or will be."""
    return rows.first(MergeRow, db, _q_known, (owner, target, commit))


def next_open(db: Snapshot) -> MergeRow | None:
    """Whose turn it is."""
    return rows.first(MergeRow, db, _q_next)


def ahead(db: Snapshot, row: MergeRow) -> int:
    """How many into the same target come before it."""
    found: int = rows.value(db, _q_ahead, (row.target, row.number))
    return found if row.state in OPEN else 0


def page(
    db: Snapshot, before: int, swarm_id: str, states: str, limit: int, among: rows.Among = None
) -> list[MergeRow]:
    """Newest first; `states` is a JSON array, [] for all."""
    return rows.every(MergeRow, db, _q_page, (before, swarm_id, states, limit, among))


def set_running(tx: Tx, row: MergeRow, before: str | None) -> None:
    """Its turn has come (a); `before` is where the target is."""
    tx.execute(_q_running, (row.number, before))


def set_intended(tx: Tx, row: MergeRow, commit: str) -> None:
    """Its gates have passed, and the target is about to move there: `result`, not yet seen to be so."""
    tx.execute(_q_intended, (row.number, commit))


def ended(
    tx: Tx,
    row: MergeRow,
    state: str,
    *,
    result: str | None = None,
    problem: str = "",
    paths: Sequence[str] = (),
) -> None:
    """It has ended (b, c); a conflict is told to whoever is to look at it."""
    shown = list(paths[:PATHS_MAX])
    tx.execute(_q_end, (row.number, state, result, problem, msgspec.json.encode(shown).decode(), tx.now_ms))
    data: dict[str, Any] = {"merge": row.id, "target": row.target, "commit": row.commit_id}
    data |= {"result": result, "before": get(tx.db, row.id).before} if result else {"why": problem}
    if state == "conflict":
        data["files"] = shown
    tx.emit(f"merge.{state}", swarm=row.swarm_id, agent=row.agent, data=data)
    if state == "conflict":
        told = _escalated(row, shown, way_on(tx.db, get(tx.db, row.id)))
        tx.emit("escalation.raised", swarm=row.swarm_id, agent=row.agent, data=told)
    tx.ring("merges")


def want_cancelled(tx: Tx, row: MergeRow) -> None:
    """The runtime ends it, unless the target has moved by then."""
    tx.execute(_q_cancel, (row.number,))
    tx.ring("merges")


def way_on(db: Snapshot, row: MergeRow) -> str:
    """What can be done about a conflict, with the calls to type; empty where the merge has none."""
    swarm = swarms.find(db, row.swarm_id)
    if row.state != "conflict" or swarm is None or swarm.repo is None:
        return ""
    repo = repository.from_json(swarm.repo).path
    base, other, commit = row.target, repository.branch_of(swarm.id, row.owner), row.commit_id
    if row.onto:
        base, other, commit = row.onto, row.target, row.before or row.target
    first = "" if row.onto else f"after swarm.land {swarm.id}, "
    return (
        f"nothing was changed. Leave {other} out; or have it resolved: swarm.create with repo {repo} and base"
        f" {base}, its task to merge {commit[:12]}, resolve these files and commit, then merge.enqueue and"
        f" swarm.land of that swarm; or by hand: {first}git -C {shlex.quote(repo)} merge {other}"
    )


def _escalated(row: MergeRow, paths: list[str], suggestion: str) -> dict[str, object]:
    return {
        "why": f"merge {row.id} of {row.owner} into {row.target} has a conflict",
        "merge": row.id,
        "target": row.target,
        "files": paths,
        "suggestion": suggestion,
    }
