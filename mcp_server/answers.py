"""What a model reads: results cut to size and cleaned, and refusals as text that says what to do next.

Whatever an agent wrote passes through `clean` on its way out (invariant 12), which makes it harmless by
`wire.safe`; long text is cut and says so. Nothing here talks to dashd.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from dashd.wire import errors, events, safe

TEXT_CHARS_MAX = 4_000
"""One string in a result."""
EVENT_CHARS_MAX = 300
"""One string in an event; the report has the rest."""
REPORT_CHARS_MAX = {"concise": 12_000, "full": 40_000}
"""A whole report as JSON: clients cut at about 12,000 characters (Codex) and 50,000 (Claude Code)."""
_DEPTH_MAX = 8


def clean(value: object, chars_max: int = TEXT_CHARS_MAX, depth: int = 0) -> object:
    """The same JSON value with every string made harmless and cut to `chars_max` characters."""
    if isinstance(value, str):
        text = safe.block(value)
        return text[:chars_max] + (f"… [{cut} characters cut]" if (cut := len(text) - chars_max) > 0 else "")
    if depth == _DEPTH_MAX and isinstance(value, dict | list):
        return "… [nested too deep]"
    if isinstance(value, dict):
        return {str(clean(str(key), 100)): clean(inner, chars_max, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [clean(inner, chars_max, depth + 1) for inner in value]
    return value


def of(result: msgspec.Struct, *left_out: str, chars_max: int = TEXT_CHARS_MAX) -> dict[str, Any]:
    """A result as a JSON object without the named fields and without what is null or empty."""
    fields: dict[str, Any] = msgspec.to_builtins(result)
    kept = {name: value for name, value in fields.items() if name not in left_out}
    return {name: clean(value, chars_max) for name, value in kept.items() if value not in (None, "", [], {})}


def event(found: events.Event, swarm: str | None) -> dict[str, Any]:
    """An event in few characters; its swarm is left out where it is the one that was asked for."""
    left_out = ("swarm",) if found.swarm == swarm else ()
    return of(found, *left_out, chars_max=EVENT_CHARS_MAX)


def suggested(found: dict[str, Any], renamed: Callable[[str], str]) -> dict[str, Any]:
    """The event with the call that it suggests in the model's own words."""
    data = found.get("data", {})
    if "suggestion" in data:
        data["suggestion"] = renamed(data["suggestion"])
    return found


def fitted(report: dict[str, Any], chars_max: int) -> dict[str, Any]:
    """The report with as many results, then failures, as fit into `chars_max`; `left_out` counts the rest."""
    for name in ("results", "failures"):
        entries = list(report.get(name, ()))
        sizes = [len(encoded(entry)) for entry in entries]
        excess = len(encoded(report)) - chars_max
        while entries and excess > 0:
            entries.pop()
            excess -= sizes.pop() + 1
        dropped = len(report.get(name, ())) - len(entries)
        if dropped:
            report = report | {name: entries, "left_out": report.get("left_out", 0) + dropped}
    return report


def encoded(value: object) -> str:
    """Compact JSON."""
    return msgspec.json.encode(value).decode()


def refusal(tool: str, error: errors.DashError, *more: str) -> str:
    """An error as text: what was wrong, then each of `more`: what would be right, which ids there are, …"""
    # Each part by itself: a sequence that somebody left open must not swallow the next one.
    message, path = safe.block(error.message), safe.line(error.path)
    where = f" (argument {path})" if path and path not in message else ""
    lines = [f"{safe.line(tool)} failed: {_sentence(message)}{where} [{type(error).__name__}]"]
    lines += [_sentence(safe.block(line)) for line in more if line]
    if error.retryable and not any(more):
        lines.append("The same call may be repeated.")
    return str(clean("\n".join(lines)))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
