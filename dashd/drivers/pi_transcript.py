"""Pi's session file: one JSON object a line, a header first, then entries that name their parent.

Read as a tree, and cut at any step into the file of a new session: the same lines to the letter, on the way
to that step, below a header of their own. The file is written inside a jail: its size, its lines and its
shape are bounded, and what is not understood is passed over. A torn last line is no line.
"""

import datetime
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from dashd import threads
from dashd.domain import surrogates
from dashd.domain.session_tree import (
    BYTES_MAX,
    ID_CHARACTERS_MAX,
    TEXT_CHARACTERS_MAX,
    Node,
    NotASession,
    Role,
    SessionTree,
)

from . import session_file

LINE_BYTES_MAX = 4 << 20
WORD_CHARACTERS_MAX = 40
_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant", "toolResult": "tool"}
_SUMMARIES = frozenset({"compaction", "branch_summary"})


class PiTranscript:
    """A session file that was read; `data` is all of it, or all of it so far."""

    VERSION: ClassVar = 3

    def __init__(self, data: bytes) -> None:
        """Raises NotASession."""
        if len(data) > BYTES_MAX:
            raise NotASession(f"it has {len(data):,} bytes, more than {BYTES_MAX:,}")
        lines = _whole_lines(data)
        header = _decoded(next(lines, b""))
        if header is None or header.get("type") != "session" or not isinstance(header.get("id"), str):
            raise NotASession("its first line is not the header of a session")
        if header.get("version") != self.VERSION:
            raise NotASession(f"its version is {_short(header.get('version'))}, not {self.VERSION}")
        self.header = header
        self.whole = data[: data.rfind(b"\n") + 1]
        self._lines: dict[str, bytes] = {}
        self.tree = SessionTree(self._nodes(lines))

    def cut(self, node_id: str, *, session_id: str, cwd: str, at_ms: int) -> bytes:
        """The file of a new session, with everything up to this step and nothing of other branches."""
        header = self.header | {"id": session_id, "timestamp": _instant(at_ms), "cwd": cwd}
        header.pop("parentSession", None)  # it would name a file that the new one's jail does not show
        lines = [msgspec.json.encode(header), *(self._lines[node.id] for node in self.tree.path(node_id))]
        return b"\n".join(lines) + b"\n"

    def text(self, node_id: str) -> str:
        """See Transcript."""
        entry = _decoded(self._lines[node_id]) or {}
        message = entry.get("message")
        return _said(message) if isinstance(message, dict) else str(entry.get("summary") or "")

    def _nodes(self, lines: Iterator[bytes]) -> Iterator[Node]:
        for line in lines:
            entry = _decoded(line)
            node = None if entry is None else _node(entry)
            if node is not None and node.id not in self._lines:
                self._lines[node.id] = line
                yield node


class PiSessions:
    """See SessionFormat."""

    session_id = "dash"
    """It is opened where it is in its folder, and made where not."""

    def file_name(self, at_ms: int) -> str:
        """As Pi names them: by the instant, in which no colon stands."""
        return f"{_instant(at_ms).replace(':', '-').replace('.', '-')}_{self.session_id}.jsonl"

    async def live(self, folder: Path) -> bytes:
        """See SessionFormat."""
        return await threads.run(session_file.read_newest, folder, self._newest)

    def _newest(self, names: Iterable[str]) -> str | None:
        """Their names sort by the instant."""
        return max((name for name in names if name.endswith(f"_{self.session_id}.jsonl")), default=None)

    def read(self, data: bytes) -> PiTranscript:
        """See SessionFormat."""
        return PiTranscript(data)


def _whole_lines(data: bytes) -> Iterator[bytes]:
    at = 0
    while (end := data.find(b"\n", at)) >= 0:
        if at < end <= at + LINE_BYTES_MAX:
            yield data[at:end]
        at = end + 1


def _decoded(line: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except surrogates.UNREADABLE:
        return None


def _node(entry: dict[str, Any]) -> Node | None:
    """None where it has no identity."""
    node_id, parent = entry.get("id"), entry.get("parentId")
    if entry.get("type") == "leaf":  # OpenClaw's: what comes after it goes on from another step
        parent = entry.get("targetId")
    if not isinstance(node_id, str) or not 0 < len(node_id) <= ID_CHARACTERS_MAX:
        return None
    if not (parent is None or isinstance(parent, str)):
        return None
    message = entry.get("message")
    role: Role = "summary" if entry.get("type") in _SUMMARIES else "note"
    calls: tuple[str, ...] = ()
    answers = None
    text = _text(entry.get("summary"))
    if entry.get("type") == "message" and isinstance(message, dict):
        role = _ROLES.get(_text(message.get("role")), "note")
        text = _said(message)
        calls = tuple(_text(part.get("id")) for part in _parts(message, "toolCall"))
        answers = _text(message["toolCallId"]) if role == "tool" and "toolCallId" in message else None
    return Node(node_id, parent, role, text[:TEXT_CHARACTERS_MAX], _at_ms(entry), calls, answers)


def _parts(message: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    content = message.get("content")
    if not isinstance(content, list):
        return []
    return [part for part in content if isinstance(part, dict) and part.get("type") == kind]


def _said(message: dict[str, Any]) -> str:
    """Its text; an answer that only calls tools is named by them."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    text = "".join(_text(part.get("text")) for part in _parts(message, "text"))
    return text or ", ".join(_text(part.get("name")) for part in _parts(message, "toolCall"))


def _text(value: object) -> str:
    """Nothing else is made into one: what nests as deep as can be read is too deep to be shown."""
    return value if isinstance(value, str) else ""


def _short(value: object) -> str:
    """For a message: of what an agent has written no more than a few words."""
    if isinstance(value, str):
        return repr(value[:WORD_CHARACTERS_MAX])
    return repr(value) if value is None or isinstance(value, int | float) else "no number"


def _at_ms(entry: dict[str, Any]) -> int:
    try:
        return int(datetime.datetime.fromisoformat(_text(entry.get("timestamp"))).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0


def _instant(at_ms: int) -> str:
    at = datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
