"""A session summed up for a fresh one, and written out for people: from what is known, without a model.

Bounded like a brief, since every word of it is paid for with every call that follows.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from dashd.domain import repository
from dashd.domain.session_tree import SPOKEN, Transcript
from dashd.store import swarms, tasks, workspaces
from dashd.store.rows import Snapshot
from dashd.store.sessions import SessionRow
from dashd.store.workspaces import Changed

BRIEF_CHARACTERS_MAX: Final = 4_000
RESULT_CHARACTERS_MAX: Final = 4_000
SAID_CHARACTERS_MAX: Final = 1_000
SAID_MAX: Final = 6
FILES_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rows say about the work of a session."""

    task: str
    item: str
    state: str
    progress: str
    result: str
    files: tuple[str, ...]
    more_files: int


def facts(db: Snapshot, row: SessionRow) -> Facts:
    """In one snapshot; files where it worked on a repository and something has come back."""
    task, swarm = tasks.get(db, row.task_id), swarms.get(db, row.swarm_id)
    tree = None
    if swarm.repo:
        tree = workspaces.find(db, repository.from_json(swarm.repo).owner(swarm.id, row.agent_id))
    changed = msgspec.json.decode(tree.changed, type=list[Changed]) if tree else []
    done = f"{task.progress_done} of {task.progress_total}" if task.progress_total else ""
    return Facts(
        task=swarm.goal if task.text is None else task.text,
        item=task.item,
        state=task.state,
        progress=": ".join(filter(None, (done, task.note or ""))),
        result=task.result or "",
        files=tuple(f"{each.status} {each.path}" for each in changed[:FILES_MAX]),
        more_files=max(0, len(changed) - FILES_MAX) + (tree.changed_more if tree else 0),
    )


def text(known: Facts, found: Transcript) -> str:
    """Brief, how far it came, what it returned, which files differ, and its last words."""
    parts = ["Somebody worked on this before you. What is known of that:", f"Task: {_short(known.task)}"]
    if known.item:
        parts.append(f"Item: {known.item}")
    parts.append(f"State: {known.state}" + (f" ({known.progress})" if known.progress else ""))
    if known.result:
        parts.append(f"What was returned: {_short(known.result, RESULT_CHARACTERS_MAX)}")
    if known.files:
        more = f"\n(and {known.more_files} more)" if known.more_files else ""
        parts.append("Files that differ:\n" + "\n".join(known.files) + more)
    said = [node for node in found.tree.path(found.tree.leaf) if node.role in ("assistant", "summary")]
    words = [_short(found.text(node.id), SAID_CHARACTERS_MAX) for node in said[-SAID_MAX:]]
    if words := [word for word in words if word]:
        parts.append("What was said last:\n" + "\n".join(f"- {word}" for word in words))
    return "\n\n".join(parts)


def markdown(title: str, found: Transcript) -> str:
    """The way to where it goes on, for people to read."""
    said = [node for node in found.tree.path(found.tree.leaf) if node.role in SPOKEN]
    steps = (f"## {node.role} ({node.id})\n\n{found.text(node.id).strip()}" for node in said)
    parts = [f"# Session {title}", *steps]
    return "\n\n".join(parts) + "\n"


def _short(said: str, characters_max: int = BRIEF_CHARACTERS_MAX) -> str:
    said = said.strip()
    return said if len(said) <= characters_max else f"{said[:characters_max]} […cut]"
