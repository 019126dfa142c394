"""A conversation as a tree: what was said after what, and the one branch that goes on.

    a user message ── an answer ── a tool's result ── an answer        (the leaf: it goes on here)
                          └── another user message ── an answer        (a branch that was left)

Nodes come in the order they were written, each after its parent; the leaf is where the next one is added.
What they say was written by an agent: it is short here, and made safe where it is shown.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, Protocol

NODES_MAX = 100_000
BYTES_MAX = 64 << 20
"""Of the file of one."""
ID_CHARACTERS_MAX = 100
"""Of a step; a longer one could be named by nobody."""
TEXT_CHARACTERS_MAX = 200
PREFIX_CHARACTERS_MIN = 2

Role = Literal["system", "user", "assistant", "tool", "summary", "note"]
"""`summary` stands for what was compacted; a `note` is never put before the model."""
SPOKEN: frozenset[Role] = frozenset({"user", "assistant", "tool", "summary"})


@dataclass(frozen=True, slots=True)
class Node:
    """One step."""

    id: str
    parent: str | None
    role: Role
    text: str = ""
    """Its beginning."""
    at_ms: int = 0
    calls: tuple[str, ...] = ()
    """The tools that an answer asks for, by the ids of the calls."""
    answers: str | None = None
    """The call whose result it is."""


class UnknownStep(Exception):
    """No step is meant by this, or several are."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class SessionTree:
    """Made once from its nodes; never changed."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        """One whose parent did not come before it is a root: a torn file loses steps, never the rest."""
        self.nodes: dict[str, Node] = {}
        self.children: dict[str | None, list[str]] = {None: []}
        self.leaf: str | None = None
        for node in nodes:
            if node.id in self.nodes or len(self.nodes) >= NODES_MAX:
                continue
            parent = node.parent if node.parent in self.nodes else None
            self.nodes[node.id] = node if node.parent == parent else replace(node, parent=parent)
            self.children[node.id] = []
            self.children[parent].append(node.id)
            self.leaf = node.id

    def path(self, node_id: str | None) -> list[Node]:
        """From the root to it; [] for None."""
        found: list[Node] = []
        while node_id is not None:
            node = self.nodes[node_id]
            found.append(node)
            node_id = node.parent
        return found[::-1]

    def find(self, wanted: str) -> Node:
        """By id, or by the beginning of one. Raises UnknownStep, with what would do."""
        if wanted in self.nodes:
            return self.nodes[wanted]
        begun = [each for each in self.nodes if each.startswith(wanted)]
        if len(begun) == 1 and len(wanted) >= PREFIX_CHARACTERS_MIN:
            return self.nodes[begun[0]]
        if len(begun) > 1:
            raise UnknownStep(f"{wanted!r} is several steps", f"so begin {', '.join(begun[:5])}")
        latest = ", ".join(node.id for node in self.path(self.leaf)[-3:])
        hint = f"the latest steps are {latest}" if latest else "nothing was said yet"
        raise UnknownStep(f"there is no step {wanted!r}", hint)

    def resumable(self, node_id: str) -> Node:
        """The latest step on the way to this one after which a model may be asked: no call is left open.

        A fork from inside a round of tools would show the model calls that never ended.
        """
        best, open_ = None, frozenset[str]()
        way = self.path(node_id)
        for node in way:
            open_ = _open_after(node, open_)
            if not open_:
                best = node
        return best or way[0]

    def is_broken_off(self, node_id: str) -> bool:
        """Whether a call has no result at this step, and may yet have done what it was to do."""
        open_ = frozenset[str]()
        for node in self.path(node_id):
            open_ = _open_after(node, open_)
        return bool(open_)

    def spoken(self) -> Iterator[tuple[int, Node]]:
        """(depth, step) of what was said, parents first; the depth grows where a branch was left.

        Iterative, because a conversation is deeper than the interpreter's stack.
        """
        stack: list[tuple[str, int]] = [(root, 0) for root in reversed(self.children[None])]
        while stack:
            node_id, depth = stack.pop()
            node = self.nodes[node_id]
            if node.role in SPOKEN:
                yield depth, node
            after = self.children[node_id]
            deeper = depth + 1 if len(after) > 1 else depth
            stack += [(each, deeper) for each in reversed(after)]


def _open_after(node: Node, open_: frozenset[str]) -> frozenset[str]:
    """The calls without a result after this step, where these were before it.

    Whoever speaks next closes them: a program that was killed in a tool went on without its result, and tells
    the model that there is none.
    """
    if node.role in ("user", "assistant"):
        return frozenset(node.calls)
    return open_ - {node.answers}


class Transcript(Protocol):
    """A conversation that was read, in the words of the program that wrote it."""

    tree: SessionTree
    whole: bytes
    """Its file, every branch of it, without a last line that is half written."""

    def text(self, node_id: str) -> str:
        """All that was said at a step; "" where nothing was."""

    def cut(self, node_id: str, *, session_id: str, cwd: str, at_ms: int) -> bytes:
        """The file of a new session: everything up to this step, and nothing of other branches."""


class NotASession(Exception):
    """The bytes are not those of a session."""


class NotReadInTime(NotASession):
    """The machine was too busy: it may be read another time."""


class NothingThere(Exception):
    """The conversation has not begun, or its folder is gone."""
