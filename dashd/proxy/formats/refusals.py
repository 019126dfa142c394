"""How a refusal is put so that the program that reads it does the right thing: stop, or try again.

Agents' programs act on the status and on words in the text, so each has a style. openclaw: 400 and words
that no classifier of its own knows, since 401, 402, 403 and 429 make it disable the provider for every
session. pi: 402 `insufficient_quota`, which it never retries. embedded and outside: 402 with `data.kind`,
for code to branch on. The shape (whose error object) is the format's; 5xx stays 5xx in every style: it
means "try again".
"""

import re
from typing import Any

import msgspec

from dashd.proxy.formats.format import FormatName, Style

NEUTRAL = "dash: the supervisor does not admit this call; end here, what was done so far is kept"
"""A budget's alone: the driver takes it for one."""
_NOT_YOURS = "dash: this call is not yours to make; why is in Dash's events"
_TOO_FAST = "dash: your calls come too fast for now; why is in Dash's events"
_UNFIT = "dash: this call does not pass as it is; why is in Dash's events"
_NEUTRAL = {402: NEUTRAL, 401: _NOT_YOURS, 403: _NOT_YOURS, 429: _TOO_FAST}
_MESSAGE_CHARS_MAX = 1_000

# Words by which agents' programs take a plain refusal for a fault of the account or of the network.
_LOADED = re.compile(
    r"quota|billing|credit|payment|balance|subscription|rate.?limit|too many|throttl|usage limit|spend"
    r"|overload|capacity|time.?out|timed out|deadline|context|too long|too large|unauthori|forbidden|denied"
    r"|expired|api.?key|token has|permission|authentication|unavailable|server.?error|internal error|gateway"
    r"|upstream|connection|terminated|aborted|prompt is|\b(?:4\d\d|5\d\d)\b",
    re.IGNORECASE,
)

_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}
_ANTHROPIC_TYPES = {**_OPENAI_TYPES, 402: "billing_error", 503: "overloaded_error", 529: "overloaded_error"}


class _Styled(msgspec.Struct, frozen=True):
    status: int
    type: str
    message: str
    data: dict[str, Any] | None


def whole(shape: FormatName, status: int, kind: str, message: str, *, style: Style) -> tuple[int, bytes]:
    """Status and body of a refusal. `status` is what it is: 402 the budget, 429 too fast, 400 the call
    itself, 503 for now; the style decides what is said.
    """
    said = _styled(shape, status, kind, message, style)
    error: dict[str, Any] = {"type": said.type, "message": said.message}
    if said.data:
        error["data"] = said.data
    if shape == "anthropic":
        return said.status, msgspec.json.encode({"type": "error", "error": error})
    if style in ("embedded", "outside"):
        error |= {"param": None, "code": kind}
    return said.status, msgspec.json.encode({"error": error})


def in_stream(shape: FormatName, status: int, kind: str, message: str, *, style: Style) -> bytes:
    """A refusal or a cut as the last event of a stream under way; without it a cut looks like a full answer.

    It begins with an empty line, which ends an event that was cut and does nothing otherwise."""
    said = _styled(shape, status, kind, message, style)
    error: dict[str, Any] = {"type": said.type, "message": said.message}
    if said.data:
        error["data"] = said.data
    if shape == "openai-responses":
        event = {"type": "error", "code": said.type, "message": said.message, "param": None}
        return b"\n\nevent: error\ndata: " + msgspec.json.encode(event | {"error": error}) + b"\n\n"
    if shape == "anthropic":
        return b"\n\nevent: error\ndata: " + msgspec.json.encode({"type": "error", "error": error}) + b"\n\n"
    return b"\n\ndata: " + msgspec.json.encode({"error": error}) + b"\n\n"


def _styled(shape: FormatName, status: int, kind: str, message: str, style: Style) -> _Styled:
    assert 400 <= status <= 599, f"{status} refuses nothing"
    text = message[:_MESSAGE_CHARS_MAX]
    text = text if text.startswith("dash: ") else f"dash: {text}"
    if style == "openclaw" and status < 500:
        # The path of a field may hold a loaded word too: then the reason is in Dash's events alone.
        plain = status in (400, 404) and not _LOADED.search(text)
        said = text if plain else _NEUTRAL.get(status, _UNFIT)
        return _Styled(400, "invalid_request_error", said, None)
    types = _ANTHROPIC_TYPES if shape == "anthropic" else _OPENAI_TYPES
    kind_of_error = types.get(status, "api_error" if status >= 500 else "invalid_request_error")
    if style == "pi":
        return _Styled(status, "insufficient_quota" if status == 402 else kind_of_error, text, None)
    if style == "openclaw":
        return _Styled(status, kind_of_error, text, None)
    return _Styled(status, kind_of_error, text, {"kind": kind, "retryable": status in (429, 503, 529)})
