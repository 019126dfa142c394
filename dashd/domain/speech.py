"""The wire formats of model calls, and which of them a program speaks. Pure."""

from collections.abc import Iterable
from typing import Literal

import msgspec

FormatName = Literal["openai-chat", "openai-responses", "anthropic"]
USUAL: FormatName = "openai-chat"
"""What nearly everybody speaks."""


class Speaks(msgspec.Struct, frozen=True):
    """Somebody who calls models."""

    who: str
    """As a refusal begins, up to the formats: `driver pi speaks`."""
    formats: tuple[FormatName, ...]
    """Preferred first; none: nobody knows, so any."""


def named(formats: Iterable[str]) -> str:
    """In words: `anthropic`, `anthropic or openai-chat`."""
    *most, last = formats
    return f"{', '.join(most)} or {last}" if most else last
