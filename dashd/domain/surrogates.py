r"""Reads JSON in which half a character stands: an escape like `\ud83d` alone, of a text that a program cut.

The grammar allows it (RFC 8259, section 8.2) and Unicode has no character for it, so the decoder refuses all
of the text. Here it is read as U+FFFD. Only what was refused is looked at a second time, in linear work.
"""

import re
from typing import Any

import msgspec

BYTES_MAX = 4 << 20
"""Of a text that is looked at a second time: the loop waits for it."""

# Where no other backslash is, an escape begins at each. One longer than all of these: those that are whole.
_HIGH = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})")
_LOW = re.compile(rb"(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_ESCAPE, _BACKSLASH, _HELD = re.compile(rb"\\u[dD][89a-fA-F]"), b"\\\\", b"\xff\xff"
_UNKNOWN = rb"\\ufffd"

UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What decoding raises of what others wrote: no JSON or not of that shape, nested too deeply, no UTF-8."""


def decode(data: bytes | str, type: Any = Any) -> Any:  # noqa: A002, ANN401  # as msgspec has it
    """As msgspec.json.decode, and raises what that does."""
    try:
        return msgspec.json.decode(data, type=type)
    except (msgspec.DecodeError, UnicodeEncodeError):
        read = _whole(data if isinstance(data, bytes) else data.encode("utf-8", "replace"))
        if read is None:
            raise
    return msgspec.json.decode(read, type=type)


def _whole(data: bytes) -> bytes | None:
    """The same without halves; None where there is none, or what is not UTF-8 anyway."""
    if len(data) > BYTES_MAX or _HELD in data or _ESCAPE.search(data) is None:
        return None
    # An escaped backslash begins no other escape.
    held = data.replace(_BACKSLASH, _HELD)
    return _LOW.sub(_UNKNOWN, _HIGH.sub(_UNKNOWN, held)).replace(_HELD, _BACKSLASH)
