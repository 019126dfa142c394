"""What of a call's parameters is put on record: names, ids and figures; of all other text only its size.

An allow list, so that a parameter nobody has thought of here is not written down (no secret reaches the
audit). Numbers and yes or no are kept under any name.
"""

import re
from typing import Any, Final

import msgspec

KEPT: Final = frozenset(
    [
        "key",  # a key is named by it, never shown
        "swarm",
        "agent",
        "task",
        "budget",
        "project",
        "name",
        "model",
        "models",
        "provider",
        "format",
        "kind",
        "state",
        "states",
        "driver",
        "strategy",
        "priority",
        "cwd",
        "role",
        "agents",
        "approvals",
        "decision",
        "note",
        "why",
        "gate",
        "who",
        "default",
        "actions",
        "at_75",
        "at_90",
        "at_100",
        "limits",
        "at_limit",
        "topic",
        "session",
        "branch",
        "base",
        "onto",
        "target",
        "repo",
        "workspace",
        "hosts",
        "scope",
        "read",
        "actor",
        "url",
        "aliases",
        "capabilities",
        "prefer",
        "fallback",
    ]
)
"""Parameters whose text is kept; figures (`limits`, `agents`, …) are kept under every name."""
LEFT_OUT: Final = frozenset({"secret", "secret_command", "token", "token_command", "idempotency_key"})
"""Not even their size is anybody's business."""
TEXT_CHARS_MAX: Final = 200
ENTRIES_MAX: Final = 20
_ID: Final = re.compile(r"[0-9a-z]{6}-[t0-9.]{1,40}")
_PREFIX: Final = (
    r"(?:sk-|dk_live_|dk_test_|dash_|gh[a-z]_|github_pat_|xox[a-z]-|AKIA|AIza|eyJ|Bearer\s+)[\w.~+/=-]"
)
_NAMED: Final = _PREFIX + "{8,}"
_RANDOM: Final = r"(?=[\w+=-]*\d)(?=[\w+=-]*[A-Za-z])[\w+=-]{32,}"
# Looked for once a word: from where it begins or, in a path, from the first sign that no path has. At each
# sign anew it would take as long as the square of the text.
_LIKE_A_KEY: Final = re.compile(
    rf"{_NAMED}|(?<![\w/.+=-]){_RANDOM}"
    rf"|(?<=[/.])(?P<before>(?:(?!{_PREFIX}{{8}})[\w-])*[+=])(?:{_NAMED}|{_RANDOM})"
)


def redacted(params: msgspec.Struct) -> dict[str, Any]:
    """The parameters that were given, fit to be kept for ever."""
    given: dict[str, Any] = msgspec.to_builtins(params)
    return {
        name: _fit(name, value, kept=name in KEPT) for name, value in given.items() if name not in LEFT_OUT
    }


def masked(text: str) -> str:
    """The text, cut, with whatever looks like a key taken out."""
    text = _LIKE_A_KEY.sub(_marked, text)
    return text if len(text) <= TEXT_CHARS_MAX else f"{text[:TEXT_CHARS_MAX]}… [{len(text)} characters]"


def _marked(found: re.Match[str]) -> str:
    return (found["before"] or "") + "[looks like a key]"


def is_id(text: str) -> bool:
    """Whether it is a task's or an agent's id: the parameter `task` is an id here and a whole brief there."""
    return _ID.fullmatch(text) is not None


def _fit(name: str, value: Any, *, kept: bool) -> Any:  # noqa: ANN401
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        entries = list(value.items())[:ENTRIES_MAX]
        return {masked(str(key)): _fit(str(key), inner, kept=kept) for key, inner in entries}
    if isinstance(value, list | tuple):
        if not kept:
            return f"[{len(value)} entries]"
        more = [f"… {len(value)} entries in all"] if len(value) > ENTRIES_MAX else []
        return [_fit(name, inner, kept=kept) for inner in value[:ENTRIES_MAX]] + more
    kept = kept and (name != "task" or is_id(str(value)))
    return masked(str(value)) if kept else f"[{len(str(value))} characters]"
